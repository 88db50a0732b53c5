"""Edits of a workflow's graph."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from magcache.server.bench.rounds import EASYCACHE, FULL, MAGCACHE, ways
from magcache.server.workflow import (
    ASIDE,
    Workflow,
    WorkflowError,
    bypassed,
    configured,
    patched,
    read_workflow,
    samplers,
    seeded,
    unrepeatable,
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
        lambda workflow: bypassed(workflow, ASIDE),
        lambda workflow: patched(workflow, TYPES, "MagCacheAuto", speedup=2.0),
        lambda workflow: seeded(workflow, TYPES, 1),
        lambda workflow: configured(workflow, "MagCache", {"magcache_thresh": 1.0}),
        lambda workflow: unrepeatable(workflow, ["12:7"]),
    ],
    ids=["bypassed", "patched", "seeded", "configured", "unrepeatable"],
)
def test_the_original_is_left_alone_and_shares_nothing(edit):
    workflow = with_two_caches()
    before = copy.deepcopy(workflow)
    for each in edit(workflow).values():
        each["inputs"].clear()
    assert workflow == before


def test_bypassing_leads_past_several_nodes_in_a_row():
    assert bypassed(with_two_caches(), ASIDE) == lora_chain()
    (left,) = bypassed(with_two_caches(), {"EasyCache"}).keys() - lora_chain().keys()
    assert left == "4"


def test_bypassing_ends_when_nodes_lead_in_a_circle():
    workflow = {"1": node("MagCache", model=["2", 0]), "2": node("MagCache", model=["1", 0]), "3": node("KSampler", model=["1", 0], seed=1)}
    assert bypassed(workflow, ASIDE) == {}


def test_nodes_that_look_at_a_cache_go_with_what_shows_them_and_what_they_hand_on_stays():
    workflow = with_two_caches() | {
        "20": node("MagCacheReport", model=["5", 0], after=["12:7", 0]),
        "21": node("VAEDecode", samples=["20", 2]),
        "22": node("SaveImage", images=["21", 0]),
        "23": node("PreviewImage", images=["20", 0]),
        "24": node("MagCacheCompare", reference=["21", 0], images=["21", 0], gain=8),
        "25": node("ImageScale", image=["24", 0]),
        "26": node("PreviewImage", images=["25", 0]),
    }
    made = bypassed(workflow, ASIDE)
    assert made.keys() == lora_chain().keys() | {"21", "22"}
    assert made["21"]["inputs"] == {"samples": ["12:7", 0]} and made["22"] == workflow["22"]


def test_a_cache_is_put_in_after_everything_else_on_the_model():
    made = patched(lora_chain(), TYPES, "MagCacheAuto", speedup=3.0)
    assert made["12:7"]["inputs"]["model"] == ["4", 0]
    assert made["4"]["class_type"] == "MagCacheAuto" and made["4"]["inputs"] == {"speedup": 3.0, "model": ["3", 0]}
    assert {name: made[name] for name in ("1", "2", "3")} == {name: lora_chain()[name] for name in ("1", "2", "3")}
    assert bypassed(made, ASIDE) == lora_chain()


def test_what_a_node_needs_and_was_not_given_is_the_servers_default():
    made = patched(lora_chain(), TYPES, "EasyCache")
    assert made["4"]["inputs"] == {"reuse_threshold": 0.2, "verbose": False, "model": ["3", 0]}


def test_each_model_gets_its_own_and_only_one():
    made = patched(two_experts(), TYPES, "MagCacheAuto", speedup=2.0)
    assert [made[made[name]["inputs"]["model"][0]]["inputs"]["model"] for name in ("3", "4")] == [["1", 0], ["2", 0]]
    shared = two_experts()
    shared["4"]["inputs"]["model"] = ["1", 0]
    assert len(patched(shared, TYPES, "MagCacheAuto", speedup=2.0)) == len(shared) + 1


def test_a_guider_gets_it_and_a_scheduler_does_not():
    made = patched(guided(), TYPES, "MagCacheAuto", speedup=2.0)
    assert made["2"]["inputs"]["model"] == ["6", 0] and made["3"]["inputs"]["model"] == ["1", 0]


def test_a_sampler_that_hands_its_model_on_gets_it_too():
    workflow = {"1": node("UNETLoader"), "2": node("Switch", input1=["1", 0]), "3": node("KSampler (Efficient)", model=["2", 0], seed=1)}
    assert patched(workflow, TYPES, "MagCacheAuto")["3"]["inputs"]["model"] == ["4", 0]


def test_a_workflow_that_samples_nothing_is_refused():
    with pytest.raises(WorkflowError, match="No sampler"):
        patched({"1": node("UNETLoader"), "2": node("ModelSave", model=["1", 0])}, TYPES, "MagCacheAuto")


@pytest.mark.parametrize(("workflow", "expected"), [(lora_chain(), {"12:7"}), (guided(), {"5"}), (two_experts(), {"3", "4"})])
def test_what_samples(workflow: Workflow, expected: set[str]):
    assert samplers(workflow, TYPES) == expected


def test_seeds_go_to_what_draws_noise_and_nowhere_else():
    workflow = {**guided(), "8": node("KSampler", model=["1", 0], seed=["9", 0], steps=4), "9": node("WritePrompt", seed=3)}
    made = seeded(workflow, TYPES, 42)
    assert made["4"]["inputs"]["noise_seed"] == made["8"]["inputs"]["seed"] == 42
    assert made["9"]["inputs"]["seed"] == 3 and "seed" not in made["5"]["inputs"]


def test_every_run_is_marked_as_new():
    one, other = (unrepeatable(lora_chain(), ["12:7"])["12:7"]["inputs"] for _ in range(2))
    assert one.keys() == other.keys() and one != other


def test_the_ways_of_a_workflow_without_caches():
    made = ways(lora_chain(), TYPES, 2.5, easycache=True)
    assert list(made) == [FULL, MAGCACHE, EASYCACHE]
    assert made[FULL] == lora_chain()
    assert made[MAGCACHE]["4"]["inputs"]["speedup"] == 2.5 and made[EASYCACHE]["4"]["class_type"] == "EasyCache"


def test_the_caches_of_a_workflow_stay_as_they_are_set_one_in_each_way():
    made = ways(with_two_caches(), TYPES, 2.5, easycache=True)
    assert made[FULL] == lora_chain()
    assert made[MAGCACHE]["4"]["inputs"]["magcache_thresh"] == 0.24 and "5" not in made[MAGCACHE]
    assert made[EASYCACHE]["5"]["inputs"] == {"model": ["3", 0], "reuse_threshold": 0.1} and "4" not in made[EASYCACHE]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"nodes": [], "links": [], "version": 0.4}', r"the editor saves it.*Export \(API\)"),
        ('{"1": {"class_type": "KSampler"}}', "expected nodes"),
        ('{"1": {"class_type": 3, "inputs": {}}}', "expected nodes"),
        ('{"last_node_id": 4}', "expected nodes"),
        ("[1, 2]", "expected an object"),
        ("PNG", r"cannot be read.*Export \(API\)"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_workflow_for_a_server_is_explained(tmp_path: Path, text: str, said: str):
    (tmp_path / "workflow.json").write_text(text)
    with pytest.raises(WorkflowError, match=said):
        read_workflow(tmp_path / "workflow.json")


def test_a_workflow_is_read_as_it_was_exported(tmp_path: Path):
    (tmp_path / "workflow.json").write_text(json.dumps(guided()))
    assert read_workflow(tmp_path / "workflow.json") == guided()
