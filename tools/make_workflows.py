"""Writes `example_workflows`: the file and the thumbnail of every workflow in `tools/workflows`.

    python -m tools.make_workflows

It starts a real ComfyUI, which lists the inputs of its nodes and draws the pictures of the bundled model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import httpx

from magcache.reports.metrics import Picture
from magcache.server.client import Client
from magcache.server.launch import NEWEST, fetch_comfyui, install_node, serve
from tools.workflows.catalogue import Catalogue, read_catalogue
from tools.workflows.collection import workflows
from tools.workflows.document import document, written
from tools.workflows.graph import Workflow
from tools.workflows.plans import runs
from tools.workflows.prompt import prompt
from tools.workflows.thumbnail import save, thumbnail

FOLDER = Path(__file__).parents[1] / "example_workflows"
_SHOWN = 2
"""Number of pictures in the thumbnail of a workflow that needs no files."""
_SEEDS = ("seed", "value")
"""Names of the inputs that hold a seed, of samplers and of *Int*."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="magcache-workflows-") as scratch:
        install_node(Path(scratch))
        with serve(fetch_comfyui(NEWEST), Path(scratch), ["--cpu"]) as server, Client(server.address) as client:
            catalogue = read_catalogue(httpx.get(f"http://{server.address}/object_info", timeout=60).json())
            for workflow in workflows():
                _write(workflow, catalogue, client)


def _write(workflow: Workflow, catalogue: Catalogue, client: Client) -> None:
    """Write the file and the thumbnail of a workflow."""
    made = document(workflow, catalogue)
    (FOLDER / f"{workflow.title}.json").write_text(written(made), encoding="utf-8")
    pictures = () if list(workflow.files()) else _pictures(prompt(made, catalogue), client)
    save(thumbnail(workflow, runs(workflow), pictures), runs(workflow), FOLDER / f"{workflow.title}.jpg")


def _pictures(queued: dict[str, Any], client: Client) -> list[Picture]:
    """The first pictures of each sampler of a workflow that needs no files, from its second run: the first one calibrates."""
    client.run(queued)
    for node in queued.values():
        node["inputs"].update({name: node["inputs"][name] + 1 for name in _SEEDS if isinstance(node["inputs"].get(name), int)})
    shown: list[Picture] = []
    decoders = [number for number, node in queued.items() if node["class_type"] == "MagCacheDemoDecode"]
    for number in decoders:
        saved = {"class_type": "SaveImage", "inputs": {"images": [number, 0], "filename_prefix": "thumbnail"}}
        shown += client.run({**queued, "thumbnail": saved}).pictures[: _SHOWN // len(decoders)]
    return shown


if __name__ == "__main__":
    main()
