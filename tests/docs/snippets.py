"""Runs the Python in a document: its ```python blocks and the sessions in its ```pycon blocks, in order, in one namespace."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(name: str, **names: Any) -> dict[str, Any]:
    """Run the document `name`, with `names` in its namespace. Returns the namespace; raises what a block raises.

    What a session prints must be what the document says; `...` stands for anything.
    """
    path, names = DOCS / name, {"__name__": name, **names}
    text = path.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(2))
        if match[1] == "python":
            exec(compile("\n" * line + match[2], str(path), "exec"), names)  # noqa: S102 - our own document
        elif match[1] == "pycon":
            _check_session(match[2], names, path, line)
    return names


def _check_session(block: str, names: dict[str, Any], path: Path, line: int) -> None:
    said: list[str] = []
    session = doctest.DocTestParser().get_doctest(block, {}, path.name, str(path), line)
    session.globs = names
    failed, tried = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(session, out=said.append, clear_globs=False)
    assert tried, f"{path.name}, line {line}: the block has no prompt (>>>)"
    assert not failed, "".join(said)
