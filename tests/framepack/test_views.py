"""Pieces of the page: everything that people typed is shown as they typed it, and every state is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from magcache.framepack import views
from magcache.framepack.facts import Facts, Quality, Skipped
from magcache.framepack.history import Entry
from magcache.framepack.jobs import Job, JobQueue
from magcache.framepack.model import Model
from magcache.framepack.progress import Progress

from .studio import task

EVIL = "<img src=x onerror=alert('1')> \"quoted\" & more"
FACTS = Facts("model", 73, 64, 64, 2.0, 5.0, Quality(33.04, 21.56, 7), Skipped("line <b>", "table <b>", "note <b>", True, 24, 15, 1.4))


def entry(facts: Facts = FACTS, prompt: str = "fox") -> Entry:
    return Entry(Path("/videos/20260101-000000-3"), task(prompt=prompt).settings, facts)


def queued(prompt: str = "fox") -> tuple[JobQueue, Job]:
    queue = JobQueue()
    job = queue.add(task(prompt=prompt, compare=True), Progress(2, 12, (1.0, 2.0)))
    assert job
    return queue, job


def test_what_people_type_is_text(model: Model):
    queue, job = queued(EVIL)
    job.message = EVIL
    strange = replace(entry(), folder=Path(f"/videos/{EVIL}"))
    pieces = [
        views.queue_list(queue, job),
        views.summary(entry(prompt=EVIL)),
        views.history_list([entry(prompt=EVIL), strange], None, [EVIL]),
    ]
    pieces += [views.header(replace(model, title=EVIL)), views.report_text(entry())]
    job.state = "failed"
    pieces.append(views.status(job, queue, model))
    for piece in pieces:
        assert "<img src=x" not in piece and "alert('1')" not in piece and '<b>"' not in piece
        assert "line <b>" not in piece and "note <b>" not in piece and "table <b>" not in piece


def test_every_state_is_told(model: Model):
    queue, job = queued()
    second = queue.add(task(), Progress(2, 12, (1.0,)))
    assert "Position 2" in views.status(second, queue, model)
    queue.next()
    assert "Getting ready" in views.status(job, queue, model)
    job.progress.begin(0)
    job.progress.section, job.progress.step = 1, 6
    running = views.status(job, queue, model)
    assert "With MagCache · Section 2 of 2 · step 6 of 12" in running and "aria-valuenow='25'" in running and "left" in running
    assert "The end is made first" in running and "The end is made first" not in views.status(job, queue, replace(model, forward=True))
    job.progress.begin(1)
    assert "Without MagCache" in views.status(job, queue, model)
    job.stop.set()
    assert "Stopping at the next step" in views.status(job, queue, model)
    for state, said in (("failed", "could not be made"), ("cancelled", "Cancelled")):
        job.state = state
        assert said in views.status(job, queue, model)
    job.state = "done"
    assert views.status(job, queue, model) == ""


def test_the_queue_has_positions_and_a_button_for_what_can_be_stopped():
    queue, job = queued("one")
    second = queue.add(task(prompt="two"), Progress(2, 12, (1.0,)))
    assert second
    queue.next()
    listed = views.queue_list(queue, second)
    assert "position 1" in listed and "0 %" in listed and listed.count("data-action='cancel'") == 2
    queue.cancel(second.number)
    assert "cancelled" in views.queue_list(queue, None) and views.queue_list(queue, None).count("data-action='cancel'") == 1
    queue.finish(job, "done")
    assert ">one<" not in views.queue_list(queue, None)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS, ["2.50×", "60 % of the time saved", "2.0 s", "instead of 5.0 s", "33.0 dB", "worst frame 21.6 dB", "measured this model"]),
        (replace(FACTS, plain_seconds=1.0), ["0.50×", "no time saved"]),
        (replace(FACTS, plain_seconds=None, quality=None), ["9 of 24", "1.40×", "2.0 s"]),
        (replace(FACTS, plain_seconds=None, quality=None, skipped=None), ["MagCache was off"]),
    ],
)
def test_the_result_is_told_in_figures(facts: Facts, said: list[str]):
    found = views.summary(entry(facts))
    assert [each for each in said if each not in found] == [] and "Seed 3" in found


def test_nothing_is_told_where_nothing_is(model: Model):
    assert "Nothing is waiting" in views.queue_list(JobQueue(), None) and views.status(None, JobQueue(), model) == ""
    assert "kept and listed here" in views.history_list([], None, [])
    assert views.report_text(entry(replace(FACTS, skipped=None))) == ""


def test_only_a_trial_is_called_one(model: Model):
    assert "random weights" in views.header(model)
    assert "random weights" not in views.header(replace(model, trial=False, title="FramePack"))
