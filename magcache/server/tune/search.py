"""Measure the settings that a study proposes, on one or several servers at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ...errors import MagCacheError
from ..client import Client
from ..runs import FIRST_SEED, WARM_UP_SEED, OnProgress, begin_task, run_with_seed
from ..workflow import WorkflowError
from .baseline import Baseline
from .study import Study
from .task import TuningTask

_MOST_FAILURES = 3
"""Settings that may fail one after the other on a server before it counts as broken."""
_POLL_SECONDS = 0.5


def search(servers: Mapping[Client, OnProgress], task: TuningTask, study: Study) -> dict[Client, MagCacheError]:
    """Measure what the study proposes, on every server at once.

    Returns the servers that failed, with their errors, if others finished the work; raises the first error if all failed. When
    interrupted, as by Ctrl-C, it cancels the workflows that it runs on the servers.
    """
    with ThreadPoolExecutor(len(servers)) as pool:
        workers = {client: pool.submit(_work, client, task, study, on_progress) for client, on_progress in servers.items()}
        try:
            while wait(workers.values(), timeout=_POLL_SECONDS).not_done:
                pass
        except BaseException:
            study.stop()
            _cancel(workers)
            raise
    failed: dict[Client, MagCacheError] = {}
    for client, worker in workers.items():
        try:
            worker.result()
        except MagCacheError as error:
            failed[client] = error
    if len(failed) == len(servers):
        raise next(iter(failed.values()))
    return failed


def _cancel(workers: Mapping[Client, Future[None]]) -> None:
    """Cancel workflows until every worker has ended: one may just have queued its next workflow."""
    while wait(workers.values(), timeout=_POLL_SECONDS).not_done:
        for client in workers:
            client.cancel()


def _work(client: Client, task: TuningTask, study: Study, on_progress: OnProgress) -> None:
    """Measure settings on one server until none remain."""
    for name, workflow in (("all steps", task.plain), ("MagCache", task.cached)):
        run_with_seed(client, workflow, task.types, WARM_UP_SEED, begin_task(on_progress, f"warming up · {name}"))
    if not study.remaining:
        return
    baseline, failures = Baseline(client, task, FIRST_SEED, on_progress), 0
    while (proposed := study.propose()) is not None:
        number, settings = proposed
        try:
            result = baseline.measure(f"trial {number}", settings)
        except WorkflowError:
            failures += 1
            if study.stopped:
                study.postponed(number)
                return
            study.failed(number)
            if failures == _MOST_FAILURES:
                raise
        except BaseException:
            study.postponed(number)
            raise
        else:
            failures = 0
            study.measured(number, result.nfe, result.evaluations, min(result.quality.psnr))
