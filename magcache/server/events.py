"""What a ComfyUI server sends over its websocket while it runs workflows."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import websocket

from ..errors import MagCacheError
from ..reports.run_report import CALIBRATION_EVENT, REPORT_EVENT

OnStep = Callable[[int, int], None]
"""Called with the number of finished steps and the number of all steps."""

_websocket: Any = websocket  # It has no types.
_SILENCE_SECONDS = 10
"""After this long without a message the client asks whether the workflow is still in the queue."""
_LOG_EVENT = "logs"
"""Comes only to clients that subscribed to the log."""
_PROGRESS_TEXT = 3
"""Type of a binary message with the progress text of a node. Other binary messages are preview pictures."""


class ServerError(MagCacheError):
    """No ComfyUI answers, or it stopped answering."""

    def __init__(self, url: str, reason: object) -> None:
        text = str(reason).rstrip(".") or type(reason).__name__
        super().__init__(f"No ComfyUI answers at {url}: {text}. Start it, or name another with --server http://HOST:PORT.")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """A JSON message of a server."""

    type: str
    """`execution_start`, `progress`, `executing`, …"""
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeText:
    """A text that a node shows on itself."""

    node: str
    """Id of the node."""
    text: str


@dataclass(slots=True)
class RunEvents:
    """What a server sent while it ran one workflow."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds that each node took, by node id."""
    reports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The runs that MagCache nodes reported, as `magcache.reports.run_report.RunReport.to_json` gives them."""
    calibrations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The calibrations that MagCache nodes saved: `path` on the server, and `curve`."""
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The texts that each node showed on itself, by node id, in order."""
    log: list[str] = field(default_factory=list[str])
    """What the server wrote to its log, if the client asked for it."""


class EventStream:
    """A connection to the websocket of the server at `url`, for the client with this id. Raises `ServerError`."""

    def __init__(self, url: str, client_id: str) -> None:
        self._url = url
        try:
            self._socket = _websocket.create_connection(f"ws{url.removeprefix('http')}/ws?clientId={client_id}", timeout=_SILENCE_SECONDS)
        except (OSError, ValueError, _websocket.WebSocketException) as error:
            raise ServerError(url, error) from None

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> ServerEvent | NodeText | None:
        """The next event or text; None after ten seconds without a message. Preview pictures are skipped."""
        try:
            while message := self._socket.recv():
                event = _text_in(message) if isinstance(message, bytes) else _event_in(message)
                if event is not None:
                    return event
        except _websocket.WebSocketTimeoutException:
            return None
        except (OSError, _websocket.WebSocketException) as error:
            raise ServerError(self._url, error) from None
        raise ServerError(self._url, "it ended the connection")

    def follow(self, prompt_id: str, on_step: OnStep, has_ended: Callable[[], bool]) -> RunEvents:
        """Collect events until the workflow queued as `prompt_id` has ended, with or without success.

        `has_ended` is called when the server is silent, in case the last event was lost.
        """
        found, started, node, node_start = RunEvents(), False, None, 0.0
        while True:
            event = self.receive()
            if event is None:
                if has_ended():
                    return found
            elif isinstance(event, NodeText):
                found.texts.setdefault(event.node, []).append(event.text)
            # MagCache's events go to every client and name no prompt, but a server runs one workflow at a time.
            elif started and event.type == REPORT_EVENT:
                found.reports.append(event.data["report"])
            elif started and event.type == CALIBRATION_EVENT:
                found.calibrations.append(event.data)
            elif started and event.type == _LOG_EVENT:
                found.log += [str(entry["m"]) for entry in event.data["entries"]]
            elif event.data.get("prompt_id") != prompt_id:
                continue
            elif event.type == "execution_start":
                started = True
            elif event.type == "progress":
                on_step(event.data["value"], event.data["max"])
            elif event.type == "executing":
                now = time.perf_counter()
                if node is not None:
                    found.seconds[node] = found.seconds.get(node, 0.0) + now - node_start
                # The nodes that a node expands into count as that node. No node means the end.
                node, node_start = event.data.get("display_node") or event.data["node"], now
                if node is None:
                    return found


def _event_in(message: str) -> ServerEvent | None:
    """The event in a JSON message; None if it has another form, as some node packs send."""
    event = cast("dict[str, Any]", json.loads(message))
    return ServerEvent(event["type"], event["data"]) if isinstance(event.get("data"), dict) else None


def _text_in(message: bytes) -> NodeText | None:
    """The progress text in a binary message; None in others. The layout: type, length of the node's id, the id, the text."""
    kind, length = struct.unpack_from(">II", message)
    if kind != _PROGRESS_TEXT:
        return None
    return NodeText(message[8 : 8 + length].decode(), message[8 + length :].decode())
