"""The search for good settings: an Optuna study on disk, shared by several workers, that goes on after a kill."""

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
from .space import Setting, Space, rounded


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting that was measured."""

    number: int
    setting: Setting
    nfe: int
    """Evaluations that ran the model's blocks. What a setting decides of the time is this; all else is the machine's."""
    evaluations: int
    psnr: float
    """Of the worst picture, in dB."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> Tried:
        nfe, psnr = trial.values
        return cls(trial.number, rounded(trial.params), round(nfe), trial.user_attrs["evaluations"], psnr)

    @property
    def speedup(self) -> float:
        """Of the sampling, if reusing were free."""
        return self.evaluations / self.nfe


@contextmanager
def open_study(folder: Path, space: Space, about: dict[str, Any], total: int) -> Generator[Study, None, None]:
    """The study in a folder, begun or gone on with.

    Raises `MagCacheError` when another process has it open, or when it was begun about something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock: Any = FileLock(folder / "study.lock")  # Its types are not complete.
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MagCacheError(f"{folder} is in use by another magcache tune. Wait for it, or choose another --out.") from None
    try:
        yield Study(_begun(folder, space, about), space, total)
    finally:
        lock.release()


def _begun(folder: Path, space: Space, about: dict[str, Any]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="tune",
        storage=JournalStorage(_journal(folder / "study.jsonl")),
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.TPESampler(),
        load_if_exists=True,
    )
    if not study.user_attrs:
        study.set_user_attr("about", about)
        for setting in space.first:
            study.enqueue_trial(setting)
    elif study.user_attrs["about"] != about:
        raise MagCacheError(
            f"{folder} was begun for another version of this workflow or with other seeds. Delete it, or choose another --out."
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        _try_again(study, trial)  # A process that was killed had it.
    return study


def _journal(path: Path) -> JournalFileBackend:
    """The file of a study, without what a killed process may have left: its lock, and a line half written."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    return JournalFileBackend(str(path), JournalFileOpenLock(str(path)))


class Study:
    """Hands out settings until `total` have been measured. Workers may call it from their threads."""

    def __init__(self, study: optuna.Study, space: Space, total: int) -> None:
        self._study, self._space, self._total = study, space, total
        self._changed, self._open, self._stopped = Condition(), dict[int, Trial](), False

    @property
    def left(self) -> int:
        """Settings still to be measured."""
        return max(0, self._total - len(self.tried()))

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def next(self) -> tuple[int, Setting] | None:
        """A number and a setting to measure, None when there is nothing left. Waits while others have what may come back."""
        with self._changed:
            while not self._stopped and self.left:
                if len(self._open) < self.left:
                    trial = self._study.ask(dict(self._space.ranges))
                    self._open[trial.number] = trial
                    return trial.number, rounded(trial.params)
                self._changed.wait()
            return None

    def measured(self, number: int, nfe: int, evaluations: int, psnr: float) -> None:
        with self._changed:
            trial = self._open.pop(number)
            trial.set_user_attr("evaluations", evaluations)
            self._study.tell(trial, (nfe, psnr))
            self._changed.notify_all()

    def failed(self, number: int) -> None:
        """This setting does not work."""
        with self._changed:
            self._study.tell(self._open.pop(number), state=TrialState.FAIL)
            self._changed.notify_all()

    def given_back(self, number: int) -> None:
        """This setting was not measured, for reasons of the worker."""
        with self._changed:
            _try_again(self._study, self._open.pop(number))
            self._changed.notify_all()

    def tried(self) -> list[Tried]:
        return [Tried.of(trial) for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]

    def front(self) -> list[Tried]:
        """The settings to which no other is both faster and closer, the fastest first; the earliest of those that come to the same."""
        best = sorted((Tried.of(trial) for trial in self._study.best_trials), key=lambda tried: -tried.number)
        different = {(tried.nfe, tried.psnr): tried for tried in best}
        return sorted(different.values(), key=lambda tried: tried.nfe)


def _try_again(study: optuna.Study, trial: Trial | FrozenTrial) -> None:
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params)
