"""The search for good settings: an Optuna study on disk, shared by several workers, that resumes after a kill."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from ...errors import MagCacheError
from .space import NodeSettings, SearchSpace, rounded


@dataclass(frozen=True, slots=True)
class MeasuredTrial:
    """Settings and what was measured with them on the tuning seeds."""

    number: int
    settings: NodeSettings
    nfe: int
    """Evaluations that ran the model's blocks. They stand for the time: the rest of it depends on the machine, not on the settings."""
    evaluations: int
    psnr: float
    """Of the worst picture, in dB."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> MeasuredTrial:
        nfe, psnr = trial.values
        return cls(trial.number, rounded(trial.params), round(nfe), trial.user_attrs["evaluations"], psnr)

    @property
    def speedup(self) -> float:
        """Speed-up of the sampling if reusing took no time."""
        return self.evaluations / self.nfe


@contextmanager
def open_study(folder: Path, space: SearchSpace, task_key: dict[str, Any], total: int) -> Generator[Study, None, None]:
    """The study in a folder, new or resumed, until it has `total` measured trials.

    `task_key` is JSON that identifies what is tuned. Raises `MagCacheError` if another process has the study open, or if it was
    begun with another `task_key`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock: Any = FileLock(folder / "study.lock")  # Its types are not complete.
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MagCacheError(f"{folder} is in use by another magcache tune. Wait for it, or choose another --out.") from None
    try:
        yield Study(_load(folder, space, task_key), space, total)
    finally:
        lock.release()


def _load(folder: Path, space: SearchSpace, task_key: dict[str, Any]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="tune",
        storage=JournalStorage(_journal(folder / "study.jsonl")),
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.TPESampler(),
        load_if_exists=True,
    )
    if not study.user_attrs:
        study.set_user_attr("about", task_key)
        for settings in space.first:
            study.enqueue_trial(settings)
    elif study.user_attrs["about"] != task_key:
        raise MagCacheError(
            f"{folder} was begun for another version of this workflow or with other seeds. Delete it, or choose another --out."
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        _queue_again(study, trial)  # It belonged to a process that was killed.
    return study


def _journal(path: Path) -> JournalFileBackend:
    """The file of a study, without what a killed process may have left: its lock, and a half-written line."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    return JournalFileBackend(str(path), JournalFileOpenLock(str(path)))


class Study:
    """Proposes settings until `total` trials are measured. Workers may call it from their threads.

    Each number that `propose` returns goes back once, to `measured`, `failed` or `postponed`.
    """

    def __init__(self, study: optuna.Study, space: SearchSpace, total: int) -> None:
        self._study, self._space, self._total = study, space, total
        self._changed, self._running, self._stopped = Condition(), dict[int, Trial](), False

    @property
    def remaining(self) -> int:
        """Trials that are still to be measured."""
        return max(0, self._total - len(self.trials()))

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Propose nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def propose(self) -> tuple[int, NodeSettings] | None:
        """Number and settings of the next trial; None if nothing remains.

        Waits while other workers run the last trials, which may fail or be postponed.
        """
        with self._changed:
            while not self._stopped and self.remaining:
                if len(self._running) < self.remaining:
                    trial = self._study.ask(dict(self._space.ranges))
                    self._running[trial.number] = trial
                    return trial.number, rounded(trial.params)
                self._changed.wait()
            return None

    def measured(self, number: int, nfe: int, evaluations: int, psnr: float) -> None:
        """Record the result of a trial."""
        with self._changed:
            trial = self._running.pop(number)
            trial.set_user_attr("evaluations", evaluations)
            self._study.tell(trial, (nfe, psnr))
            self._changed.notify_all()

    def failed(self, number: int) -> None:
        """Record that the workflow fails with these settings. The trial does not count."""
        with self._changed:
            self._study.tell(self._running.pop(number), state=TrialState.FAIL)
            self._changed.notify_all()

    def postponed(self, number: int) -> None:
        """Put the settings back in the queue: the worker could not measure them, which was not their fault."""
        with self._changed:
            _queue_again(self._study, self._running.pop(number))
            self._changed.notify_all()

    def trials(self) -> list[MeasuredTrial]:
        """All measured trials, by number."""
        return [MeasuredTrial.of(trial) for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]

    def pareto_front(self) -> list[MeasuredTrial]:
        """The trials that no other beats in both evaluations and PSNR, fewest evaluations first; of equal ones the earliest."""
        best = sorted((MeasuredTrial.of(trial) for trial in self._study.best_trials), key=lambda trial: -trial.number)
        different = {(trial.nfe, trial.psnr): trial for trial in best}
        return sorted(different.values(), key=lambda trial: trial.nfe)


def _queue_again(study: optuna.Study, trial: Trial | FrozenTrial) -> None:
    """End a trial without a result and queue its settings as a new one."""
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params)
