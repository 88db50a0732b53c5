"""ComfyUI's web page and templates as people have them: packages of the index, beside those of this environment."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from magcache.server.launch import NEWEST, fetch_comfyui

PAGE_OF_FLOOR = ("comfyui-frontend-package==1.39.19",)
"""The web page that the oldest ComfyUI asks for."""
NEWEST_PAGE = (
    "comfyui-frontend-package==1.58.1",
    "comfyui-workflow-templates==0.11.27",
    "comfyui-workflow-templates-core==0.3.292",
    "comfyui-workflow-templates-json==0.1.27",
)
"""The newest web page of the index, and ComfyUI's own templates without their 408 MB of preview pictures."""


def fetch_page(packages: tuple[str, ...]) -> Path:
    """A folder in the user's cache with these packages, fetched from the package index if it is not there; for PYTHONPATH."""
    target = fetch_comfyui(NEWEST).parent / packages[0].replace("==", "-")
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "page"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
        subprocess.run([*command, "--target", str(folder), *packages], check=True)
        _add_previews(folder)
        folder.rename(target)
    return target


def _add_previews(folder: Path) -> None:
    """An empty file for each preview: ComfyUI offers no template at all if one of them is missing."""
    for manifest in folder.glob("comfyui_workflow_templates_core/manifest.json"):
        for template in json.loads(manifest.read_text(encoding="utf-8"))["templates"]:
            for asset in template["assets"]:
                bundle = (asset.get("bundle") or template["bundle"]).replace("-", "_")
                file = folder / f"comfyui_workflow_templates_{bundle}" / "templates" / asset["filename"]
                if file.suffix != ".json":
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
