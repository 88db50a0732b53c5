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


class CalibrationError(MagCacheError):
    """A calibration run did not see what a curve needs."""
