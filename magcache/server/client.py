"""Queue workflows on a ComfyUI server and fetch their results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import httpx

from ..reports.metrics import Picture
from .events import EventStream, OnStep, RunEvents, ServerError
from .outputs import is_visible, pictures_in
from .workflow import NodeType, Types, Workflow, WorkflowError

_REPLY_SECONDS = 60
_LONGEST_REASON = 400
"""Characters of a server's explanation that are shown: it may list every model on its disk."""


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """What a queued workflow gave."""

    pictures: list[Picture]
    """The pictures it saved, videos as frames; those it only previewed if it saved none."""
    total_seconds: float
    """From the first node's start to the last one's end, by the server's clock."""
    cached: frozenset[str]
    """Nodes that did not run because the server had kept their results."""
    outputs: dict[str, dict[str, Any]]
    """What each node gave the web page to show (`images`, `text`, …), by node id."""
    events: RunEvents

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each node took, by node id, by the times at which their events arrived."""
        return self.events.seconds

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The runs that MagCache nodes reported, as `magcache.reports.run_report.RunReport.to_json` gives them."""
        return self.events.reports

    @property
    def texts(self) -> dict[str, list[str]]:
        """The texts that each node showed on itself while the workflow ran, by node id, in order."""
        return self.events.texts


class Client:
    """A client of the server at an address such as http://127.0.0.1:8188. Use it as a context manager. Raises `ServerError`."""

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")
        self._id, self._prompt_id = uuid.uuid4().hex, ""
        try:
            self._http = httpx.Client(base_url=self.url, timeout=_REPLY_SECONDS)
            stats = self._get("/system_stats")
            self.version, self.device = str(stats["system"]["comfyui_version"]), ", ".join(each["name"] for each in stats["devices"])
        except (httpx.InvalidURL, KeyError) as error:
            raise ServerError(self.url, error) from None
        self._events = EventStream(self.url, self._id)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._http.close()

    def types(self, kinds: Iterable[str]) -> Types:
        """The node types with these names. Raises `WorkflowError` if the server lacks one."""
        found = {kind: self._get(f"/object_info/{quote(kind, safe='')}").get(kind) for kind in sorted(set(kinds))}
        missing = [kind for kind, info in found.items() if info is None]
        if missing:
            own = "MagCache is not installed there, or too old. " if any(kind.startswith("MagCache") for kind in missing) else ""
            raise WorkflowError(
                f"The ComfyUI at {self.url} lacks nodes of this workflow: {', '.join(missing)}. {own}"
                "Install the packs that contain them in its custom_nodes and restart it."
            )
        return {kind: _node_type(info) for kind, info in found.items() if info}

    def run(self, workflow: Workflow, on_step: OnStep = lambda done, total: None) -> WorkflowResult:
        """Queue `workflow` and wait until it has ended. If that is interrupted, the workflow is cancelled.

        Raises `WorkflowError` with the server's explanation if the workflow fails, and `ServerError` if the server does.
        """
        self._prompt_id = str(uuid.uuid4())
        try:
            self._queue(workflow)
            events = self._events.follow(self._prompt_id, on_step, self._has_ended)
            ended = self._get(f"/history/{self._prompt_id}")[self._prompt_id]
        except BaseException:
            self.cancel()
            raise
        messages: dict[str, dict[str, Any]] = dict(ended["status"]["messages"])
        if "execution_success" not in messages:
            raise WorkflowError(_failure(messages))
        return WorkflowResult(
            self._pictures(ended["outputs"]),
            (messages["execution_success"]["timestamp"] - messages["execution_start"]["timestamp"]) / 1000,
            frozenset(messages["execution_cached"]["nodes"]),
            ended["outputs"],
            events,
        )

    def cancel(self) -> None:
        """Remove the workflow that was queued last from the queue, or stop it. Workflows of other clients go on."""
        if not self._prompt_id:
            return  # Without an id, an interrupt would stop the workflow of another client.
        with suppress(httpx.HTTPError):
            self._http.post("/queue", json={"delete": [self._prompt_id]})
            self._http.post("/interrupt", json={"prompt_id": self._prompt_id})

    def subscribe_to_log(self) -> None:
        """Let `WorkflowResult.events.log` hold what the server logs during a run. A server that cannot do that goes on without."""
        with suppress(httpx.HTTPError):
            self._http.patch("/internal/logs/subscribe", json={"clientId": self._id, "enabled": True})

    def fetch_picture(self, file: dict[str, str]) -> Picture:
        """A picture that the server keeps, by its entry in `WorkflowResult.outputs`."""
        return pictures_in(file["filename"], self._content(file))[0]

    def _queue(self, workflow: Workflow) -> None:
        try:
            answer = self._http.post("/prompt", json={"prompt": workflow, "prompt_id": self._prompt_id, "client_id": self._id})
        except httpx.HTTPError as error:
            raise ServerError(self.url, error) from None
        if answer.is_error:
            raise WorkflowError(f"The server refused the workflow: {_reason(answer)}")

    def _has_ended(self) -> bool:
        queue = self._get("/queue")
        if any(item[1] == self._prompt_id for part in ("queue_running", "queue_pending") for item in queue[part]):
            return False
        if self._prompt_id in self._get(f"/history/{self._prompt_id}"):
            return True
        raise WorkflowError(f"The workflow is not in the queue of {self.url} any more: somebody removed it, or the server was restarted.")

    def _pictures(self, outputs: dict[str, dict[str, Any]]) -> list[Picture]:
        files = [file for name in sorted(outputs) for file in _files(outputs[name]) if is_visible(file["filename"])]
        saved = [file for file in files if file.get("type") == "output"] or files
        return [picture for file in saved for picture in pictures_in(file["filename"], self._content(file))]

    def _content(self, file: dict[str, str]) -> bytes:
        return self._request("/view", {name: file[name] for name in ("filename", "subfolder", "type") if name in file}).content

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._request(path)
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError(self.url, error) from None

    def _request(self, path: str, params: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._http.get(path, params=params)
        except httpx.HTTPError as error:
            raise ServerError(self.url, error) from None
        if answer.is_error:
            raise ServerError(self.url, f"{path} gives {answer.status_code} {answer.reason_phrase}")
        return answer


def _node_type(info: dict[str, Any]) -> NodeType:
    declared = {name: spec for part in ("required", "optional") for name, spec in info["input"].get(part, {}).items()}
    needed = info["input"].get("required", {})
    return NodeType(
        inputs={name: spec[0] if isinstance(spec[0], str) else "COMBO" for name, spec in declared.items()},
        outputs=tuple(kind if isinstance(kind, str) else "COMBO" for kind in info["output"]),
        defaults={name: spec[1]["default"] for name, spec in needed.items() if len(spec) > 1 and "default" in spec[1]},
    )


def _files(output: dict[str, Any]) -> Iterable[dict[str, str]]:
    """The files that a node wrote, under whatever key: images, gifs, videos, …"""
    for entries in output.values():
        if isinstance(entries, list):
            for entry in cast("list[Any]", entries):
                if isinstance(entry, dict) and "filename" in entry:
                    yield cast("dict[str, str]", entry)


def _failure(messages: dict[str, dict[str, Any]]) -> str:
    """Why a workflow did not succeed, from the messages in its history."""
    if "execution_error" in messages:
        error = messages["execution_error"]
        return f"{error['node_type']} (node {error['node_id']}) failed: {error['exception_message'].strip()}"
    return "The workflow was stopped on the server before it ended."


def _reason(answer: httpx.Response) -> str:
    """Why a server refused a workflow: the node, the input and the server's explanation."""
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.text:.{_LONGEST_REASON}}"
    errors = [
        f"{node.get('class_type')} (node {name}): {error['message']} ({error['details']})"
        for name, node in dict(body.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    if not errors:
        errors = [str(dict(body.get("error") or {}).get("message", body))]
    return "; ".join(f"{error[:_LONGEST_REASON]}…" if len(error) > _LONGEST_REASON else error for error in errors)
