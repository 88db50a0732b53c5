"""The FramePack page in a real browser, as people see and use it. Only this file knows the elements of the page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from .processes import start, wait_until

_ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")
_LONGEST_STOP = 60
"""Seconds in which the server ends."""
_TRIES, _MOMENT = 20, 100
"""How often something is typed again, and the milliseconds to look at it."""
_NO_PLAYING = "document.addEventListener('play', event => { if (!window.mayPlay) event.target.pause(); }, true)"
"""Videos that play all the time keep a machine without a graphics card busy."""
_MOST_BYTES = 190_000
"""Of a screenshot."""
SMALL = 64
"""Pixels on a side: a section of 25 steps takes less than a second."""


@dataclass(frozen=True)
class FramePackServer:
    process: subprocess.Popen[str]
    address: str
    videos: Path
    scratch: Path
    """Its folder for temporary files."""

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; returns the exit status and what it printed."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        said, errors = self.process.communicate(timeout=_LONGEST_STOP)
        return self.process.returncode, said + errors


@contextmanager
def framepack_server(folder: Path) -> Iterator[FramePackServer]:
    """`magcache framepack` with its small random model, at a free port."""
    scratch = folder / "scratch"
    scratch.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(scratch)
    process = start("framepack", "--out", str(folder / "videos"))
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    try:
        assert process.stdout
        found = _ADDRESS.search(process.stdout.readline())
        assert found, process.communicate()
        yield FramePackServer(process, found[1], folder / "videos", scratch)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class FramePackPage:
    """One visitor."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.problems: list[str] = []
        page.on("request", lambda request: self.hosts.add(request.url.partition("://")[2].partition("/")[0]))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.set_viewport_size({"width": 1280, "height": 900})
        self.reload()

    def reload(self) -> None:
        self.page.goto("/")
        expect(self.queue).not_to_be_empty()

    # ------------------------------------------------------------------ filling in

    def set(self, *, prompt: str | None = None, speedup: str | None = None, compare: bool | None = None, **numbers: float) -> None:
        """`numbers` are named by the ids of their fields; a seed is kept."""
        if prompt is not None:
            self.prompt.fill(prompt)
        if speedup is not None:
            self.page.locator("#speedup").get_by_text(speedup, exact=True).click()
        if compare is not None:
            self.page.locator("#compare input").set_checked(compare)
        if "seed" in numbers:
            self.page.locator("#fresh input").set_checked(False)
        if set(numbers) - {"seconds", "seed"}:
            self.unfold("more")
        for name, value in numbers.items():
            self._fill(name, value)

    def _fill(self, name: str, value: float) -> None:
        """The page may set a field that has only just appeared; then what was typed is lost."""
        field, slider = self.number(name), self.page.locator(f"#{name} input[type=range]")
        for _ in range(_TRIES):
            field.fill(str(value))
            field.blur()
            self.page.wait_for_timeout(_MOMENT)
            if float(field.input_value()) == value and (not slider.count() or float(slider.input_value()) == value):
                return
        raise AssertionError(f"{name} cannot be set to {value}")

    def number(self, name: str) -> Locator:
        return self.page.locator(f"#{name} input[type=number]")

    def unfold(self, name: str) -> None:
        """Open an accordion if it is closed."""
        label = self.page.locator(f"#{name} button.label-wrap")
        if "open" not in (label.get_attribute("class") or "").split():
            label.click()

    def make(self, **settings: object) -> None:
        """Press the button, after changing settings."""
        self.set(**settings)  # type: ignore[arg-type]
        self.page.locator("#make").click()

    def make_and_wait(self, **settings: object) -> None:
        """Make a video of which no one has the seed, and wait until it is shown."""
        self.make(**settings)
        expect(self.summary).to_contain_text(f"Seed {settings['seed']} ")
        expect(self.status).not_to_be_visible()

    # ------------------------------------------------------------------ looking

    @property
    def prompt(self) -> Locator:
        return self.page.locator("#prompt textarea")

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    @property
    def percent(self) -> int:
        return int(self.page.get_by_role("progressbar").get_attribute("aria-valuenow") or 0)

    @property
    def cancel(self) -> Locator:
        return self.page.locator("#cancel")

    @property
    def summary(self) -> Locator:
        return self.page.locator("#summary")

    def video(self, name: str) -> Locator:
        """`video`, or `plain`: the one without MagCache."""
        return self.page.locator(f"#{name} video")

    def plays(self, name: str) -> bool:
        """Whether a video has pictures that move."""
        shown = self.video(name)
        self.page.evaluate("window.mayPlay = true")
        wait_until(lambda: shown.evaluate("video => video.readyState >= 2 && video.videoWidth > 0"))
        return bool(shown.evaluate("video => video.play().then(() => video.duration > 1)"))

    @property
    def queue(self) -> Locator:
        return self.page.locator("#queue .html-container")

    def job(self, prompt: str) -> Locator:
        """Its row in the queue."""
        return self.page.locator("#queue li").filter(has_text=prompt)

    def card(self, prompt: str) -> Locator:
        """Its card among the finished videos."""
        return self.page.locator("#history .card").filter(has_text=prompt)

    @property
    def complaint(self) -> Locator:
        return self.page.locator(".toast-body")

    def screenshot(self, path: Path) -> None:
        self.page.mouse.move(0, 0)
        self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=path, animations="disabled")
        picture = Image.open(path).convert("RGB")
        for shades in (128, 64, 32, 16):  # Clouds of colour take much room; the eye does not need all their shades.
            width = 256 // shades
            picture.point([value // width * width + width // 2 for value in range(256)] * 3).save(path, optimize=True)
            if path.stat().st_size < _MOST_BYTES:
                break


@contextmanager
def visitor(browser: Browser | BrowserContext, address: str) -> Iterator[FramePackPage]:
    """Somebody with a browser of their own."""
    owner = browser if isinstance(browser, Browser) else browser.browser
    assert owner
    context = owner.new_context(base_url=f"http://{address}", reduced_motion="reduce")
    context.set_default_timeout(_LONGEST_STOP * 1000)
    context.add_init_script(_NO_PLAYING)
    try:
        yield FramePackPage(context.new_page())
    finally:
        context.close()
