"""Show the page on this machine only, until it is stopped."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MagCacheError
from .worker import Studio

HOST = "127.0.0.1"
_STYLE = Path(__file__).with_name("style.css")
_LARGEST_UPLOAD = "100mb"
_STOPPING = (signal.SIGINT, signal.SIGTERM)


def prepare(scratch: Path) -> None:
    """Tell Gradio to report to nobody, and where its temporary files go. Before Gradio is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(scratch / "gradio")


@contextmanager
def serving(studio: Studio, port: int | None = None, open_browser: bool = False) -> Generator[str, None, None]:
    """Serve the page and make videos while this is open. Yields the page's address. Raises `MagCacheError`.

    By default the first free port from 7860 on.
    """
    from .page import build_page

    page = build_page(studio)
    try:
        _, address, _ = page.launch(
            server_name=HOST, server_port=port, prevent_thread_lock=True, quiet=True, inbrowser=open_browser, share=False, ssr_mode=False,
            footer_links=[], allowed_paths=[str(studio.history.folder)], theme=_theme(), css_paths=[_STYLE], enable_monitoring=False,
            max_file_size=_LARGEST_UPLOAD,
        )  # fmt: skip
    except OSError as error:
        raise MagCacheError(f"The page cannot be served on port {port or '7860 to 7959'}: {error}. Give another one with --port.") from None
    studio.start()
    try:
        yield address
    finally:
        page.close(verbose=False)
        studio.close()


def until_stopped(say: Callable[[], None]) -> None:
    """Wait for Ctrl-C, or for a request to end. `say` is called when it comes; a second one ends at once."""
    stopped = threading.Event()
    before = {each: signal.signal(each, lambda *_: stopped.set()) for each in _STOPPING}
    while not stopped.wait(0.5):  # A wait without an end is not interrupted on Windows.
        pass
    for each, handler in before.items():
        signal.signal(each, handler)
    say()


def _theme() -> Any:
    """Of fonts that are there already: the page asks no other machine for anything."""
    themes: Any = importlib.import_module("gradio.themes")
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    theme = themes.Default(
        primary_hue="violet", secondary_hue="violet", neutral_hue="slate", radius_size="lg", spacing_size="md", font=fonts,
        font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    return theme.set(
        body_background_fill="*neutral_100", layout_gap="12px", block_padding="10px 12px", block_border_width="1px", block_shadow="none",
        block_label_text_size="*text_xs", block_info_text_size="12px", button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_500", button_primary_text_color="white",
    )  # fmt: skip
