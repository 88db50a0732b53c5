"""Workflow files to drop onto the canvas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"


def report_and_compare(folder: Path, seed: int, **changes: Any) -> Path:
    """The workflow with Report and Compare in a file in `folder`: one small picture, and other properties for nodes of some kinds.

    A server that has run it with the same seed would run nothing again.
    """
    changes = {
        "EmptySD3LatentImage": {"widgets_values": [128, 128, 1]},
        "PrimitiveInt": {"widgets_values": [seed, "increment"]},
        **changes,
    }
    workflow = json.loads((DATA / "report_and_compare.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        node.update(changes.get(node["type"], {}))
    (folder / "small.json").write_text(json.dumps(workflow), encoding="utf-8")
    return folder / "small.json"
