"""How a node puts MagCache on a model, or takes it off: always in place of an earlier MagCache node."""

from __future__ import annotations

import logging
from typing import Any

from ..runtime.calibration_mode import CalibrationMode
from ..runtime.run_setup import Mode
from ..settings import CacheDevice
from ..texts import Text
from .notify import Notifier
from .patch import MagCachePatch, detached, patch_of

log = logging.getLogger("magcache")


def attached(patcher: Any, mode: Mode, node: str | None, cache_device: CacheDevice = "auto") -> Any:
    """A clone of a model patcher with MagCache in this mode. `node` is the id of the node that asks for it."""
    notifier = Notifier(node)
    if _calibrates(patcher) and not isinstance(mode, CalibrationMode):
        _tell_replaced(notifier)
    else:
        notifier.progress(Text("waits for the sampler"))
    return MagCachePatch(mode, notifier.finished, cache_device, notifier.progress).attach(patcher)


def switched_off(patcher: Any, node: str | None) -> Any:
    """A clone of a model patcher without MagCache, or the patcher itself if there is none on it."""
    if _calibrates(patcher):
        _tell_replaced(Notifier(node))
    else:
        Notifier(node).progress(Text("switched off: every step is computed"))
    return patcher if patch_of(patcher) is None else detached(patcher)


def _calibrates(patcher: Any) -> bool:
    earlier = patch_of(patcher)
    return earlier is not None and isinstance(earlier.mode, CalibrationMode)


def _tell_replaced(notifier: Notifier) -> None:
    text = Text("this node replaces the MagCache Calibration before it, so nothing is calibrated. Remove one of the two.")
    log.warning("MagCache: %s", text)
    notifier.progress(text)
