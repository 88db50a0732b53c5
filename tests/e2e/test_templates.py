"""The example workflows as they open from ComfyUI's templates, in a window of 1280 × 800."""

from __future__ import annotations

from pathlib import Path

import pytest

from magcache.server.launch import NEWEST
from tools.workflows.layout import READABLE

from .frontend import Frontend

PACK = "MagCache"

both_pages = pytest.mark.parametrize("server", [NEWEST, "newest page"], indirect=True, scope="session")


@both_pages
@pytest.mark.parametrize("title", ["MagCache demo, with and without", "Wan2.2 I2V with MagCache"])
def test_a_template_opens_large_enough_to_be_read(frontend: Frontend, tmp_path: Path, title: str):
    """These two have the most to show."""
    frontend.open_template(PACK, title)
    frontend.screenshot(tmp_path / "template.png")
    assert frontend.layout.zoom >= READABLE
    assert frontend.layout.is_readable
