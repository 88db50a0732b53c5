"""The one thread that makes videos, job after job."""

from __future__ import annotations

import logging
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from ..errors import MagCacheError
from ..reports.figure import figure
from .compare import compare
from .facts import Facts
from .generation import CancelledError, Clip, Frames, generate
from .history import Entry, History
from .jobs import Job, JobQueue
from .memory import Placement, free_memory
from .model import Model
from .progress import Progress
from .settings import Task
from .video import icon, thumbnail, write_video

_log = logging.getLogger(__name__)


class Studio:
    """A model, its queue and its history, and the thread that works for them."""

    def __init__(self, model: Model, history: History, scratch: Path) -> None:
        """`scratch` is for videos that are not finished."""
        self.model, self.history, self.queue = model, history, JobQueue()
        self._scratch = scratch
        self._placement = Placement(model)
        self._thread = threading.Thread(target=self._work, name="framepack", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the running job at its next step, and wait for it."""
        self.queue.close()
        self._thread.join()

    def submit(self, task: Task) -> Job | None:
        """Put a task in the queue; None if it is full."""
        settings = task.settings
        passes = (1.0, settings.speedup) if settings.compares else (1.0,)
        return self.queue.add(task, Progress(self.model.sections(settings.seconds), settings.steps, passes), icon(task.picture))

    def _work(self) -> None:
        while (job := self.queue.next()) is not None:
            try:
                self.queue.finish(job, "done", entry=self._run(job))
            except CancelledError:
                self.queue.finish(job, "cancelled")
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in a job, the next one is made
                _log.warning("A video could not be made", exc_info=True)
                self.queue.finish(job, "failed", in_plain_words(error))
            free_memory(self.model.device)
            self._clear()

    def _run(self, job: Job) -> Entry:
        task = job.task
        self._placement.place(task.settings)
        with _Previews(job, self.queue, self._scratch / f"job-{job.number}") as previews:
            job.progress.begin(0)
            clip = generate(self.model, task, task.settings.speedup, previews.of("video"))
            plain = None
            if task.settings.compares:
                job.progress.begin(1)
                plain = generate(self.model, task, 1.0, previews.of("plain"))
        return self._keep(task, clip, plain)

    def _keep(self, task: Task, clip: Clip, plain: Clip | None) -> Entry:
        closeness = compare(plain.frames, clip.frames) if plain else None

        def write(folder: Path, name: str) -> None:
            write_video(clip.frames, folder / f"{name}.mp4")
            thumbnail(clip.frames).save(folder / "thumbnail.webp")
            if plain and closeness:
                write_video(plain.frames, folder / f"{name}.without.mp4")
                Image.fromarray(closeness.picture).save(folder / "comparison.png")
            if clip.report:
                Image.fromarray(figure(clip.report)).save(folder / "report.png", optimize=True)

        return self.history.add(task, Facts.of(self.model.title, task.settings.steps, clip, plain, closeness), write)

    def _clear(self) -> None:
        """Delete unfinished videos of jobs that are not listed any more."""
        listed = {f"job-{job.number}" for job in self.queue.jobs()}
        for folder in self._scratch.glob("job-*"):
            if folder.name not in listed:
                shutil.rmtree(folder, ignore_errors=True)


class _Previews:
    """Writes the growing videos of a job in a thread of its own, so that the model need not wait."""

    def __init__(self, job: Job, queue: JobQueue, folder: Path) -> None:
        self._job, self._queue, self._folder = job, queue, folder
        self._writer = ThreadPoolExecutor(1, "framepack-preview")
        self._writing: Future[None] | None = None

    def __enter__(self) -> _Previews:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()

    def of(self, role: str) -> _Watcher:
        return _Watcher(self, role)

    def check(self) -> None:
        if self._job.stop.is_set():
            raise CancelledError

    def move(self, section: int, step: int) -> None:
        def change() -> None:
            self._job.progress.section, self._job.progress.step = section, step

        self._queue.change(change)

    def show(self, role: str, section: int, frames: Frames) -> None:
        """Does nothing while the one before is still being written."""
        if self._writing is None or self._writing.done():
            self._writing = self._writer.submit(self._write, role, section, frames)

    def _write(self, role: str, section: int, frames: Frames) -> None:
        path = self._folder / f"{role}-{section + 1}.mp4"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_video(frames, path)
        except OSError:
            _log.warning("A preview could not be written", exc_info=True)
            return
        self._queue.change(lambda: self._job.previews.update({role: path}))


class _Watcher:
    """Tells the page how far one video of a job is."""

    def __init__(self, previews: _Previews, role: str) -> None:
        self._previews, self._role = previews, role

    def on_step(self, section: int, step: int) -> None:
        self._previews.check()
        self._previews.move(section, step)

    def on_section(self, section: int, frames: Frames) -> None:
        self._previews.check()
        self._previews.move(section + 1, 0)
        self._previews.show(self._role, section, frames)


def in_plain_words(error: Exception) -> str:
    """What went wrong, and what to do, for somebody who does not program."""
    said = str(error).strip() or type(error).__name__
    if "out of memory" in said.lower():
        return (
            "There is not enough memory for this video. Under “Memory” let parts of the model take turns, keep “Decode in tiles” on, "
            "or choose a smaller size."
        )
    if isinstance(error, MagCacheError):
        return said
    if isinstance(error, OSError):
        return f"The video could not be written: {said}. Is there room on the disk?"
    return f"The video could not be made. {type(error).__name__}: {said} The terminal shows more."
