"""Following the websocket messages of a server."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import websocket

from magcache.server.events import EventStream, NodeText, RunEvents, ServerError, ServerEvent

MINE, OTHER = "my prompt", "another prompt"


class Socket:
    """Gives prepared messages; raises those that are exceptions."""

    def __init__(self, *messages: Any) -> None:
        self._messages = iter(messages)

    def recv(self) -> Any:
        message = next(self._messages)
        if isinstance(message, Exception):
            raise message
        return message


def event(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


def text(node: str, shown: str) -> bytes:
    return struct.pack(">II", 3, len(node)) + (node + shown).encode()


PREVIEW = struct.pack(">II", 1, 2) + b"\xff\xd8 a picture"
SILENCE = websocket.WebSocketTimeoutException()


@pytest.fixture
def stream_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EventStream]:
    def made(*messages: Any) -> EventStream:
        monkeypatch.setattr(websocket, "create_connection", lambda *_, **__: Socket(*messages))
        return EventStream("http://server", "me")

    return made


def follow(stream: EventStream, *, ended: bool = False) -> tuple[RunEvents, list[tuple[int, int]]]:
    steps = list[tuple[int, int]]()
    return stream.follow(MINE, lambda done, total: steps.append((done, total)), lambda: ended), steps


def test_events_and_texts_are_received_and_everything_else_is_skipped(stream_of: Callable[..., EventStream]):
    stream = stream_of(event("status"), PREVIEW, json.dumps({"type": "crystools", "data": None}), text("7", "1 of 9"), SILENCE)
    assert [stream.receive() for _ in range(3)] == [ServerEvent("status", {}), NodeText("7", "1 of 9"), None]


def test_a_run_is_followed_to_its_end(stream_of: Callable[..., EventStream]):
    found, steps = follow(
        stream_of(
            event("magcache.report", report={"nfe": 1}),  # Of the workflow before.
            event("execution_start", prompt_id=MINE),
            event("executing", prompt_id=MINE, node="7"),
            event("progress", prompt_id=OTHER, value=5, max=5),
            event("progress", prompt_id=MINE, value=1, max=9),
            text("7", "1 of 9 steps"),
            text("7", "9 of 9 steps"),
            event("magcache.report", report={"nfe": 5}),
            event("magcache.calibration", path="curve.json"),
            event("executing", prompt_id=MINE, node="7.0.1", display_node="8"),
            event("executing", prompt_id=MINE, node=None),
        )
    )
    assert found.reports == [{"nfe": 5}] and found.calibrations == [{"path": "curve.json"}]
    assert found.texts == {"7": ["1 of 9 steps", "9 of 9 steps"]} and steps == [(1, 9)]
    assert found.seconds.keys() == {"7", "8"} and all(seconds >= 0 for seconds in found.seconds.values())


def test_a_silent_server_is_asked_whether_the_run_has_ended(stream_of: Callable[..., EventStream]):
    assert follow(stream_of(SILENCE), ended=True) == (RunEvents(), [])
    asked, answers = list[bool](), iter([False, True])
    stream = stream_of(SILENCE, event("execution_start", prompt_id=MINE), SILENCE)
    stream.follow(MINE, lambda done, total: None, lambda: asked.append(next(answers)) or asked[-1])
    assert asked == [False, True]


@pytest.mark.parametrize("end", ["", websocket.WebSocketConnectionClosedException("gone"), ConnectionResetError("reset")], ids=repr)
def test_a_connection_that_ends_is_an_error_that_names_the_server(stream_of: Callable[..., EventStream], end: Any):
    with pytest.raises(ServerError, match="No ComfyUI answers at http://server: "):
        stream_of(end).receive()
