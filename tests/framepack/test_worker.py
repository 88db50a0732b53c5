"""The thread that makes videos: results, comparison, failures and cancelling."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magcache.errors import CurveError
from magcache.framepack import jobs, worker
from magcache.framepack.jobs import Job
from magcache.framepack.model import Model
from magcache.framepack.worker import Studio, in_plain_words
from magcache.reports.figure import HEIGHT, WIDTH
from magcache.reports.metrics import psnr

from .studio import STEPS, make, new_studio, submitted, wait_until


@pytest.fixture
def studio(tmp_path: Path, model: Model) -> Iterator[Studio]:
    studio = new_studio(tmp_path, model)
    studio.start()
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model: Model) -> dict[str, Job]:
    """Finished videos: of a model that is measured, one without MagCache, and one that is compared."""
    studio = new_studio(tmp_path_factory.mktemp("made"), model)
    make(model, 2.0)
    ways = {"cached": {"speedup": 2.0}, "off": {"speedup": 1.0, "compare": True}, "compared": {"speedup": 2.0, "compare": True}}
    jobs = {name: submitted(studio, **settings) for name, settings in ways.items()}
    studio.start()
    wait_until(lambda: all(job.over for job in jobs.values()))
    assert [entry.settings for entry in studio.history.entries()] == [job.task.settings for job in reversed(jobs.values())]
    studio.close()
    return jobs


def test_a_video_is_kept_with_its_settings_and_its_report(made: dict[str, Job]):
    job = made["cached"]
    assert job.state == "done" and job.entry and job.entry.settings == job.task.settings
    assert job.entry.video.stat().st_size > 1000
    assert job.entry.plain_video is None and job.entry.facts.quality is None
    skipped = job.entry.facts.skipped
    assert skipped.evaluations == 2 * STEPS > skipped.nfe and not skipped.measured_first
    assert "skipped" in skipped.line and len(skipped.table.splitlines()) == 2 * STEPS + 1
    assert Image.open(job.entry.figure).size == (WIDTH, HEIGHT)


def test_a_model_that_is_not_known_is_measured_first(tmp_path: Path, fresh_model: Model):
    studio = new_studio(tmp_path, fresh_model)
    studio.start()
    job = submitted(studio, speedup=2.0)
    wait_until(lambda: job.over)
    studio.close()
    assert job.entry.facts.skipped.measured_first


def test_with_and_without_are_compared(made: dict[str, Job], model: Model):
    job = made["compared"]
    cached, plain = make(model, 2.0).frames, make(model).frames
    quality, facts = job.entry.facts.quality, job.entry.facts
    assert quality.psnr == pytest.approx(psnr(plain, cached))
    each = [psnr(*pair) for pair in zip(plain, cached, strict=True)]
    assert quality.psnr_worst == pytest.approx(min(each)) and quality.worst_frame == int(np.argmin(each))
    assert facts.plain_seconds > 0 and facts.seconds > 0
    assert job.entry.plain_video and job.entry.comparison and set(job.previews) == {"video", "plain"}


def test_without_a_speed_up_nothing_is_compared(made: dict[str, Job]):
    entry = made["off"].entry
    assert entry.facts.skipped is None and entry.figure is None and entry.plain_video is None


def test_the_video_is_shown_while_it_grows(studio: Studio):
    job = submitted(studio, seconds=3.6)
    wait_until(lambda: job.previews)
    assert job.state == "running" and job.previews["video"].is_file()
    wait_until(lambda: job.over)


@pytest.mark.parametrize("speedup", [1.0, 2.0])
def test_after_cancelling_the_next_video_is_made(studio: Studio, speedup: float):
    one, two = submitted(studio, steps=80, speedup=speedup), submitted(studio, seconds=0.1, steps=1)
    wait_until(lambda: one.progress.step > 3)
    studio.queue.cancel(one.number)
    wait_until(lambda: two.over)
    assert (one.state, two.state) == ("cancelled", "done")
    assert one.progress.section < 2 and len(studio.history.entries()) == 1
    assert not [path for path in studio.history.folder.iterdir() if path.name.startswith(".")]


def test_a_failure_is_told_and_the_next_video_is_made(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    begun = threading.Event()

    def fail(*_: object) -> None:
        begun.set()
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "generate", fail)
        one = submitted(studio)
        wait_until(lambda: one.over)
    two = submitted(studio, seconds=0.1, steps=1)
    wait_until(lambda: two.over)
    assert begun.is_set() and one.state == "failed" and "not enough memory" in one.message
    assert two.state == "done"


def test_a_full_disk_leaves_nothing_behind(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write_video", no_room)
    job = submitted(studio)
    wait_until(lambda: job.over)
    assert job.state == "failed" and "room on the disk" in job.message
    assert list(studio.history.folder.iterdir()) == [] and studio.history.entries() == []


def test_unfinished_videos_go_with_their_jobs(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "MOST_KEPT", 2)
    made = [submitted(studio, seconds=0.1, steps=1) for _ in range(3)]
    wait_until(lambda: made[-1].over)
    wait_until(lambda: {path.name for path in (tmp_path / "scratch").iterdir()} == {f"job-{job.number}" for job in made[1:]})


def test_closing_stops_the_running_job(tmp_path: Path, model: Model):
    studio = new_studio(tmp_path, model)
    studio.start()
    running, waiting = submitted(studio, steps=200), submitted(studio)
    wait_until(lambda: running.progress.step > 2)
    studio.close()
    assert running.state == "cancelled" and waiting.entry is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CurveError("The curve is bad. Take another."), "The curve is bad. Take another."),
        (RuntimeError("MPS backend out of memory"), "Decode in tiles"),
        (OSError("No space left on device"), "Is there room on the disk?"),
        (ValueError("height must be divisible"), "ValueError: height must be divisible"),
        (ValueError(), "ValueError"),
    ],
)
def test_errors_are_told_in_plain_words(error: Exception, said: str):
    assert said in in_plain_words(error)
