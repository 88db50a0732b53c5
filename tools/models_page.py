"""Writes the tables of docs/models.md from what `magcache models` lists.

    python -m tools.models_page

Each table stands between a comment that names its command and a comment `end`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from magcache.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
_TABLE = re.compile(r"(<!-- magcache models(?P<options>[^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_WHOLE = "whole prediction"


def with_tables(text: str) -> str:
    """`text` with each table as the command says today."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{_table(_listed(match['options'].split()))}\n\n{match[3]}", text)


def _listed(options: Sequence[str]) -> list[dict[str, Any]]:
    """What the command lists, with these options."""
    done = CliRunner().invoke(app, ["models", "--json", *options])
    if done.exit_code:
        raise RuntimeError(done.output)
    return json.loads(done.output)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| models | can be sped up | published curves |", "| --- | --- | --- |"]
    lines += [f"| {', '.join(row['models'])} | {_how(row)} | {', '.join(f'`{name}`' for name in row['curves']) or 'no'} |" for row in rows]
    return "\n".join(lines)


def _how(row: Mapping[str, Any]) -> str:
    if _WHOLE in row["streams"]:
        other = "" if row["streams"] == _WHOLE else " (some classes: blocks are skipped)"
        return f"rarely: the prediction is reused as a whole{other}"
    return "yes" if row["streams"].isdecimal() else f"yes: {row['streams'].replace(', ', ' and ')} together"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
