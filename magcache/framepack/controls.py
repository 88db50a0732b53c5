"""The form: what a user sets for a video, and how it becomes a task and comes back."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from ..errors import SettingsError
from .model import Model
from .settings import FPS, LARGEST_SEED, MULTIPLE, Settings, Task
from .trial import trial_picture

_SPEEDUPS = [("Off", 1.0), ("1.5×", 1.5), ("2×", 2.0), ("2.5×", 2.5), ("3×", 3.0)]
_MEMORY = [("All on the graphics card", "none"), ("Models take turns", "model"), ("Blocks take turns", "group")]


@dataclass(frozen=True, slots=True)
class _Defaults:
    """Where the form begins."""

    prompt: str
    picture: Image.Image | None
    seconds: float
    size: int
    largest: int

    @classmethod
    def of(cls, model: Model) -> _Defaults:
        if model.trial:
            return cls("The sun rises over the hills", trial_picture(), 2.4, 128, 256)
        return cls("", None, 5.0, 640, 1280)


class Form:
    """The components of the form, in a column."""

    def __init__(self, model: Model) -> None:
        self._model, self._defaults = model, _Defaults.of(model)
        self._fields: dict[str, Any] = {}
        self._pictures()
        self._words()
        self._length()
        self._speed()
        self.buttons = gr.Row(elem_id="buttons")
        with gr.Accordion("More settings", open=False, elem_id="more"):
            self._details()
        with gr.Accordion("Memory", open=False, elem_id="memory"):
            self._memory()

    @property
    def components(self) -> list[Any]:
        """All fields, in the order in which `read` takes their values and `fill` gives them."""
        return list(self._fields.values())

    @property
    def seed(self) -> Any:
        return self._fields["seed"]

    def read(self, *values: Any) -> Task:
        """The task that the form says, with a fresh seed if that is wanted. Raises `SettingsError`."""
        given = dict(zip(self._fields, values, strict=True))
        picture, last, fresh = given.pop("picture"), given.pop("last_picture", None), given.pop("fresh")
        if picture is None:
            raise SettingsError("There is no picture to begin with. Drop one on “First picture”.")
        for name, value in given.items():
            if value is None:
                raise SettingsError(f"{self._fields[name].label} is empty.")
        if fresh:
            given["seed"] = random.SystemRandom().randint(0, LARGEST_SEED)
        whole: dict[str, Any] = {name: int(given[name]) for name in ("steps", "seed", "size")}
        return Task(Settings(**given | whole), picture, last)

    def fill(self, settings: Settings, picture: Image.Image | None, last: Image.Image | None) -> list[Any]:
        """Values that put a task back into the form; the seed stays as it is given."""
        values = settings.to_json() | {"picture": picture, "last_picture": last, "fresh": False}
        return [values[name] for name in self._fields]

    def _pictures(self) -> None:
        look: dict[str, Any] = {"type": "pil", "sources": ["upload"], "height": 180, "buttons": []}
        with gr.Row(equal_height=True, elem_id="pictures"):
            self._fields["picture"] = gr.Image(
                self._defaults.picture, label="First picture", placeholder="Drop a picture here", elem_id="picture", **look
            )
            if not self._model.forward:  # F1 knows no end.
                self._fields["last_picture"] = gr.Image(
                    None, label="Last picture (optional)", placeholder="Where it should end", elem_id="last_picture", **look
                )

    def _words(self) -> None:
        example = "What happens, in short sentences about movement: “The girl dances gracefully.”"
        self._fields["prompt"] = gr.Textbox(
            self._defaults.prompt, label="Prompt", lines=2, max_lines=6, elem_id="prompt", placeholder=example
        )

    def _length(self) -> None:
        begin = self._defaults.seconds
        with gr.Group(elem_id="length"):
            seconds = self._slider("seconds", "Length in seconds", (0.5, 60, 0.1), begin, self._length_text(begin))
            with gr.Row():
                self._fields["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, elem_id="seed")
                self._fields["fresh"] = gr.Checkbox(
                    True, label="New seed each time", info="The same seed, the same video.", elem_id="fresh"
                )
        told: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
        seconds.change(lambda value: gr.update(info=self._length_text(value)), seconds, seconds, **told)

    def _length_text(self, seconds: float | None) -> str:
        count, frames = self._model.sections(seconds or 0), self._model.frames(seconds or 0)
        return f"{count} whole section{'s' * (count > 1)}: {frames} frames, {frames / FPS:.1f} s"

    def _speed(self) -> None:
        with gr.Group():
            self._fields["speedup"] = gr.Radio(
                _SPEEDUPS, value=2.0, label="Speed-up", elem_id="speedup",
                info="MagCache skips steps that change little. More is faster and less exact.",
            )  # fmt: skip
            self._fields["compare"] = gr.Checkbox(
                False,
                label="Compare with and without",
                elem_id="compare",
                info="Makes the video twice, with the same seed, and shows both.",
            )

    def _details(self) -> None:
        self._slider("steps", "Steps", (4, 60, 1), 25, "Of each section. More is slower and finer; 25 is usual.")
        self._slider("guidance_scale", "Guidance", (1, 32, 0.5), 10, "How strictly the prompt is followed (distilled CFG).")
        size = "Pixels along the side if the video is square. Its shape is that of the first picture."
        self._slider("size", "Size", (4 * MULTIPLE, self._defaults.largest, MULTIPLE), self._defaults.size, size)
        self._fields["negative_prompt"] = gr.Textbox(
            "", label="Negative prompt", info="What should not be seen. Only used with a true CFG above 1.", elem_id="negative_prompt"
        )
        true_cfg = "How strongly the negative prompt is avoided (classifier-free guidance). Above 1 a step takes twice as long."
        self._slider("true_cfg_scale", "True CFG", (1, 10, 0.1), 1, true_cfg)

    def _memory(self) -> None:
        accelerated = self._model.device != "cpu"
        info = "“Models take turns” needs less memory of the graphics card, “Blocks take turns” the least. Both are slower."
        self._fields["memory"] = gr.Radio(
            _MEMORY, value="none", label="Where the model is", elem_id="offload", interactive=accelerated,
            info=info if accelerated else "There is no graphics card whose memory could be saved.",
        )  # fmt: skip
        self._fields["tiling"] = gr.Checkbox(
            True, label="Decode in tiles", info="Makes pixels piece by piece (VAE tiling and slicing). Much less memory.", elem_id="tiling"
        )

    def _slider(self, name: str, label: str, scale: tuple[float, float, float], value: float, info: str) -> Any:
        """`scale` is the least, the most and the step."""
        low, high, step = scale
        made = self._fields[name] = gr.Slider(low, high, value, step=step, label=label, info=info, elem_id=name, buttons=[])
        return made
