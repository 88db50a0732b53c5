"""What MkDocs does beside building docs/: the nodes' help pages join the site, and links out of docs/ lead somewhere.

The pages are written for GitHub, where `../web/docs/MagCacheAuto.md` is a file of the repository. On the site a help page is a page, a
picture is copied, and any other file is shown in the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
_HELP = ROOT / "web" / "docs"
_PICTURE = ".png"
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the help pages of the nodes, and the pictures that pages show from elsewhere in the repository."""
    for page in sorted(_HELP.glob("*.md")):
        if "Demo" not in page.stem:
            files.append(File.generated(config, f"nodes/{page.name}", abs_src_path=str(page)))
    for page in files.documentation_pages():
        for path in {_outside(page, target) for target, _ in _LINK.findall(page.content_string)}:
            name = path and path.relative_to(ROOT).as_posix()
            if path and name and path.suffix == _PICTURE and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Exchange links out of docs/ for links within the site, or for links to the repository."""

    def exchanged(match: re.Match[str]) -> str:
        path = _outside(page.file, match[1])
        if path is None:
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        if path.parent == _HELP:
            name = f"nodes/{path.name}"
        if (found := files.get_file_from_path(name)) is not None:
            return get_relative_url(found.src_uri, page.file.src_uri) + (match[2] or "")
        return f"{config.extra['repository']}/blob/main/{name}{match[2] or ''}"

    return _LINK.sub(exchanged, markdown)


def _outside(page: File, target: str) -> Path | None:
    """The file of this repository that a page of docs/ links to, if it lies elsewhere in it."""
    if not target.startswith("../"):
        return None
    return (ROOT / "docs" / page.src_uri).parent.joinpath(target).resolve()
