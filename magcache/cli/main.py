"""`magcache`: all its commands, in groups, each with an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .. import __version__
from .bench import bench
from .calibrate import calibrate
from .common import print_line
from .curves import curves
from .demo import demo
from .framepack import framepack
from .import_export import export_list, import_list
from .models import models
from .plan import plan
from .tune import tune

app = typer.Typer(name="magcache", no_args_is_help=True, rich_markup_mode="rich")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"magcache {__version__}")
        raise typer.Exit


@app.callback(epilog="Options and an example of each command: [bold]magcache COMMAND --help[/bold]")
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """MagCache makes diffusion transformers faster without training: it skips the steps that hardly change the picture.

    New here? [bold]magcache demo[/bold] shows it in a few minutes.
    """


_TRY = "Try it"
_SERVER = "Your own workflow, on a ComfyUI that is running"
_CURVES = "Models, plans and curves, without running a model"
_COMMANDS: tuple[tuple[str, str, Callable[..., Any], str, str], ...] = (
    (_TRY, "demo", demo, "Pictures with and without MagCache, and a report.", "magcache demo"),
    (_TRY, "framepack", framepack, "Make videos from a picture, on a page in your browser.", "magcache framepack --open"),
    (_SERVER, "bench", bench, "How much faster is it, how close are the pictures?", "magcache bench flux.json"),
    (_SERVER, "calibrate", calibrate, "Measure a model once.", "magcache calibrate flux.json"),
    (_SERVER, "tune", tune, "Find the best settings.", "magcache tune flux.json --min-psnr 35"),
    (_CURVES, "models", models, "Which models does it speed up?", "magcache models"),
    (_CURVES, "plan", plan, "Which steps would be skipped?", "magcache plan --curve flux --steps 20"),
    (_CURVES, "curves", curves, "The curves that come along.", "magcache curves"),
    (_CURVES, "import", import_list, "A published list as a curve.", "magcache import list.txt --name mine --family flux"),
    (_CURVES, "export", export_list, "A curve as a list.", "magcache export flux --format diffusers"),
)
"""Group, name, function, what it is for, and an example."""

for _group, _name, _command, _short, _example in _COMMANDS:
    app.command(
        _name,
        rich_help_panel=_group,
        short_help=f"\b\n{_short}\n[dim]{_example}[/dim]",
        epilog=f"Example: [bold]{_example}[/bold]",
    )(_command)
