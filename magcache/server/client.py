"""Queue workflows on a ComfyUI server and fetch what they give."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import httpx

from ..reports.metrics import Picture
from .events import Heard, Listener, Progress, ServerError
from .outputs import is_visible, pictures_in
from .workflow import NodeType, Types, Workflow, WorkflowError

_REPLY_SECONDS = 60
_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a queued workflow gave."""

    pictures: list[Picture]
    """What it saved, videos as frames; what it only previewed if it saved nothing."""
    total_seconds: float
    """From the first node's start to the last one's end, by the server's clock."""
    cached: frozenset[str]
    """Nodes whose results the server still had."""
    shown: dict[str, dict[str, Any]]
    """What each node left to be shown when it was done (`images`, `text`, …), by node id."""
    heard: Heard

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds each node took, by node id, as heard over the websocket."""
        return self.heard.seconds

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What MagCache nodes reported, `magcache.reports.run_report.RunReport.to_json`."""
        return self.heard.reports

    @property
    def texts(self) -> dict[str, list[str]]:
        """What each node showed on itself, by node id: one after the other, while the workflow ran."""
        return self.heard.texts


class Client:
    """A client of the server at an address such as http://127.0.0.1:8188. Use it as a context manager. Raises `ServerError`."""

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")
        self._id, self._prompt = uuid.uuid4().hex, ""
        try:
            self._http = httpx.Client(base_url=self.url, timeout=_REPLY_SECONDS)
            stats = self._get("/system_stats")
            self.version, self.device = str(stats["system"]["comfyui_version"]), ", ".join(each["name"] for each in stats["devices"])
        except (httpx.InvalidURL, KeyError) as error:
            raise ServerError(self.url, error) from None
        self._listener = Listener(self.url, self._id)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._http.close()

    def types(self, kinds: Iterable[str]) -> Types:
        """What the server says about these kinds of nodes. Raises `WorkflowError` if it lacks one."""
        found = {kind: self._get(f"/object_info/{quote(kind, safe='')}").get(kind) for kind in sorted(set(kinds))}
        missing = [kind for kind, info in found.items() if info is None]
        if missing:
            own = "MagCache is not installed there, or too old. " if any(kind.startswith("MagCache") for kind in missing) else ""
            raise WorkflowError(
                f"The ComfyUI at {self.url} lacks nodes of this workflow: {', '.join(missing)}. {own}"
                "Install what they belong to in its custom_nodes and restart it."
            )
        return {kind: _node_type(info) for kind, info in found.items() if info}

    def run(self, workflow: Workflow, progress: Progress = lambda done, total: None) -> Outcome:
        """Queue `workflow` and wait for its end. It is taken back when this is interrupted.

        Raises `WorkflowError` with the server's words if it fails, and `ServerError` if the server does.
        """
        self._prompt = str(uuid.uuid4())
        try:
            self._queue(workflow)
            heard = self._listener.follow(self._prompt, progress, self._has_ended)
            ended = self._get(f"/history/{self._prompt}")[self._prompt]
        except BaseException:
            self.take_back()
            raise
        told: dict[str, dict[str, Any]] = dict(ended["status"]["messages"])
        if "execution_success" not in told:
            raise WorkflowError(_failure(told))
        return Outcome(
            self._pictures(ended["outputs"]),
            (told["execution_success"]["timestamp"] - told["execution_start"]["timestamp"]) / 1000,
            frozenset(told["execution_cached"]["nodes"]),
            ended["outputs"],
            heard,
        )

    def take_back(self) -> None:
        """Remove the workflow that was queued last, or stop it. What others have queued goes on."""
        if not self._prompt:
            return  # Without a name, an interrupt would stop what others have queued.
        with suppress(httpx.HTTPError):
            self._http.post("/queue", json={"delete": [self._prompt]})
            self._http.post("/interrupt", json={"prompt_id": self._prompt})

    def picture(self, place: dict[str, str]) -> Picture:
        """A picture that the server keeps, by what `Outcome.shown` says of it."""
        return pictures_in(place["filename"], self._file(place))[0]

    def _queue(self, workflow: Workflow) -> None:
        try:
            answer = self._http.post("/prompt", json={"prompt": workflow, "prompt_id": self._prompt, "client_id": self._id})
        except httpx.HTTPError as error:
            raise ServerError(self.url, error) from None
        if answer.is_error:
            raise WorkflowError(f"The server refused the workflow: {_reason(answer)}")

    def _has_ended(self) -> bool:
        queue = self._get("/queue")
        if any(item[1] == self._prompt for part in ("queue_running", "queue_pending") for item in queue[part]):
            return False
        if self._prompt in self._get(f"/history/{self._prompt}"):
            return True
        raise WorkflowError(f"The workflow is not in the queue of {self.url} any more: somebody removed it, or the server was restarted.")

    def _pictures(self, outputs: dict[str, dict[str, Any]]) -> list[Picture]:
        places = [place for name in sorted(outputs) for place in _files(outputs[name]) if is_visible(place["filename"])]
        saved = [place for place in places if place.get("type") == "output"] or places
        return [picture for place in saved for picture in pictures_in(place["filename"], self._file(place))]

    def _file(self, place: dict[str, str]) -> bytes:
        return self._request("/view", {name: place[name] for name in ("filename", "subfolder", "type") if name in place}).content

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
    """The files that a node says it wrote, under whatever title: images, gifs, videos, …"""
    for entries in output.values():
        if isinstance(entries, list):
            for entry in cast("list[Any]", entries):
                if isinstance(entry, dict) and "filename" in entry:
                    yield cast("dict[str, str]", entry)


def _failure(told: dict[str, dict[str, Any]]) -> str:
    if "execution_error" in told:
        error = told["execution_error"]
        return f"{error['node_type']} (node {error['node_id']}) failed: {error['exception_message'].strip()}"
    return "The workflow was stopped on the server before it ended."


def _reason(answer: httpx.Response) -> str:
    """Which node was wrong in what, in the server's words."""
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
