"""A run that is measured is sampled and not taken from the server's cache."""

from __future__ import annotations

import numpy as np
import pytest

from magcache.server.client import Client
from magcache.server.launch import FLOOR
from magcache.server.runs import run_with_seed
from magcache.server.workflow import classes

from .workflows import small


@pytest.mark.parametrize("server", [FLOOR], indirect=True)
def test_the_same_run_again_is_not_answered_from_the_cache(client: Client):
    """This version of the server keeps the results of its last workflow, however little memory there is."""
    client.run(small())
    assert "sampler" in client.run(small()).cached
    types = client.types(classes(small()))
    one, other = (run_with_seed(client, small(), types, 7, lambda done, total: None) for _ in range(2))
    assert np.array_equal(one.pictures, other.pictures) and min(one.sampler_seconds, other.sampler_seconds) > 0
