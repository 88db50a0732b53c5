"""One video: it is told of as it grows, it can be stopped at any step, and nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from magcache.framepack.generation import CancelledError, generate
from magcache.framepack.model import Model
from magcache.framepack.settings import Task
from magcache.framepack.trial import trial_text

from .studio import SIDE, STEPS, TWO_SECTIONS, Watcher, make, same, small_model, task


def test_without_a_speed_up_it_is_what_the_pipeline_makes(model: Model):
    of = task()
    video = model.pipe(
        image=of.picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), **trial_text("a red fox"), width=SIDE, height=SIDE,
        num_frames=66, num_inference_steps=STEPS, guidance_scale=10.0,
        generator=torch.Generator().manual_seed(3), output_type="np",
    ).frames[0]  # fmt: skip
    assert same(make(model).frames, np.round(video * 255).astype(np.uint8))


def test_the_length_is_what_was_foretold(model: Model):
    for seconds, sections in ((0.1, 1), (1.8, 2), (2.9, 2), (3.1, 3)):
        watcher = Watcher()
        clip = generate(model, task(seconds=seconds, steps=1), 1.0, watcher)
        assert len(watcher.sections) == model.sections(seconds) == sections
        assert len(clip.frames) == model.frames(seconds) == 36 * sections + 1


@pytest.mark.parametrize("forward", [False, True])
def test_steps_and_sections_are_told_in_order(tmp_path, forward: bool):
    model, watcher = small_model(tmp_path, forward), Watcher()
    clip = generate(model, task(seconds=3.6), 1.0, watcher)
    assert watcher.steps == [(0, 0)] + [(section, step) for section in range(3) for step in range(1, STEPS + 1)]
    assert [section for section, _ in watcher.sections] == [0, 1, 2]
    lengths = [len(frames) for _, frames in watcher.sections]
    assert lengths == sorted(set(lengths)) and lengths[-1] >= len(clip.frames) == 109
    first, last = watcher.sections[0][1], watcher.sections[-1][1]
    assert same(last[: len(clip.frames)], clip.frames)
    kept = 1  # Frames of the first section that no later one is blended into.
    assert same(first[:kept], last[:kept]) if forward else same(first[-kept:], last[-kept:]), "the end is made first, but by F1"


def test_the_speed_up_skips_and_measures_the_model_first(fresh_model: Model):
    first, second = make(fresh_model, 2.0), make(fresh_model, 2.0)
    assert first.report and second.report
    assert not any(first.report.plan.reused[:STEPS]) and any(first.report.plan.reused[STEPS:])
    assert second.report.reused > first.report.reused > 0
    assert second.report.evaluations == 2 * STEPS
    assert not same(first.frames, second.frames)


def test_nothing_of_magcache_is_left_on_the_model(fresh_model: Model):
    before = make(fresh_model)
    assert before.report is None
    make(fresh_model, 2.0)
    make(fresh_model, 2.0)
    assert same(make(fresh_model).frames, before.frames)


@pytest.mark.parametrize("speedup", [1.0, 2.0])
def test_a_cancelled_video_leaves_a_clean_state(model: Model, speedup: float):
    make(model, 2.0)  # From here on the model is measured.
    reference = make(model, speedup)
    for stop_at in ((0, 0), (0, 1), (0, STEPS), (1, 5)):
        watcher = Watcher(stop_at)
        with pytest.raises(CancelledError):
            generate(model, task(), speedup, watcher)
        assert watcher.steps[-1] == stop_at and len(watcher.sections) == stop_at[0]
        assert "decode" not in vars(model.pipe.vae) and "_soft_append" not in vars(model.pipe)
        again = make(model, speedup)
        assert same(again.frames, reference.frames)
        assert (again.report and again.report.reused) == (reference.report and reference.report.reused)


def test_models_leave_the_graphics_card_however_a_video_ends(model: Model, monkeypatch: pytest.MonkeyPatch):
    """diffusers does it at the end of a call that gets that far."""
    freed, free = [], model.pipe.maybe_free_model_hooks
    monkeypatch.setattr(model.pipe, "maybe_free_model_hooks", lambda: freed.append(True) or free())
    with pytest.raises(CancelledError):
        generate(model, task(), 1.0, Watcher((0, 1)))
    assert freed == [True]
    make(model, seconds=0.1, steps=1)
    assert freed == [True, True]


def test_a_failed_video_leaves_a_clean_state(model: Model, monkeypatch: pytest.MonkeyPatch):
    reference = make(model)
    with monkeypatch.context() as patch:
        patch.setattr(model.pipe.scheduler, "step", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(model, 2.0)
    assert same(make(model).frames, reference.frames)


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": "a blue bird"}, {"seed": 4}, {"guidance_scale": 3.0}, {"true_cfg_scale": 4.0},
        {"true_cfg_scale": 4.0, "negative_prompt": "snow"}, {"last_picture": Image.new("RGB", (96, 96), "red")},
    ],
)  # fmt: skip
def test_every_setting_counts(model: Model, settings: dict):
    one_step = {"seconds": 0.1, "steps": 1}
    assert not same(make(model, **one_step, **settings).frames, make(model, **one_step).frames)


def test_a_negative_prompt_counts_only_with_true_cfg(model: Model):
    one_step = {"seconds": 0.1, "steps": 1}
    assert same(make(model, **one_step, negative_prompt="snow").frames, make(model, **one_step).frames)
    with_snow, with_rain = (make(model, **one_step, negative_prompt=each, true_cfg_scale=4.0).frames for each in ("snow", "rain"))
    assert not same(with_snow, with_rain)


def test_a_picture_with_transparency_will_do(model: Model):
    of = task(seconds=0.1, steps=2)
    assert len(generate(model, type(of)(of.settings, of.picture.convert("RGBA"), of.picture.convert("L")), 1.0, Watcher()).frames) == 37


def test_the_video_has_the_shape_of_the_picture(model: Model):
    of = task(seconds=0.1, steps=1)
    wide = type(of)(of.settings, of.picture.resize((200, 50)))
    assert generate(model, wide, 1.0, Watcher()).frames.shape[1:] == (16, 64, 3)


def test_pictures_of_another_shape_are_cut_not_stretched(model: Model, monkeypatch: pytest.MonkeyPatch):
    of, given = task(seconds=0.1, steps=1), []
    middle, wide = of.picture.resize((300, 300)), Image.new("RGB", (500, 300), "red")
    wide.paste(middle, (100, 0))
    preprocess = model.pipe.video_processor.preprocess
    monkeypatch.setattr(
        model.pipe.video_processor, "preprocess", lambda picture, *size: given.append(picture) or preprocess(picture, *size)
    )
    for last in (middle, wide):
        generate(model, Task(of.settings, of.picture, last), 1.0, Watcher())
    one, other = (np.asarray(picture, int)[:, 2:-2] for picture in (given[1], given[3]))  # The edges know of their surroundings.
    assert one.shape == (SIDE, SIDE - 4, 3) and np.abs(one - other).max() <= 1


def test_the_trial_default_has_two_sections(model: Model):
    assert model.sections(TWO_SECTIONS) == 2
