"""What can go wrong, each with a message that says what was given, what was expected and what to do."""


class MagCacheError(ValueError):
    """Base of all errors raised by MagCache on purpose."""


class CurveError(MagCacheError):
    """A curve file or a curve's numbers cannot be used."""


class UnknownCurveError(MagCacheError):
    """No curve goes by that name."""


class SettingsError(MagCacheError):
    """A threshold, a retention, a number of skips or a step is out of range."""


class ModelMismatchError(MagCacheError):
    """The curve was measured on another architecture than the model it is applied to."""


class PictureError(MagCacheError):
    """Pictures cannot be compared with each other."""


class CalibrationError(MagCacheError):
    """A calibration run did not see what a curve needs."""


class InfeasibleError(SettingsError):
    """No plan has the number of evaluations asked for."""

    def __init__(self, steps: int, wanted: int, nearest: int) -> None:
        self.nearest = nearest
        super().__init__(
            f"{wanted} evaluations of {steps} steps ({steps / max(wanted, 1):.2f}×) cannot be planned; the nearest that can is {nearest} "
            f"({steps / nearest:.2f}×). Lower the speed-up, or use more steps."
        )
