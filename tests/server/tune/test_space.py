"""What is tuned."""

from __future__ import annotations

import pytest

from magcache.server.tune.space import AUTO_SPACE, THRESHOLD_SPACE, SearchSpace, rounded, space_of

from ..graphs import lora_chain, node


@pytest.mark.parametrize("space", [AUTO_SPACE, THRESHOLD_SPACE], ids=lambda space: space.kind)
def test_the_first_settings_lie_in_the_ranges(space: SearchSpace):
    for settings in space.first:
        assert settings.keys() == space.ranges.keys()
        for name, value in settings.items():
            assert space.ranges[name]._contains(space.ranges[name].to_internal_repr(value)), (name, value)


def test_studies_on_disk_know_these_ways_to_reuse_in_this_order():
    """Optuna refuses to resume a study whose choices have changed."""
    assert AUTO_SPACE.ranges["reuse"].choices == ("extrapolate", "scale", "hold")


def test_the_node_of_the_workflow_is_tuned_or_else_magcache_auto():
    workflow = lora_chain()
    assert space_of(workflow) is AUTO_SPACE
    workflow["4"] = node("MagCache", model=["3", 0])
    assert space_of(workflow) is THRESHOLD_SPACE
    workflow["5"] = node("MagCacheAuto", model=["3", 0])
    assert space_of(workflow) is AUTO_SPACE


def test_rounding_removes_the_errors_of_binary_fractions():
    assert rounded({"speedup": 0.1 + 0.2, "magcache_K": 3, "reuse": "hold"}) == {"speedup": 0.3, "magcache_K": 3, "reuse": "hold"}
