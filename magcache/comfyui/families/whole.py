"""Models without a stack of blocks that could be skipped: their prediction is reused as a whole."""

from ...runtime.family import Family

UNET = Family(
    name="unet",
    classes=("UNetModel",),
    blocks=(),
    streams=(),
    models=("SD 1.5", "SD 2.1", "SDXL", "SDXL Refiner", "SVD", "Stable Zero123", "SV3D", "Segmind Vega", "SSD-1B", "Koala"),
)
CASCADE = Family(name="cascade", classes=("StageC", "StageB"), blocks=(), streams=(), models=("Stable Cascade",))
HIDREAM_O1 = Family(
    name="hidream_o1",
    classes=("HiDreamO1Transformer",),  # Its blocks keep keys and values of the text from step to step.
    blocks=(),
    streams=(),
    models=("HiDream-O1",),
)
SEEDVR2 = Family(
    name="seedvr2",
    classes=("NaDiT",),  # It lays the rows of a batch end to end and exchanges their halves.
    blocks=(),
    streams=(),
    models=("SeedVR2 3B", "SeedVR2 7B"),
)

WHOLE: tuple[Family, ...] = (UNET, CASCADE, HIDREAM_O1, SEEDVR2)
