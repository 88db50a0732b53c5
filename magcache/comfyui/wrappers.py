"""How MagCache sits in ComfyUI's sampling: four wrappers on a model, and one `Run` for each sampling.

OUTER_SAMPLE begins and ends the run · PREDICT_NOISE counts evaluations · CALC_COND_BATCH decides one · APPLY_MODEL watches or skips
the block stack.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP

from ..calibration import Recorder
from ..plan import Plan
from ..report import RunReport
from ..session import CacheDevice, Evaluation, Session, StaleResidualError
from .composition import composition, strengths
from .families import FAMILIES, Family, find_family
from .last_runs import LastRuns
from .live import LiveStatus, SamplerCallback
from .samplers import known_sigmas
from .stack import BlockStack

KEY = "magcache"
_RUN, _EVALUATION = "magcache_run", "magcache_evaluation"

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class Outline:
    """How a run is to go: its plan and what is said about it."""

    plan: Plan
    curve: str
    ratios: tuple[float, ...] = ()
    """γ of the curve at each step of the plan; empty without a curve."""
    recorder: Recorder | None = None
    conclude: Callable[[], Conclusion] | None = None
    """Called when the run has ended by itself."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of a run beside the picture."""

    text: str
    """What to tell the user."""
    ratios: tuple[float, ...] = ()
    """γ that was measured at each step of the plan."""


OutlineOf = Callable[[Any, Any, torch.Tensor, list[float]], Outline]
"""Tells how a run goes, from ComfyUI's guider and sampler, the noise and the sigmas."""


class Run:
    """One sampling: its session, and the block stacks of the models that take part. Opaque to ComfyUI, which copies plain dicts."""

    def __init__(self, session: Session, known_sigmas: list[float] | None) -> None:
        self.session = session
        self._known_sigmas = iter(known_sigmas or ())
        self._asked: tuple[torch.Tensor | None, float | None] = None, None
        self._stacks: dict[int, BlockStack | None] = {}

    def advance(self, timestep: torch.Tensor) -> None:
        """The sampler asks for its next evaluation."""
        self._asked = timestep, next(self._known_sigmas, None)

    def sigma(self, timestep: torch.Tensor) -> float:
        """The sigma of an evaluation. Read from the device only if it must be, since that waits for all that is queued there."""
        asked, known = self._asked
        return known if known is not None and asked is timestep else float(timestep.flatten()[0])

    def stack(self, model: Any) -> BlockStack | None:
        """The block stack of a diffusion model, None if its family is not known."""
        if id(model) not in self._stacks:
            family = find_family(FAMILIES, model)
            self._stacks[id(model)] = BlockStack(model, family) if family else None
        return self._stacks[id(model)]


