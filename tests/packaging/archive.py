"""The archive that the registry sends to users: the tracked files without those in .comfyignore."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parents[2]


def archived_files() -> list[Path]:
    """Paths relative to the repository. They follow from the two ignore files, so this works without git too."""
    lines = [line for name in (".gitignore", ".comfyignore") for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return sorted(_files_below(ROOT, GitIgnoreSpec.from_lines(lines)))


def unpack_archive(target: Path) -> None:
    for file in archived_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file)


def _files_below(folder: Path, left_out: GitIgnoreSpec) -> Iterator[Path]:
    for path in folder.iterdir():
        name = path.relative_to(ROOT)
        if left_out.match_file(f"{name.as_posix()}/" if path.is_dir() else name):
            continue
        if path.is_dir():
            yield from _files_below(path, left_out)
        else:
            yield name
