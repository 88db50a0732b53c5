"""How MagCache sits in ComfyUI's sampling: five wrappers on a model, and one `Run` for each sampling.

OUTER_SAMPLE tells that a sampling begins, before the model is loaded ·
SAMPLER_SAMPLE begins and ends the run · PREDICT_NOISE is one question of the sampler · CALC_COND_BATCH decides one evaluation ·
APPLY_MODEL watches or skips the block stack of one forward.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import nn

from ..errors import MagCacheError
from ..planning.plan import Plan
from ..reports.run_report import RunLabel, RunReport
from ..runtime.forward import run_evaluation, run_forward
from ..runtime.run_setup import Conclusion, Mode, RunSetup, Trials
from ..runtime.session import Evaluation, ReusedEvaluation, Session
from ..settings import CacheDevice
from ..texts import Text
from .base_model import family_of
from .curve_folders import curve_store
from .half_run import without_traces
from .history import RunHistory
from .keys import branch_of, composition, member_keys, window_of
from .modes import run_facts, setup_of
from .progress import ProgressText, SamplerCallback
from .run import Run
from .samplers import traits_of

KEY = "magcache"
_RUN, _EVALUATION = "magcache_run", "magcache_evaluation"
_KINDS = (
    WrappersMP.OUTER_SAMPLE, WrappersMP.SAMPLER_SAMPLE, WrappersMP.PREDICT_NOISE, WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL
)  # fmt: skip
BEGINS = Text("the sampling begins")

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class _Present:
    """The evaluation to which a forward belongs, and the rows of each member of its batches. Opaque to ComfyUI, which copies dicts."""

    evaluation: Evaluation
    rows: int


@dataclass(frozen=True, slots=True)
class MagCachePatch:
    """MagCache on a model: its mode and its hooks, and the reports of runs that are over; nothing of one that goes on."""

    mode: Mode
    on_finished: Callable[[RunReport, str], None]
    """Is called with the report of a run that ended by itself, and the text to show."""
    cache_device: CacheDevice = "auto"
    on_progress: Callable[[str], None] = field(default=lambda text: None)
    """Is called with the progress of a run."""
    history: RunHistory = field(default_factory=RunHistory)
    locks: WeakKeyDictionary[nn.Module, threading.Lock] = field(default_factory=lambda: WeakKeyDictionary())
    """One for each model: two threads that sample it run their forwards one after the other."""

    def attach(self, patcher: Any) -> Any:
        """A clone of ComfyUI's model patcher with this patch on it, in place of an earlier one."""
        patcher = detached(patcher)
        wrappers = (self.outer_sample, self.sampler_sample, self.predict_noise, self.calc_cond_batch, self.apply_model)
        for kind, wrapper in zip(_KINDS, wrappers, strict=True):
            patcher.add_wrapper_with_key(kind, KEY, wrapper)
        return patcher

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.on_progress(BEGINS)  # In place of what the last run told, which would stand there if this one failed.
        return executor(*args, **kwargs)

    def sampler_sample(
        self, executor: Any, guider: Any, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: SamplerCallback | None,
        noise: torch.Tensor, *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        options = extra_args["model_options"]["transformer_options"]
        # Innermost, so that what others do around a forward, such as torch.compile's exchange of modules, is done when we look.
        hooks = options["wrappers"][WrappersMP.APPLY_MODEL]
        hooks[KEY] = hooks.pop(KEY)
        run = self._begin(executor.class_obj, guider, noise, sigmas, options)

        def sample(run: Run, callback: SamplerCallback | None, show: Callable[[str], None]) -> Any:
            progress = ProgressText(run.session, show)
            options[_RUN] = run
            try:
                return executor(guider, sigmas, extra_args, progress.following(run.following(callback)), noise, *args, **kwargs)
            except BaseException:
                run.session.close()
                progress.stopped()
                raise
            finally:
                del options[_RUN]

        result = sample(run, callback, self.on_progress)
        trials = self._end(run)
        if trials is not None:
            self._try(trials, run, options, result, sample)
        return result

    def _begin(self, sampler: Any, guider: Any, noise: torch.Tensor, sigmas: torch.Tensor, options: dict[str, Any]) -> Run:
        """The run of a sampling that is about to begin, its model in place."""
        family = family_of(guider.model_patcher)
        traits = traits_of(sampler, guider, sigmas)
        setup = setup_of(self.mode, run_facts(family, guider, noise, sigmas.tolist(), traits), curve_store())
        if setup.announcement:
            self.on_progress(setup.announcement)
        return Run(self._session(setup), setup, sigmas.tolist()[:-1] if traits.one_a_step else None, options)

    def _session(self, setup: RunSetup) -> Session:
        free_memory = comfy.model_management.get_free_memory
        return Session(setup.plan, setup.label, cache_device=self.cache_device, free_memory=free_memory, recorder=setup.recorder)

    def _try(self, trials: Trials, run: Run, options: dict[str, Any], result: Any, sample: Callable[..., Any]) -> None:
        """Run trials and tell what they showed. What was measured before is saved: only an interrupt by the user goes on from here."""
        count = 0

        def error_of(plan: Plan) -> float:
            nonlocal count
            count += 1
            setup, number = RunSetup(plan, RunLabel("skipping")), count
            trial = Run(self._session(setup), setup, run.expected, options)

            def show(text: str) -> None:
                self.on_progress(Text("trial run {number}: {text}", number=number, text=text))

            latent = sample(trial, None, show)
            trial.session.close()
            return float(torch.linalg.vector_norm((latent - result).float()) / torch.linalg.vector_norm(result.float()))

        try:
            text = trials.conclude(error_of)
            log.info("MagCache: %s", text)
            self.on_progress(text)
        except comfy.model_management.InterruptProcessingException:
            raise
        except Exception:
            log.exception("MagCache could not run its trials. The picture and the curve are there.")

    def _end(self, run: Run) -> Trials | None:
        """Remember and tell how a run went, and return the trials to follow. Nothing that goes wrong here may lose the picture."""
        try:
            run.check()
            report = replace(run.session.close(), ratios=run.setup.ratios)
            if not report.events:
                return None
            conclusion = _concluded(run.setup, report)
            report = replace(report, ratios=conclusion.ratios)
            self.history.add(report, conclusion.text)
            self.on_finished(report, conclusion.text)
            return conclusion.trials
        except Exception:
            log.exception("MagCache could not report a run. Its picture is not affected.")
            return None

    def predict_noise(self, executor: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any], seed: int | None) -> Any:
        run: Run | None = model_options.get("transformer_options", {}).get(_RUN)
        if run is not None:
            run.ask(x, timestep)
        return executor(x, timestep, model_options, seed)

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list[Any], x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any]
    ) -> Any:
        run: Run | None = options.get("transformer_options", {}).get(_RUN)
        if run is None:
            return executor(model, conds, x, timestep, options)
        sigma = run.sigma(timestep)
        # A crop of the latent, or another one: which part of it is not known, and may be another one at the next step.
        whole = x is run.latent or window_of(options["transformer_options"]) is not None
        call = run.numbered(composition(model, conds, x, sigma, options)) if whole else None

        def evaluate(evaluation: Evaluation) -> Any:
            transformer = {**options["transformer_options"], _EVALUATION: _Present(evaluation, x.shape[0])}
            # Block lists are empty on a skipped step, so what a ControlNet computes for them would be lost.
            groups = [_without_control(group) for group in conds] if isinstance(evaluation, ReusedEvaluation) else conds
            return executor(model, groups, x, timestep, {**options, "transformer_options": transformer})

        return run_evaluation(run.session, call, sigma, x.device, evaluate)

    def apply_model(
        self, executor: Any, x: torch.Tensor, t: torch.Tensor, c_concat: Any = None, c_crossattn: Any = None, control: Any = None,
        transformer_options: dict[str, Any] | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        options = transformer_options or {}
        run: Run | None = options.get(_RUN)
        present: _Present | None = options.get(_EVALUATION)
        # Hide our keys: torch.compile guards on the size of `transformer_options` and would recompile.
        visible = {name: value for name, value in options.items() if name not in (_RUN, _EVALUATION)}

        def model(skips: bool) -> Any:
            # Without blocks there is nothing that a ControlNet could act on. Some models write into their options.
            with without_traces(visible) if skips else nullcontext():
                return executor(x, t, c_concat, c_crossattn, None if skips else control, dict(visible), **kwargs)

        stack = run.stack(executor.class_obj) if run and present else None
        if run is None or present is None or stack is None:
            return model(False)
        if stack.family.refuses(options):
            run.session.note_withheld(present.evaluation)
            return model(False)
        keys = member_keys(executor.class_obj, x, options, present.rows)
        branches = [branch_of(index) for index in options["cond_or_uncond"]]
        with self.locks.setdefault(stack.model, threading.Lock()):
            return run_forward(present.evaluation, stack, keys, branches, x.device, model)


def detached(patcher: Any) -> Any:
    """A clone of a model patcher without MagCache."""
    patcher = patcher.clone()
    for kind in _KINDS:
        patcher.remove_wrappers_with_key(kind, KEY)
    return patcher


def patch_of(patcher: Any) -> MagCachePatch | None:
    """The MagCache on a model patcher, or on what it was cloned from; None if there is none."""
    wrappers = patcher.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY)
    return wrappers[-1].__self__ if wrappers else None


def _concluded(setup: RunSetup, report: RunReport) -> Conclusion:
    """What came of a run. What cannot be concluded, such as a calibration of too few steps, is told instead."""
    try:
        return setup.conclude(report)
    except MagCacheError as error:
        log.warning("MagCache: %s", error)
        return Conclusion(Text("{error}", error=error))


def _without_control(group: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if group is None else [{name: value for name, value in cond.items() if name != "control"} for cond in group]
