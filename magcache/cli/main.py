"""`magcache`: all its commands."""

from __future__ import annotations

import typer

from .bench import bench
from .calibrate import calibrate
from .curves import curves
from .demo import demo
from .framepack import framepack
from .import_export import export_list, import_list
from .models import models
from .plan import plan
from .tune import tune

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Faster diffusion transformers, without training: curves and plans, calibration and tuning on a ComfyUI, and a demo."""


for _command in (curves, models, plan, demo, bench, calibrate, tune, framepack):
    app.command()(_command)
app.command("import")(import_list)
app.command("export")(export_list)