@dataclass(frozen=True, slots=True)
class MagCachePatch:
    """MagCache on a model: settings and hooks, and the reports of runs that are over; nothing of one that goes on."""

    outline: OutlineOf
    finished: Callable[[RunReport, str], None]
    """Is told how a run went that ended by itself, and in which words."""
    cache_device: CacheDevice = field(default="auto")
    progress: Callable[[str], None] = field(default=lambda text: None)
    """Is told during a run how it stands."""
    last_runs: LastRuns = field(default_factory=LastRuns)

    def attach(self, model: Any) -> Any:
        """A clone of ComfyUI's model patcher with this patch on it, in place of an earlier one."""
        model = model.clone()
        for kind, wrapper in (
            (WrappersMP.OUTER_SAMPLE, self.outer_sample),
            (WrappersMP.PREDICT_NOISE, self.predict_noise),
            (WrappersMP.CALC_COND_BATCH, self.calc_cond_batch),
            (WrappersMP.APPLY_MODEL, self.apply_model),
        ):
            model.remove_wrappers_with_key(kind, KEY)
            model.add_wrapper_with_key(kind, KEY, wrapper)
        return model

    def outer_sample(
        self, executor: Any, noise: torch.Tensor, latent_image: torch.Tensor, sampler: Any, sigmas: torch.Tensor, denoise_mask: Any = None,
        callback: SamplerCallback | None = None, *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        guider = executor.class_obj
        model = bare(guider.model_patcher.model.diffusion_model)
        if find_family(FAMILIES, model) is None:
            log.warning("MagCache does not know the architecture %s yet; it runs in full.", type(model).__name__)
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, *args, **kwargs)
        options = guider.model_options["transformer_options"]
        # Innermost, so that what others do around a forward, such as torch.compile's exchange of modules, is done when we look.
        hooks = options["wrappers"][WrappersMP.APPLY_MODEL]
        hooks[KEY] = hooks.pop(KEY)

        outline = self.outline(guider, sampler, noise, sigmas.tolist())
        session = Session(
            outline.plan,
            outline.curve,
            cache_device=self.cache_device,
            free_memory=comfy.model_management.get_free_memory,
            recorder=outline.recorder,
        )
        options[_RUN] = Run(session, known_sigmas(sampler, sigmas))
        status = LiveStatus(session, self.progress)
        try:
            result = executor(noise, latent_image, sampler, sigmas, denoise_mask, status.following(callback), *args, **kwargs)
        except BaseException:
            session.close()
            status.stopped()
            raise
        finally:
            del options[_RUN]
        self._conclude(outline, session.close())
        return result

    def _conclude(self, outline: Outline, report: RunReport) -> None:
        """Remember and tell how a run went."""
        conclusion = outline.conclude() if outline.conclude else Conclusion(report.line(), outline.ratios)
        report = replace(report, ratios=conclusion.ratios)
        if report.events:
            self.last_runs.add(report, conclusion.text)
        self.finished(report, conclusion.text)

    def predict_noise(self, executor: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any], seed: int | None) -> Any:
        run: Run | None = model_options.get("transformer_options", {}).get(_RUN)
        if run is not None:
            run.advance(timestep)
        return executor(x, timestep, model_options, seed)

    def calc_cond_batch(self, executor: Any, model: Any, conds: list[Any], x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any]) -> Any:  # fmt: skip # noqa: E501
        run: Run | None = options.get("transformer_options", {}).get(_RUN)
        if run is None:
            return executor(model, conds, x, timestep, options)
        sigma = run.sigma(timestep)
        call = composition(model, conds, x, sigma, options["transformer_options"])
        evaluation = run.session.begin(call, sigma, x.device)
        if evaluation.reuse:
            try:
                # Block lists are empty on a skipped step, so what a ControlNet computes for them would be lost.
                return _evaluate(executor, evaluation, model, [_without_control(group) for group in conds], x, timestep, options)
            except StaleResidualError as reason:
                log.debug("MagCache computes sigma %.4f after all: %s.", sigma, reason)
                evaluation = run.session.recompute(call)
        return _evaluate(executor, evaluation, model, conds, x, timestep, options)

    def apply_model(self, executor: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        options = kwargs["transformer_options"] if "transformer_options" in kwargs else args[4]
        run: Run | None = options.get(_RUN)
        if run is None:
            return executor(x, *args, **kwargs)
        evaluation: Evaluation | None = options.get(_EVALUATION)
        # The model does not see our keys: for torch.compile another number of options is another model.
        visible = {name: value for name, value in options.items() if name not in (_RUN, _EVALUATION)}
        if "transformer_options" in kwargs:
            kwargs["transformer_options"] = visible
        else:
            args = (*args[:4], visible, *args[5:])
        model = bare(executor.class_obj.diffusion_model)
        stack = run.stack(model)
        # A model that generates piece by piece (ar_state) writes its memory from within its blocks.
        if evaluation is None or stack is None or not (evaluation.reuse or evaluation.watched) or "ar_state" in options:
            return executor(x, *args, **kwargs)
        indices = options["cond_or_uncond"]
        forward = id(model), tuple(x.shape[1:]), strengths(executor.class_obj)
        keys = evaluation.keys([(*forward, uuid, index) for uuid, index in zip(options["uuids"], indices, strict=True)])
        if evaluation.reuse:
            with stack.skipped(evaluation.recall(keys, x.device)):
                return executor(x, *args, **kwargs)
        guess = _guess(executor, stack, evaluation, keys, x, args, kwargs) if evaluation.expected else None
        with stack.watched() as capture:
            result = executor(x, *args, **kwargs)
        evaluation.store(keys, [_branch(index) for index in indices], capture.residual if capture.count == 1 else None)
        capture.clear()
        if guess is None:
            return result
        run.session.note_correction()
        return result + evaluation.gain * (result - guess)


def _guess(
    executor: Any, stack: BlockStack, evaluation: Evaluation, keys: list[Hashable], x: torch.Tensor, args: Any, kwargs: Any
) -> torch.Tensor | None:
    """What the model would have returned had this step been reused too; None if that cannot be told."""
    try:
        with stack.skipped(evaluation.expect(keys, x.device)):
            return executor(x, *args, **kwargs)
    except StaleResidualError as reason:
        log.debug("MagCache does not correct the steps before: %s.", reason)
        return None


def last_runs_of(model: Any) -> LastRuns | None:
    """What the MagCache on a model patcher, or on what it was cloned from, has done; None if there is none."""
    hooks = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return hooks[-1].__self__.last_runs if hooks else None


def bare(model: Any) -> Any:
    """The module inside torch.compile's, or the module itself."""
    return getattr(model, "_orig_mod", model)


def family_of(model: Any) -> Family | None:
    """The family of what ComfyUI's model patcher holds."""
    return find_family(FAMILIES, bare(model.get_model_object("diffusion_model")))


def _evaluate(
    executor: Any, evaluation: Evaluation, model: Any, conds: list[Any], x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any]
) -> Any:
    options = {**options, "transformer_options": {**options["transformer_options"], _EVALUATION: evaluation}}
    result = executor(model, conds, x, timestep, options)
    evaluation.finish()
    return result


def _without_control(group: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if group is None else [{name: value for name, value in cond.items() if name != "control"} for cond in group]


def _branch(index: int) -> str:
    return {0: "cond", 1: "uncond"}.get(index, f"branch{index}")
