"""The quality benchmark: its choice of a method's settings, its cases, and its page."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from benchmarks import quality_report
from benchmarks.quality import evaluate
from benchmarks.quality_methods import Method
from benchmarks.small.cases import BENCHES, Bench, Case, make_cases
from benchmarks.small.loop import Outcome
from benchmarks.small.models import TrainableModel
from magcache.demo import world

IMAGE, VIDEO, EMOJI = BENCHES


def off_by(amount: float, nfe: float):
    return lambda case: Outcome(case.noise + amount, nfe)


def scores_of(bench: Bench, **settings: tuple[float, float]):
    tuning, cases = make_cases(bench.small, 2)
    candidates = [(label, off_by(*setting)) for label, setting in settings.items()]
    return list(evaluate(bench, Method("peer", lambda target: candidates, off_by(0, bench.setting.steps)), tuning, cases))


def test_takes_the_setting_nearest_from_above_and_the_best_of_equals():
    two, two_and_a_half, three = scores_of(IMAGE, slow=(0.001, 20), good=(0.01, 14.0), bad=(0.1, 14.2), fast=(0.2, 10))
    assert (two.target, two.setting, two.nfe) == (14, "good", 14.0)
    assert (two_and_a_half.target, two_and_a_half.setting) == (11, "good")
    assert (three.target, three.setting) == (9, "fast")
    assert min(two.psnr) > max(three.psnr) and max(two.latent_error) < min(three.latent_error) and min(two.ssim) > max(three.ssim)


def test_a_speedup_out_of_reach_is_left_out():
    assert scores_of(IMAGE, fast=(0.2, 8)) == []
    assert [score.target for score in scores_of(VIDEO, fast=(0.2, 12))] == [12, 10]


def test_the_prompt_to_tune_with_is_not_evaluated():
    for bench in BENCHES:
        tuning, cases = make_cases(bench.small, 16)
        assert len({case.prompt for case in (tuning, *cases)}) == 17
        assert all(not torch.equal(case.noise, other.noise) for case in cases for other in (tuning, *cases) if other is not case)


def test_the_same_cases_every_time():
    one, again = make_cases(VIDEO.small, 3), make_cases(VIDEO.small, 3)
    assert [case.prompt for case in one[1]] == [case.prompt for case in again[1]]
    assert torch.equal(one[0].noise, again[0].noise)


def test_report(tmp_path):
    scores = scores_of(IMAGE, slow=(0.001, 20), good=(0.01, 14.5), fast=(0.2, 9))
    model = {"date": "2026-01-01", "setting": asdict(IMAGE.setting), "prompts": ["a", "b"], "scores": [asdict(score) for score in scores]}
    quality_report.write({"image": model}, tmp_path)
    table = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "| PSNR, dB | 14 (2×) | 11 (2.5×) | 9 (3.1×) |" in table
    mean, worst = np.mean(scores[0].psnr), min(scores[0].psnr)
    assert f"| peer | {mean:.1f} / {worst:.1f} (14.5) |" in table
    assert (tmp_path / "quality.png").stat().st_size > 10_000


@pytest.mark.parametrize("bench", [IMAGE, VIDEO], ids=["image", "video"])
def test_noise_has_the_shape_of_the_latents(bench: Bench):
    case: Case = make_cases(bench.small, 1)[0]
    assert isinstance(bench.small, TrainableModel)
    drawn = bench.small.draw(case.prompt, np.random.default_rng(0))[None]
    assert case.noise.shape == bench.small.to_latent(drawn).shape


def test_no_constant_was_chosen_with_what_the_emoji_model_draws():
    """How errors spread in it was chosen with these prompts."""
    subjects, grounds = list(world.SUBJECTS), list(world.GROUNDS)
    chosen_with = {f"{subjects[place]} on {grounds[(place + 3) % 6]}" for place in (1, 6, 8, 10, 14, 18, 23, 26, 29, 39)}
    assert chosen_with <= set(EMOJI.small.prompts())
    assert not chosen_with & {case.prompt for case in make_cases(EMOJI.small, 16)[1]}
