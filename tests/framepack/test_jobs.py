"""The queue, its order, and how far a job is."""

from __future__ import annotations

import threading

import pytest

from magcache.framepack import progress as progresses
from magcache.framepack.jobs import MOST_KEPT, MOST_WAITING, JobQueue
from magcache.framepack.progress import Progress, clock

from .studio import task


def added(queue: JobQueue):
    job = queue.add(task(), Progress(2, 12, (1.0,)))
    assert job is not None
    return job


def test_jobs_come_in_order_and_know_their_position():
    queue = JobQueue()
    one, two, three = (added(queue) for _ in range(3))
    assert [queue.position(job) for job in (one, two, three)] == [1, 2, 3]
    assert queue.next() is one and one.state == "running" and queue.running() is one
    assert [queue.position(job) for job in (one, two, three)] == [0, 1, 2]
    queue.finish(one, "done")
    assert queue.next() is two


def test_a_waiting_job_is_taken_out():
    queue = JobQueue()
    one, two, three = (added(queue) for _ in range(3))
    queue.cancel(two.number)
    assert two.state == "cancelled" and [queue.position(job) for job in (one, two, three)] == [1, 0, 2]
    assert queue.next() is one
    queue.finish(one, "done")
    assert queue.next() is three


def test_a_running_job_is_asked_to_stop():
    queue = JobQueue()
    job = added(queue)
    queue.next()
    queue.cancel(job.number)
    assert job.stop.is_set() and job.state == "running"


def test_cancelling_what_is_over_or_unknown_does_nothing():
    queue = JobQueue()
    job = added(queue)
    queue.next()
    queue.finish(job, "done")
    queue.cancel(job.number)
    queue.cancel(99)
    assert job.state == "done" and not job.stop.is_set()


def test_every_change_is_seen():
    queue = JobQueue()
    versions = [queue.version]
    job = added(queue)
    versions.append(queue.version)
    for change in (
        queue.next,
        lambda: queue.change(lambda: None),
        lambda: queue.cancel(job.number),
        lambda: queue.finish(job, "cancelled"),
    ):
        change()
        versions.append(queue.version)
    assert versions == sorted(set(versions))


def test_it_can_be_full():
    queue = JobQueue()
    for _ in range(MOST_WAITING):
        added(queue)
    assert queue.add(task(), Progress(1, 1, (1.0,))) is None
    queue.next()
    added(queue)


def test_only_the_last_jobs_that_are_over_are_kept():
    queue = JobQueue()
    for _ in range(MOST_KEPT + 3):
        added(queue)
        job = queue.next()
        assert job
        queue.finish(job, "done")
    assert [job.number for job in queue.jobs()] == list(range(4, MOST_KEPT + 4))


def test_a_worker_waits_for_a_job_and_for_the_end():
    queue, found = JobQueue(), []
    worker = threading.Thread(target=lambda: found.extend([queue.next(), queue.next()]))
    worker.start()
    job = added(queue)
    queue.close()
    worker.join(10)
    assert found in ([job, None], [None, None])


def test_the_fraction_counts_videos_by_their_time():
    progress = Progress(2, 10, (1.0, 3.0))
    assert progress.fraction == 0 and progress.text() == "Getting ready"
    progress.begin(0)
    progress.section, progress.step = 1, 5
    assert progress.fraction == pytest.approx(15 / 80) and progress.text() == "Section 2 of 2 · step 5 of 10"
    progress.begin(1)
    assert progress.fraction == pytest.approx(20 / 80)
    progress.section, progress.step = 2, 0
    assert progress.fraction == 1 and progress.text() == "Finishing" and progress.seconds_left is None


def test_the_time_left_follows_from_the_time_so_far(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(progresses.time, "perf_counter", lambda: now)
    progress = Progress(2, 10, (1.0,))
    progress.begin(0)
    progress.step, now = 1, 103.0
    assert progress.seconds_left is None, "one step says little"
    progress.step, now = 5, 110.0
    assert progress.seconds_left == pytest.approx(30)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (119.8, "2 min 0 s"),
     (3600, "1 h 0 min"), (3599.7, "1 h 0 min"), (7290, "2 h 2 min")]
)  # fmt: skip
def test_a_length_of_time_is_readable(seconds: float, text: str):
    assert clock(seconds) == text
