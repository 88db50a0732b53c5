"""Queue workflows on a ComfyUI server over its public API and follow them."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import websocket
from PIL import Image

from ..errors import MagCacheError
from ..metrics import Picture

Workflow = dict[str, Any]
"""A workflow in ComfyUI's API format: node id -> class_type and inputs."""


_PROGRESS_TEXT = 3


class WorkflowError(MagCacheError):
    """The server refused a workflow or a node failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a queued workflow gave."""

    pictures: list[Picture]
    seconds: dict[str, float]
    """Seconds each node took, by node id."""
    reports: list[dict[str, Any]]
    """What MagCache nodes reported, `magcache.report.RunReport.to_json`."""
    texts: dict[str, list[str]]
    """What each node showed on itself, by node id: one after the other, while the workflow ran."""
    shown: dict[str, dict[str, Any]]
    """What each node left to be shown when it was done (`images`, `text`, …), by node id."""


class Client:
    """A client of one server. Use it as a context manager."""

    def __init__(self, address: str, timeout: float = 600) -> None:
        self._id = uuid.uuid4().hex
        self._http = httpx.Client(base_url=f"http://{address}", timeout=timeout)
        self._events: Any = websocket.create_connection(f"ws://{address}/ws?clientId={self._id}", timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._http.close()

    def run(self, workflow: Workflow, progress: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
        """Queue `workflow` and wait for its end. Raises `WorkflowError` with the server's words if it fails."""
        answer = self._http.post("/prompt", json={"prompt": workflow, "client_id": self._id})
        if answer.is_error:
            raise WorkflowError(f"The server refused the workflow: {_reason(answer.json())}")
        prompt_id = answer.json()["prompt_id"]
        outcome = Outcome([], {}, [], {}, {})
        self._follow(prompt_id, progress, outcome)
        outcome.shown.update(self._http.get(f"/history/{prompt_id}").json()[prompt_id]["outputs"])
        outcome.pictures.extend(self.picture(place) for node in outcome.shown.values() for place in node.get("images", ()))
        return outcome

    def _follow(self, prompt_id: str, progress: Callable[[int, int], None], outcome: Outcome) -> None:
        """Note in `outcome` what the server says until the workflow is done."""
        seconds, node, began = outcome.seconds, None, time.perf_counter()
        while True:
            message = self._events.recv()
            if not isinstance(message, str):
                _note_text(message, outcome.texts)
                continue
            event = json.loads(message)
            kind, data = event["type"], event["data"]
            if kind == "magcache.report":
                outcome.reports.append(data["report"])
            elif data.get("prompt_id") != prompt_id:
                continue
            elif kind == "progress":
                progress(data["value"], data["max"])
            elif kind == "execution_error":
                raise WorkflowError(f"{data['node_type']} failed: {data['exception_message'].strip()}")
            elif kind == "executing":
                now = time.perf_counter()
                if node is not None:
                    seconds[node] = seconds.get(node, 0.0) + now - began
                node, began = data["node"], now
                if node is None:
                    return

    def picture(self, place: dict[str, str]) -> Picture:
        """A picture that the server keeps, by what `Outcome.shown` says of it."""
        answer = self._http.get("/view", params=place)
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def _note_text(message: bytes, texts: dict[str, list[str]]) -> None:
    """Take in a progress text: its kind, the length of the node's id, the id, the text. Other binary messages are previews."""
    kind, length = struct.unpack_from(">II", message)
    if kind == _PROGRESS_TEXT:
        node = message[8 : 8 + length].decode()
        texts.setdefault(node, []).append(message[8 + length :].decode())


def _reason(answer: dict[str, Any]) -> str:
    details = [
        f"{node.get('class_type')}: {error['message']} ({error['details']})"
        for node in answer.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(details) or answer.get("error", {}).get("message", str(answer))
