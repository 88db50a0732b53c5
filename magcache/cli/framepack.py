"""`magcache framepack`: a page in the browser that makes videos with FramePack."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MagCacheError
from .common import UsageError, console, errors_as_messages
from .extras import require

if TYPE_CHECKING:
    from ..framepack.model import Model
    from ..framepack.weights import Weights


def framepack(
    weights: Annotated[
        str | None,
        typer.Option(metavar="PATH_OR_ID", help="Folder or Hugging Face repository with FramePack; a small random one if left out."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="Port on this machine; the first free one from 7860 if left out.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the videos; those in it are kept.")] = Path("framepack-videos"),
    f1: Annotated[
        bool | None, typer.Option("--f1/--no-f1", help="Whether the weights are FramePack F1; their name says it if left out.")
    ] = None,
    base: Annotated[str, typer.Option(metavar="PATH_OR_ID", help="Text encoders and VAE; HunyuanVideo's if left out.")] = "",
    vision: Annotated[str, typer.Option(metavar="PATH_OR_ID", help="Picture encoder; that of FLUX Redux if left out.")] = "",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Make videos from a picture with FramePack, faster with MagCache, on a page in your browser."""
    with errors_as_messages("framepack"), ExitStack() as stack:
        found = _found(weights, base, vision)
        for module in ("torch", "diffusers", "gradio"):
            require(module)  # Before the first of them takes its time to be imported.
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="magcache-framepack-", ignore_cleanup_errors=True)))

        from ..framepack.serve import prepare, serving, until_stopped

        prepare(scratch)
        from ..framepack.history import History
        from ..framepack.worker import Studio

        try:
            history = History(out.expanduser().resolve())
        except OSError as error:
            raise MagCacheError(f"No videos can be kept in {out}: {error}. Give another folder with --out.") from None
        model = _loaded(found, base, vision, f1, scratch)
        address = stack.enter_context(serving(Studio(model, history, scratch), port, open_browser))
        console.print(f"{model.title}: {address}", soft_wrap=True, highlight=False)
        console.print(f"Videos are kept in {history.folder}. Stop with Ctrl-C.", soft_wrap=True, highlight=False)
        until_stopped(lambda: console.print("Stopping."))


def _found(weights: str | None, base: str, vision: str) -> Weights | None:
    """None without weights. What cannot be is refused before anything large is imported. Raises `UsageError`."""
    for option, part in (("base", base and "text encoders and VAE"), ("vision", vision and "picture encoder")):
        if weights is None and part:
            raise UsageError(f"--{option} ({part}) belongs to real weights, but without --weights a small random model is used.")
    from ..framepack.weights import WeightsError, check_part, find_weights

    try:
        for part, kind in ((base, "text encoders and the VAE"), (vision, "picture encoder")):
            if part:
                check_part(part, kind)
        return None if weights is None else find_weights(weights)
    except WeightsError as error:
        raise UsageError(str(error)) from None


def _loaded(found: Weights | None, base: str, vision: str, f1: bool | None, scratch: Path) -> Model:
    from ..framepack.pipeline import load, load_trial
    from ..framepack.weights import BASE, VISION, WeightsError

    if found is None:
        return load_trial(str(scratch / "curves"), bool(f1))
    console.print(f"Loading {found.place}. This takes a while.", soft_wrap=True, highlight=False)
    try:
        return load(found, base or BASE, vision or VISION, f1)
    except WeightsError as error:
        raise UsageError(str(error)) from None
