"""Edits of a workflow's graph."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from magcache.server.bench.rounds import EASYCACHE, FULL, MAGCACHE, variants
from magcache.server.workflow import (
    CACHE_NODES,
    Workflow,
    WorkflowError,
    bypassed,
    configured,
    insert_before_samplers,
    insert_node,
    read_workflow,
    samplers,
    seeded,
    uncached,
)

from .graphs import TYPES, guided, lora_chain, node, two_experts


def with_two_caches() -> Workflow:
    workflow = lora_chain()
    workflow["4"] = node("MagCache", model=["3", 0], magcache_thresh=0.24)
    workflow["5"] = node("EasyCache", model=["4", 0], reuse_threshold=0.1)
    workflow["12:7"]["inputs"]["model"] = ["5", 0]
    return workflow


@pytest.mark.parametrize(
    "edit",
    [
        lambda workflow: bypassed(workflow, CACHE_NODES),
        lambda workflow: insert_before_samplers(workflow, TYPES, "MagCacheAuto", speedup=2.0),
        lambda workflow: seeded(workflow, TYPES, 1),
        lambda workflow: configured(workflow, "MagCache", {"magcache_thresh": 1.0}),
        lambda workflow: uncached(workflow, ["12:7"]),
    ],
    ids=["bypassed", "inserted", "seeded", "configured", "uncached"],
)
def test_the_original_is_left_alone_and_shares_nothing(edit):
    workflow = with_two_caches()
    before = copy.deepcopy(workflow)
    for each in edit(workflow).values():
        each["inputs"].clear()
    assert workflow == before


def test_several_nodes_in_a_row_are_bypassed():
    assert bypassed(with_two_caches(), CACHE_NODES) == lora_chain()
    (left,) = bypassed(with_two_caches(), {"EasyCache"}).keys() - lora_chain().keys()
    assert left == "4"


def test_bypassing_ends_when_nodes_form_a_circle():
    workflow = {"1": node("MagCache", model=["2", 0]), "2": node("MagCache", model=["1", 0]), "3": node("KSampler", model=["1", 0], seed=1)}
    assert bypassed(workflow, CACHE_NODES) == {}


def test_nodes_that_show_a_cache_go_with_what_depends_on_them_and_what_they_pass_through_stays():
    workflow = with_two_caches() | {
        "20": node("MagCacheReport", model=["5", 0], after=["12:7", 0]),
        "21": node("VAEDecode", samples=["20", 2]),
        "22": node("SaveImage", images=["21", 0]),
        "23": node("PreviewImage", images=["20", 0]),
        "24": node("MagCacheCompare", reference=["21", 0], images=["21", 0], gain=8),
        "25": node("ImageScale", image=["24", 0]),
        "26": node("PreviewImage", images=["25", 0]),
    }
    made = bypassed(workflow, CACHE_NODES)
    assert made.keys() == lora_chain().keys() | {"21", "22"}
    assert made["21"]["inputs"] == {"samples": ["12:7", 0]} and made["22"] == workflow["22"]


def test_a_cache_is_inserted_after_everything_else_on_the_model():
    made = insert_before_samplers(lora_chain(), TYPES, "MagCacheAuto", speedup=3.0)
    assert made["12:7"]["inputs"]["model"] == ["4", 0]
    assert made["4"]["class_type"] == "MagCacheAuto" and made["4"]["inputs"] == {"speedup": 3.0, "model": ["3", 0]}
    assert {name: made[name] for name in ("1", "2", "3")} == {name: lora_chain()[name] for name in ("1", "2", "3")}
    assert bypassed(made, CACHE_NODES) == lora_chain()


def test_required_inputs_without_a_value_get_the_servers_default():
    made = insert_before_samplers(lora_chain(), TYPES, "EasyCache")
    assert made["4"]["inputs"] == {"reuse_threshold": 0.2, "verbose": False, "model": ["3", 0]}


def test_each_model_gets_one_node():
    made = insert_before_samplers(two_experts(), TYPES, "MagCacheAuto", speedup=2.0)
    assert [made[made[name]["inputs"]["model"][0]]["inputs"]["model"] for name in ("3", "4")] == [["1", 0], ["2", 0]]
    shared = two_experts()
    shared["4"]["inputs"]["model"] = ["1", 0]
    assert len(insert_before_samplers(shared, TYPES, "MagCacheAuto", speedup=2.0)) == len(shared) + 1


def test_a_node_is_inserted_at_the_inputs_that_are_named_under_the_id_that_is_given():
    made = insert_node(guided(), "MagCache", {"magcache_thresh": 0.1}, [("2", "model")], name="cache")
    assert made["cache"]["inputs"] == {"magcache_thresh": 0.1, "model": ["1", 0]}
    assert made["2"]["inputs"]["model"] == ["cache", 0] and made["3"]["inputs"]["model"] == ["1", 0]
    both = insert_node(two_experts(), "MagCache", {}, [("3", "model"), ("4", "model")], name="cache")
    assert [both[name]["inputs"]["model"] for name in ("3", "4", "cache", "5")] == [["cache", 0], ["5", 0], ["1", 0], ["2", 0]]


def test_a_guider_gets_the_node_and_a_scheduler_does_not():
    made = insert_before_samplers(guided(), TYPES, "MagCacheAuto", speedup=2.0)
    assert made["2"]["inputs"]["model"] == ["6", 0] and made["3"]["inputs"]["model"] == ["1", 0]


def test_a_sampler_that_also_gives_a_model_gets_the_node_too():
    workflow = {"1": node("UNETLoader"), "2": node("Switch", input1=["1", 0]), "3": node("KSampler (Efficient)", model=["2", 0], seed=1)}
    assert insert_before_samplers(workflow, TYPES, "MagCacheAuto")["3"]["inputs"]["model"] == ["4", 0]


def test_a_workflow_that_samples_nothing_is_refused():
    with pytest.raises(WorkflowError, match="No sampler"):
        insert_before_samplers({"1": node("UNETLoader"), "2": node("ModelSave", model=["1", 0])}, TYPES, "MagCacheAuto")


@pytest.mark.parametrize(("workflow", "expected"), [(lora_chain(), {"12:7"}), (guided(), {"5"}), (two_experts(), {"3", "4"})])
def test_samplers_take_a_model_or_a_guider(workflow: Workflow, expected: set[str]):
    assert samplers(workflow, TYPES) == expected


def test_seeds_are_set_where_noise_is_drawn_and_nowhere_else():
    workflow = {**guided(), "8": node("KSampler", model=["1", 0], seed=["9", 0], steps=4), "9": node("WritePrompt", seed=3)}
    made = seeded(workflow, TYPES, 42)
    assert made["4"]["inputs"]["noise_seed"] == made["8"]["inputs"]["seed"] == 42
    assert made["9"]["inputs"]["seed"] == 3 and "seed" not in made["5"]["inputs"]


def test_each_run_differs_from_the_one_before():
    one, other = (uncached(lora_chain(), ["12:7"])["12:7"]["inputs"] for _ in range(2))
    assert one.keys() == other.keys() and one != other


def test_the_variants_of_a_workflow_without_caches():
    made = variants(lora_chain(), TYPES, 2.5, easycache=True)
    assert list(made) == [FULL, MAGCACHE, EASYCACHE]
    assert made[FULL] == lora_chain()
    assert made[MAGCACHE]["4"]["inputs"]["speedup"] == 2.5 and made[EASYCACHE]["4"]["class_type"] == "EasyCache"


def test_the_caches_of_a_workflow_keep_their_settings_one_in_each_variant():
    made = variants(with_two_caches(), TYPES, 2.5, easycache=True)
    assert made[FULL] == lora_chain()
    assert made[MAGCACHE]["4"]["inputs"]["magcache_thresh"] == 0.24 and "5" not in made[MAGCACHE]
    assert made[EASYCACHE]["5"]["inputs"] == {"model": ["3", 0], "reuse_threshold": 0.1} and "4" not in made[EASYCACHE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nodes": [], "links": [], "version": 0.4}', r"Save writes it.*Export \(API\)"),
        ('{"1": {"class_type": "KSampler"}}', "expected nodes"),
        ('{"1": {"class_type": 3, "inputs": {}}}', "expected nodes"),
        ('{"last_node_id": 4}', "expected nodes"),
        ("[1, 2]", "expected an object"),
        ("{}", "expected nodes"),
        ("PNG", r"is not JSON.*line 1, column 1.*Export \(API\)"),
        ('{"1": {"class_type": "KSam', "is not JSON, or only a part of it"),
        ("\x89PNG", r"is not a text file.*Export \(API\)"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_no_workflow_for_a_server_is_explained(tmp_path: Path, text: str, message: str):
    (tmp_path / "workflow.json").write_text(text, encoding="latin-1")
    with pytest.raises(WorkflowError, match=message):
        read_workflow(tmp_path / "workflow.json")


def test_a_workflow_is_read_as_it_was_exported(tmp_path: Path):
    (tmp_path / "workflow.json").write_text(json.dumps(guided()))
    assert read_workflow(tmp_path / "workflow.json") == guided()
