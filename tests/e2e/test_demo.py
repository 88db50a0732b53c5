"""The README's first command, with few steps."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from magcache.cli.main import app


def test_the_demo_ends_with_a_report(tmp_path: Path):
    result = CliRunner().invoke(app, ["demo", "--steps", "12", "--out", str(tmp_path / "report"), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["prompts"] >= 8 and facts["nfe"] < facts["steps"] == 12
    assert json.loads((tmp_path / "report" / "result.json").read_text()) == facts
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/png") == facts["pictures"] * 4
    assert (tmp_path / "report" / "overview.png").stat().st_size > 10_000
