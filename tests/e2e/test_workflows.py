"""The example workflows: up to date, accepted by a real ComfyUI, and among its templates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server
from magcache.server.workflow import WorkflowError
from tools.make_workflows import FOLDER
from tools.workflows.catalogue import NOTE, read_catalogue
from tools.workflows.collection import workflows
from tools.workflows.document import document, written
from tools.workflows.graph import Workflow
from tools.workflows.plans import runs
from tools.workflows.prompt import prompt
from tools.workflows.thumbnail import SIDE, caption

from .processes import get, get_json

WORKFLOWS = workflows()
TITLES = [workflow.title for workflow in WORKFLOWS]
BUNDLED = "Bundled tiny model"
EXAMPLE_PICTURE = "example.png"
"""Comes with ComfyUI, in its input folder."""

each_workflow = pytest.mark.parametrize("title", TITLES)
newest_comfyui = pytest.mark.parametrize("server", [NEWEST], indirect=True)


def read(title: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{title}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def object_info(server: Server) -> dict[str, Any]:
    return get_json(server, "/object_info")


@pytest.fixture
def files_in_place(models: Path, server: Server) -> Iterator[None]:
    """Empty files under the names and in the folders that the workflows ask for, and the picture that ComfyUI comes with."""
    wanted = [models / model["directory"] / model["name"] for title in TITLES for model in asked_for(read(title))]
    wanted = [path for path in dict.fromkeys(wanted) if not path.exists()]
    for path in wanted:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    picture = models.parent / "input" / EXAMPLE_PICTURE
    Image.new("RGB", (64, 64)).save(picture)
    yield
    for path in (*wanted, picture):
        path.unlink()


def asked_for(workflow: dict[str, Any]) -> list[dict[str, str]]:
    return [model for node in workflow["nodes"] for model in node["properties"].get("models", ())]


@newest_comfyui
def test_the_files_are_what_the_descriptions_give(object_info: dict[str, Any]):
    """If not: `python -m tools.make_workflows`."""
    catalogue = read_catalogue(object_info)
    expected = {f"{workflow.title}.json": written(document(workflow, catalogue)) for workflow in WORKFLOWS}
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == expected


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=TITLES)
def test_a_thumbnail_shows_the_plan_that_the_workflow_has_now(workflow: Workflow):
    path = FOLDER / f"{workflow.title}.jpg"
    picture = Image.open(path)
    assert picture.size == (SIDE, SIDE) and path.stat().st_size < 40_000
    assert picture.info["comment"].decode() == caption(runs(workflow))


def test_every_file_belongs_to_a_workflow():
    assert {path.name for path in FOLDER.iterdir()} == {f"{title}.{kind}" for title in TITLES for kind in ("json", "jpg")}


@newest_comfyui
@each_workflow
def test_slots_and_widgets_are_those_of_the_nodes(object_info: dict[str, Any], title: str):
    """Every input of a node has its slot, every widget its value, and both ends of a link know of it."""
    workflow = read(title)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for node in nodes.values():
        if node["type"] == NOTE:
            continue
        info = object_info[node["type"]]
        inputs = {**info["input"]["required"], **info["input"].get("optional", {})}
        slots = [slot for slot in node["inputs"] if slot["type"] != "IMAGEUPLOAD"]
        assert {slot["name"] for slot in slots} == inputs.keys()
        assert [(slot["name"], slot["type"]) for slot in node["outputs"]] == list(zip(info["output_name"], info["output"], strict=True))
        options = [spec[1] for spec in inputs.values() if len(spec) > 1]
        beside = sum(bool(each.get("control_after_generate") or each.get("image_upload")) for each in options)
        assert len(node["widgets_values"]) == sum("widget" in slot for slot in slots) + beside
    for number, origin, out, target, into, kind in workflow["links"]:
        assert number in nodes[origin]["outputs"][out]["links"] and nodes[origin]["outputs"][out]["type"] == kind
        assert nodes[target]["inputs"][into]["link"] == number
    connected = [slot["link"] for node in nodes.values() for slot in node["inputs"] if slot["link"] is not None]
    assert sorted(connected) == [link[0] for link in workflow["links"]]


@each_workflow
def test_nodes_stand_apart_and_within_their_groups(title: str):
    workflow = read(title)
    boxes = [(x, y - 30, x + width, y + height) for (x, y), (width, height) in ((node["pos"], node["size"]) for node in workflow["nodes"])]
    frames = [(x, y, x + width, y + height) for x, y, width, height in (group["bounding"] for group in workflow["groups"])]
    for rectangles in (boxes, frames):
        for index, one in enumerate(rectangles):
            for other in rectangles[:index]:
                assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3], (one, other)
    for box in boxes:
        assert any(frame[0] < box[0] and frame[1] < box[1] and box[2] < frame[2] and box[3] < frame[3] for frame in frames), box


@pytest.mark.usefixtures("files_in_place")
@pytest.mark.parametrize("title", [title for title in TITLES if title != BUNDLED])
def test_comfyui_accepts_it(client: Client, object_info: dict[str, Any], title: str):
    """With empty files in place of the models it gets as far as loading the first of them."""
    with pytest.raises(WorkflowError, match=r"(Loader|LoaderSimple) \(node [^)]+\) failed: "):
        client.run(prompt(read(title), read_catalogue(object_info)))


def test_the_bundled_model_draws_and_is_faster_the_second_time(client: Client, object_info: dict[str, Any]):
    queued = prompt(read(BUNDLED), read_catalogue(object_info))
    nodes = {node["class_type"]: node["inputs"] for node in queued.values()}
    nodes["EmptySD3LatentImage"]["batch_size"] = 1  # One picture is measured as well as four.
    client.run(queued)
    nodes["EmptySD3LatentImage"]["batch_size"] = 4
    result = client.run(queued)
    assert [picture.shape for picture in result.pictures] == [(256, 256, 3)] * 4
    assert result.pictures[0].std() > 10
    (report,) = result.reports
    assert (report["nfe"], report["evaluations"]) == (11, 28)


def test_comfyui_lists_them_and_serves_their_files(server: Server):
    listed = get_json(server, "/api/workflow_templates")
    assert sorted(listed["MagCache"]) == sorted(TITLES)
    for title in TITLES:
        for kind in ("json", "jpg"):
            assert get(server, f"/api/workflow_templates/MagCache/{title}.{kind}") == (FOLDER / f"{title}.{kind}").read_bytes()
