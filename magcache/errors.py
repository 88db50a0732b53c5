"""What can go wrong. Every message says what was given, what was expected and what to do.

MagCacheError                  everything that MagCache raises on purpose
├── CurveError                 a curve file or a curve's numbers cannot be used
├── UnknownCurveError          no curve has that name
├── SettingsError              a threshold, retention, number of skips or step is out of range
│   └── InfeasibleError        no plan has the number of evaluations asked for
├── PlanError                  the parts of a plan contradict each other
├── ModelMismatchError         the curve belongs to another architecture than the model
├── CalibrationError           a calibration run did not show what a curve needs
├── PictureError               pictures cannot be compared with each other
├── server.events.ServerError  no ComfyUI server answers
├── server.workflow.WorkflowError  a workflow cannot be read or run
└── server.launch.ComfyUIError  ComfyUI could not be found, fetched or started
"""


class MagCacheError(ValueError):
    """Base class of every error that MagCache raises on purpose."""


class CurveError(MagCacheError):
    """A curve file or a curve's numbers cannot be used."""


class UnknownCurveError(MagCacheError):
    """No curve has that name."""


class SettingsError(MagCacheError):
    """A threshold, a retention, a number of skips or a step is out of range."""


class PlanError(MagCacheError):
    """The parts of a plan contradict each other."""


class ModelMismatchError(MagCacheError):
    """The curve was measured on another architecture than the model it is applied to."""


class PictureError(MagCacheError):
    """Pictures cannot be compared with each other."""


class CalibrationError(MagCacheError):
    """A calibration run did not show what a curve needs."""


class InfeasibleError(SettingsError):
    """No plan has the number of evaluations asked for."""

    nearest: int
    """The number of evaluations nearest to it for which there is a plan."""

    def __init__(self, steps: int, wanted: int, nearest: int) -> None:
        self.nearest = nearest
        super().__init__(
            f"{wanted} evaluations of {steps} steps ({steps / max(wanted, 1):.2f}×) cannot be planned; the nearest that can is {nearest} "
            f"({steps / nearest:.2f}×). Lower the speed-up, or use more steps."
        )
