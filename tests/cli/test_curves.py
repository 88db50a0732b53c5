"""`magcache curves` as a user calls it."""

from __future__ import annotations

import json

from magcache import known_curves

from .calls import run


def test_every_shipped_curve_is_listed_with_its_recommended_settings():
    rows = json.loads(run("curves", "--json"))
    assert [row["name"] for row in rows] == known_curves()
    assert next(row for row in rows if row["name"] == "flux")["recommended"] == {"threshold": 0.24, "retention": 0.1, "max_skip": 5}
    assert all(name in run("curves") for name in known_curves())
