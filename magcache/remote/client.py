"""Queue workflows on a ComfyUI server and follow them."""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import httpx
import websocket

from ..errors import MagCacheError
from ..metrics import Picture
from .outputs import is_visible, pictures_in
from .workflow import NodeType, Types, Workflow, WorkflowError

Progress = Callable[[int, int], None]
"""Is told how many of how many steps are done."""

_library: Any = websocket  # It has no types.
_REPLY_SECONDS = 60
_SILENCE_SECONDS = 10
"""After so long without a message it is asked whether the workflow is still there."""
_LONGEST_REASON = 400
_PROGRESS_TEXT = 3
"""The kind of binary message that holds a text for a node."""


class ServerError(MagCacheError):
    """No ComfyUI answers, or it stopped answering."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a queued workflow gave."""

    pictures: list[Picture]
    """What it saved, videos as frames; what it only previewed if it saved nothing."""
    total_seconds: float
    """From the first node's start to the last one's end, by the server's clock."""
    seconds: dict[str, float]
    """Seconds each node took, by node id, as heard here."""
    cached: frozenset[str]
    """Nodes whose results the server still had."""
    reports: list[dict[str, Any]]
    """What MagCache nodes reported, `magcache.report.RunReport.to_json`."""
    calibrations: list[dict[str, Any]]
    """What MagCacheCalibration nodes measured: `path` on the server, and `curve`."""
    texts: dict[str, list[str]]
    """What each node showed on itself, by node id: one after the other, while the workflow ran."""
    shown: dict[str, dict[str, Any]]
    """What each node left to be shown when it was done (`images`, `text`, …), by node id."""


@dataclass(slots=True)
class _Heard:
    """What came over the websocket while a workflow ran."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    reports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    calibrations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def note_text(self, message: bytes) -> None:
        """Take in a progress text: its kind, the length of the node's id, the id, the text. Other binary messages are previews."""
        kind, length = struct.unpack_from(">II", message)
        if kind == _PROGRESS_TEXT:
            self.texts.setdefault(message[8 : 8 + length].decode(), []).append(message[8 + length :].decode())


class Client:
    """A client of the server at an address such as http://127.0.0.1:8188. Use it as a context manager. Raises `ServerError`."""

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")
        self._id, self._prompt = uuid.uuid4().hex, ""
        try:
            self._http = httpx.Client(base_url=self.url, timeout=_REPLY_SECONDS)
            stats = self._get("/system_stats")
            self.version, self.device = str(stats["system"]["comfyui_version"]), ", ".join(each["name"] for each in stats["devices"])
            events = f"ws{self.url.removeprefix('http')}/ws?clientId={self._id}"
            self._events = _library.create_connection(events, timeout=_SILENCE_SECONDS)
        except (httpx.InvalidURL, KeyError, OSError, _library.WebSocketException) as error:
            raise ServerError(_nobody(self.url, error)) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
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
            heard = self._follow(self._prompt, progress)
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
            heard.seconds,
            frozenset(told["execution_cached"]["nodes"]),
            heard.reports,
            heard.calibrations,
            heard.texts,
            ended["outputs"],
        )

    def take_back(self) -> None:
        """Remove the workflow that was queued last, or stop it. What others have queued goes on."""
        if not self._prompt:
            return  # Without a name, an interrupt would stop what others have queued.
        with suppress(httpx.HTTPError):
            self._http.post("/queue", json={"delete": [self._prompt]})
            self._http.post("/interrupt", json={"prompt_id": self._prompt})

    def _queue(self, workflow: Workflow) -> None:
        try:
            answer = self._http.post("/prompt", json={"prompt": workflow, "prompt_id": self._prompt, "client_id": self._id})
        except httpx.HTTPError as error:
            raise ServerError(_nobody(self.url, error)) from None
        if answer.is_error:
            raise WorkflowError(f"The server refused the workflow: {_reason(answer)}")

    def _follow(self, prompt: str, progress: Progress) -> _Heard:
        """Listen until the workflow has ended, however it did."""
        heard, node, began, running = _Heard(), None, 0.0, False
        while True:
            event = self._next_event(heard)
            if event is None:
                if self._has_ended(prompt):
                    return heard
                continue
            kind, data = event["type"], event["data"]
            # MagCache tells everybody who listens; a server runs one workflow at a time.
            if running and kind == "magcache.report":
                heard.reports.append(data["report"])
            elif running and kind == "magcache.calibration":
                heard.calibrations.append(data)
            elif data.get("prompt_id") != prompt:
                continue
            elif kind == "execution_start":
                running = True
            elif kind == "progress":
                progress(data["value"], data["max"])
            elif kind == "executing":
                now = time.perf_counter()
                if node is not None:
                    heard.seconds[node] = heard.seconds.get(node, 0.0) + now - began
                node, began = data["node"], now
                if node is None:
                    return heard

    def _next_event(self, heard: _Heard) -> dict[str, Any] | None:
        """The next message that has a type and data; None after a while without any. Notes the texts for nodes that come before it."""
        try:
            while message := self._events.recv():
                if isinstance(message, bytes):
                    heard.note_text(message)
                    continue
                event = json.loads(message)
                # Other packs send what they like.
                if isinstance(event, dict) and isinstance(event.get("data"), dict):  # pyright: ignore[reportUnknownMemberType]
                    return cast("dict[str, Any]", event)
            raise ServerError(_nobody(self.url, "it ended the connection"))
        except _library.WebSocketTimeoutException:
            return None
        except (OSError, _library.WebSocketException) as error:
            raise ServerError(_nobody(self.url, error)) from None

    def _has_ended(self, prompt: str) -> bool:
        queue = self._get("/queue")
        if any(item[1] == prompt for part in ("queue_running", "queue_pending") for item in queue[part]):
            return False
        if prompt in self._get(f"/history/{prompt}"):
            return True
        raise WorkflowError(f"The workflow is not in the queue of {self.url} any more: somebody removed it, or the server was restarted.")

    def _pictures(self, outputs: dict[str, dict[str, Any]]) -> list[Picture]:
        places = [place for name in sorted(outputs) for place in _files(outputs[name]) if is_visible(place["filename"])]
        saved = [place for place in places if place.get("type") == "output"] or places
        return [picture for place in saved for picture in pictures_in(place["filename"], self.file(place))]

    def file(self, place: dict[str, str]) -> bytes:
        """A file that the server keeps, by what `Outcome.shown` says of it."""
        answer = self._request("/view", {name: place[name] for name in ("filename", "subfolder", "type") if name in place})
        return answer.content

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._request(path)
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError(_nobody(self.url, error)) from None

    def _request(self, path: str, params: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._http.get(path, params=params)
        except httpx.HTTPError as error:
            raise ServerError(_nobody(self.url, error)) from None
        if answer.is_error:
            raise ServerError(_nobody(self.url, f"{path} gives {answer.status_code} {answer.reason_phrase}"))
        return answer


def _nobody(url: str, reason: object) -> str:
    return f"No ComfyUI answers at {url}: {reason or type(reason).__name__}. Start it, or name another with --server http://HOST:PORT."


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
