"""What a ComfyUI server tells over its websocket while a workflow runs."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import websocket

from ..errors import MagCacheError

Progress = Callable[[int, int], None]
"""Is told how many of how many steps are done."""

_library: Any = websocket  # It has no types.
_SILENCE_SECONDS = 10
"""After so long without a message it is asked whether the workflow is still there."""
_PROGRESS_TEXT = 3


class ServerError(MagCacheError):
    """No ComfyUI answers, or it stopped answering."""

    def __init__(self, url: str, reason: object) -> None:
        said = str(reason).rstrip(".") or type(reason).__name__
        super().__init__(f"No ComfyUI answers at {url}: {said}. Start it, or name another with --server http://HOST:PORT.")


@dataclass(slots=True)
class Heard:
    """What was heard of one workflow."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds each node took, by node id."""
    reports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What MagCache nodes reported, `magcache.reports.run_report.RunReport.to_json`."""
    calibrations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What MagCacheCalibration nodes measured: `path` on the server, and `curve`."""
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What each node showed on itself, by node id: one after the other."""


class Listener:
    """One connection to the websocket of a server. Raises `ServerError`."""

    def __init__(self, url: str, client: str) -> None:
        self._url = url
        try:
            self._events = _library.create_connection(f"ws{url.removeprefix('http')}/ws?clientId={client}", timeout=_SILENCE_SECONDS)
        except (OSError, ValueError, _library.WebSocketException) as error:
            raise ServerError(url, error) from None

    def close(self) -> None:
        self._events.close()

    def follow(self, prompt: str, progress: Progress, has_ended: Callable[[], bool]) -> Heard:
        """Listen until the workflow has ended, however it did. `has_ended` is asked when the server is silent."""
        heard, node, began, running = Heard(), None, 0.0, False
        while True:
            message = self._next_message()
            if message is None:
                if has_ended():
                    return heard
                continue
            if isinstance(message, bytes):
                _note_text(message, heard.texts)
                continue
            kind, data = message
            # MagCache tells everybody who listens; a server runs one workflow at a time.
            if running and kind == "magcache.reports.run_report":
                heard.reports.append(data["report"])
            elif running and kind == "magcache.runtime.recorder":
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
                # What a node expands into counts as the node.
                node, began = data.get("display_node") or data["node"], now
                if node is None:
                    return heard

    def _next_message(self) -> bytes | tuple[str, dict[str, Any]] | None:
        """A binary message, or the type and the data of another; None after a while without any."""
        try:
            while message := self._events.recv():
                if isinstance(message, bytes):
                    return message
                event = cast("dict[str, Any]", json.loads(message))
                if isinstance(event.get("data"), dict):  # Other packs send what they like.
                    return event["type"], event["data"]
        except _library.WebSocketTimeoutException:
            return None
        except (OSError, _library.WebSocketException) as error:
            raise ServerError(self._url, error) from None
        raise ServerError(self._url, "it ended the connection")


def _note_text(message: bytes, texts: dict[str, list[str]]) -> None:
    """Take in a progress text: its kind, the length of the node's id, the id, the text. Other binary messages are previews."""
    kind, length = struct.unpack_from(">II", message)
    if kind == _PROGRESS_TEXT:
        node = message[8 : 8 + length].decode()
        texts.setdefault(node, []).append(message[8 + length :].decode())
