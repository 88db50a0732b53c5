"""The example workflows: up to date, accepted by a real ComfyUI, and among its templates."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from magcache.curves.shipped import load_curve
from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server
from magcache.server.workflow import WorkflowError
from tools.make_workflows import FOLDER
from tools.workflows.catalogue import NOTE, read_catalogue
from tools.workflows.collection import workflows
from tools.workflows.document import document, written
from tools.workflows.graph import Workflow
from tools.workflows.layout import READABLE, SMALL_WINDOW, opening_zoom
from tools.workflows.plans import runs
from tools.workflows.prompt import prompt
from tools.workflows.thumbnail import SIDE, caption

from .processes import get, get_json

WORKFLOWS = workflows()
TITLES = [workflow.title for workflow in WORKFLOWS]
DEMOS = [workflow.title for workflow in WORKFLOWS if not list(workflow.files())]
PUBLISHED = ", published settings"
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


@each_workflow
def test_a_title_says_magcache_and_can_be_a_file_name_on_windows(title: str):
    assert "MagCache" in title
    assert not re.search(r'[<>:"/\\\\|?*]|[. ]$', title)


@each_workflow
def test_magcache_auto_is_set_to_twice_the_speed_and_magcache_as_published(title: str):
    values = [(node["type"], node["widgets_values"]) for node in read(title)["nodes"] if re.fullmatch("MagCache(Auto|)", node["type"])]
    if title.endswith(PUBLISHED):
        assert title.removesuffix(PUBLISHED) in TITLES
        for kind, (model_type, threshold, retention, most, *_) in values:
            preset = load_curve(model_type).preset
            assert kind == "MagCache" and preset is not None
            assert (threshold, retention, most) == (preset.threshold, preset.retention, preset.max_skip)
    else:
        assert {(kind, speedup) for kind, (speedup, *_) in values} == (set() if "Calibrate" in title else {("MagCacheAuto", 2.0)})


def test_there_is_a_second_workflow_for_models_with_published_settings():
    models = (
        "FLUX", "FLUX-Kontext", "Chroma", "Qwen-Image", "Qwen-Image-Edit", "HunyuanVideo T2V", "HunyuanVideo 1.5",
        "Wan2.1 T2V", "Wan2.1 I2V", "Wan2.1 VACE", "Wan2.2 T2V", "Wan2.2 I2V",
    )  # fmt: skip
    assert {title for title in TITLES if title.endswith(PUBLISHED)} == {f"{model} with MagCache{PUBLISHED}" for model in models}


@each_workflow
def test_nobody_takes_a_group_for_an_error(title: str):
    """The frontend marks errors and missing files in red and orange."""
    for group in read(title)["groups"]:
        hue, _, saturation = colorsys.rgb_to_hls(*(int(group["color"][place : place + 2], 16) / 255 for place in (1, 3, 5)))
        assert 0.15 < hue < 0.85 and saturation > 0.2, group["title"]


@each_workflow
def test_it_opens_at_a_zoom_at_which_its_text_is_drawn(title: str):
    boxes = [(*node["pos"], *node["size"]) for node in read(title)["nodes"]]
    width = max(x + width for x, _, width, _ in boxes) - min(x for x, *_ in boxes)
    height = max(y + height for _, y, _, height in boxes) - min(y - 30 for _, y, *_ in boxes)
    assert opening_zoom(width, height, SMALL_WINDOW) >= READABLE


@each_workflow
def test_its_note_speaks_three_languages(title: str):
    """And says how many steps the first run takes to measure the model, where one does."""
    note = next(node["widgets_values"][0] for node in read(title)["nodes"] if node["type"] == NOTE)
    english, japanese, chinese = note.strip().split("\n\n")[-3:]
    assert english.isascii() or not re.search("[\u3040-\u30ff\u4e00-\u9fff]", english)
    assert re.search("[\u3040-\u30ff]", japanese)
    assert re.search("[\u4e00-\u9fff]", chinese) and not re.search("[\u3040-\u30ff]", chinese)
    if "**MagCache Auto**" in english:
        assert re.search(r"The first run measures the model: all \d+ steps are computed", english)
        assert "最初の実行では" in japanese and "首次运行" in chinese


@pytest.mark.parametrize(("language", "place"), [("ja", -2), ("zh", -1)])
@each_workflow
def test_its_note_calls_nodes_as_they_are_called_in_its_language(title: str, language: str, place: int):
    """In the Japanese frontend nobody finds a node of the name *MagCache Auto*."""
    names = json.loads((FOLDER.parent / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    english = json.loads((FOLDER.parent / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    nodes = read(title)["nodes"]
    said = next(node["widgets_values"][0] for node in nodes if node["type"] == NOTE).strip().split("\n\n")[place]
    for kind in names.keys() & {node["type"] for node in nodes} - {"MagCacheDemoText", "MagCacheDemoDecode"}:
        assert names[kind]["display_name"] in said
        assert names[kind]["display_name"] == english[kind]["display_name"] or english[kind]["display_name"] not in said


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
@pytest.mark.parametrize("title", [title for title in TITLES if title not in DEMOS])
def test_comfyui_accepts_it(client: Client, object_info: dict[str, Any], title: str):
    """With empty files in place of the models it gets as far as loading the first of them."""
    with pytest.raises(WorkflowError, match=r"(Loader|LoaderSimple) \(node [^)]+\) failed: "):
        client.run(prompt(read(title), read_catalogue(object_info)))


@pytest.mark.parametrize("title", DEMOS)
def test_a_demo_draws_and_is_faster_the_second_time(client: Client, object_info: dict[str, Any], models: Path, title: str):
    queued = prompt(read(title), read_catalogue(object_info))
    for curve in (models / "magcache").glob("*.json"):
        curve.unlink()
    nodes = {node["class_type"]: node["inputs"] for node in queued.values()}
    nodes["EmptySD3LatentImage"]["batch_size"] = 1  # One picture is measured as well as four.
    (first,) = client.run(queued).reports
    nodes["EmptySD3LatentImage"]["batch_size"] = 4
    result = client.run(queued)
    (report,) = result.reports
    assert (first["nfe"], report["nfe"], report["evaluations"]) == (28, 14, 28)
    assert min(picture.std() for picture in result.pictures) > 10
    if "SaveImage" in nodes:
        assert [picture.shape for picture in result.pictures] == [(128, 128, 3)] * 4


def test_comfyui_lists_them_and_serves_their_files(server: Server):
    listed = get_json(server, "/api/workflow_templates")
    assert sorted(listed["MagCache"]) == sorted(TITLES)
    for title in TITLES:
        for kind in ("json", "jpg"):
            assert get(server, f"/api/workflow_templates/MagCache/{title}.{kind}") == (FOLDER / f"{title}.{kind}").read_bytes()
