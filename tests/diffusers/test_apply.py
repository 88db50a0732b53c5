"""What apply() accepts and refuses, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from diffusers.hooks import FirstBlockCacheConfig, MagCacheConfig

import magcache.diffusers as mc
from magcache import MagCacheError, ThresholdSettings, load_curve
from magcache.errors import CurveError, SettingsError, UnknownCurveError

from .pipelines import PIPES
from .tiny_parts import same

FLUX = PIPES["flux"]
STEPS = 12
RATIOS = [1.0, *(0.97 for _ in range(STEPS - 1))]


def skipped(cache: mc.StepCache, pipe: Any, steps: int = STEPS) -> tuple[int, ...]:
    FLUX.run(pipe, steps=steps)
    report = cache.report()
    assert report.steps == steps
    return tuple(step.index for step in report.outcomes() if step.reused)


def test_the_first_picture_calibrates_and_the_second_skips(tmp_path: Path):
    pipe = FLUX.build()
    plain = FLUX.run(pipe, steps=20)
    with mc.apply(pipe, 2.0, folder=tmp_path) as cache:
        assert same(FLUX.run(pipe, steps=20), plain) and cache.report().label.kind == "calibrating"
        (saved,) = tmp_path.glob("*.json")
        assert not same(FLUX.run(pipe, steps=20), plain)
        assert cache.report().plan.nfe == 10 and cache.report().reused == 10 and cache.report().label.curve == saved.stem
    assert same(FLUX.run(pipe, steps=20), plain)


def test_another_process_finds_the_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAGCACHE_CURVES", str(tmp_path))
    with mc.apply(one := FLUX.build(), 2.0):
        FLUX.run(one, steps=20)
    other = FLUX.build()
    assert skipped(mc.apply(other, 2.0), other, 20)


def test_a_folder_that_cannot_be_written_to_loses_neither_the_picture_nor_the_calibration(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    pipe = FLUX.build()
    with mc.apply(pipe, 2.0, folder=blocked) as cache:
        assert [skipped(cache, pipe, 20) != () for _ in range(3)] == [False, True, True]
    assert caplog.text.count("in memory until the program ends") == 1
    curve = mc.calibrate(pipe, name="mine", folder=blocked, **FLUX.call(0, 20))
    assert curve.name == "mine" and skipped(mc.apply(pipe, 2.0, curve=curve, folder=blocked), pipe, 20)


def test_a_named_calibration_serves_only_those_who_choose_it(tmp_path: Path):
    pipe = FLUX.build()
    mc.calibrate(pipe, name="私の曲線", folder=tmp_path, **FLUX.call(0, 20))
    with mc.apply(pipe, 2.0, curve="私の曲線", folder=tmp_path) as cache:
        assert skipped(cache, pipe, 20) and cache.report().label.curve == "私の曲線"
    with mc.apply(pipe, 2.0, folder=tmp_path) as cache:
        assert not skipped(cache, pipe, 20) and cache.report().label.kind == "calibrating"
    with pytest.raises(CurveError, match="would hide it"):
        mc.calibrate(pipe, name="flux", folder=tmp_path, **FLUX.call(0, 20))


@pytest.mark.parametrize("speedup", [1, 1.0])
def test_a_speed_up_of_one_is_untouched(speedup: float, tmp_path: Path):
    pipe = FLUX.build()
    plain = FLUX.run(pipe)
    cache = mc.apply(pipe, speedup, folder=tmp_path)
    assert same(FLUX.run(pipe), plain) and not list(tmp_path.iterdir())
    with pytest.raises(MagCacheError, match="switched off"):
        cache.report()


def test_the_published_rule_with_a_list_of_ratios(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe, threshold=0.1, max_skip=2, retention=0.25, curve=RATIOS, folder=tmp_path)
    # ∏γ after three steps is 0.91: 0.03 + 0.06 is below 0.1, and at most two are skipped.
    assert skipped(cache, pipe) == (3, 4, 6, 7, 9, 10)


def test_diffusers_configuration_gives_the_same_plan(tmp_path: Path):
    pipe = FLUX.build()
    config = MagCacheConfig(threshold=0.1, max_skip_steps=2, retention_ratio=0.25, num_inference_steps=STEPS, mag_ratios=RATIOS)
    assert skipped(mc.apply(pipe, config=config, folder=tmp_path), pipe) == (3, 4, 6, 7, 9, 10)


def test_ratios_serve_another_number_of_steps(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe, 2.0, curve=RATIOS, folder=tmp_path)
    assert len(skipped(cache, pipe, 24)) == 12
    ratios = cache.report().ratios
    assert ratios[5] == pytest.approx(0.97**0.5, abs=0.01)


def test_a_curve_its_name_and_its_file(tmp_path: Path):
    pipe, curve = FLUX.build(), load_curve("flux")
    curve.save(tmp_path / "mine.json")
    found = [skipped(mc.apply(pipe, 2.0, curve=given, folder=tmp_path), pipe, 20) for given in ("flux", curve, tmp_path / "mine.json")]
    assert found[0] and found[0] == found[1] == found[2]


def test_a_curve_as_a_configuration_of_diffusers():
    curve = load_curve("flux")
    config = mc.mag_cache_config(curve, steps=20, settings=ThresholdSettings(threshold=0.1, max_skip=3, retention=0.3))
    assert (config.threshold, config.max_skip_steps, config.retention_ratio, config.num_inference_steps) == (0.1, 3, 0.3, 20)
    assert config.mag_ratios.tolist() == pytest.approx(curve.ratios_at(curve.sigmas_for(20), "cond"))
    assert mc.mag_cache_config(curve).threshold == curve.preset.threshold


def test_a_transformer_with_its_scheduler(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe.transformer, 2.0, curve="flux", scheduler=pipe.scheduler, folder=tmp_path)
    assert skipped(cache, pipe, 20) and mc.report(pipe.transformer).reused == 10
    mc.remove(pipe.transformer)
    with pytest.raises(MagCacheError, match=r"Call apply\(\) first"):
        mc.report(pipe)


def test_a_second_apply_takes_the_place_of_the_first(tmp_path: Path):
    pipe = FLUX.build()
    first = mc.apply(pipe, 2.0, curve="flux", folder=tmp_path)
    second = mc.apply(pipe, 1.5, curve="flux", folder=tmp_path)
    assert len(skipped(second, pipe, 20)) in (6, 7)
    first.remove()
    assert skipped(second, pipe, 20)


def test_everything_is_as_before_after_removal(tmp_path: Path):
    pipe = FLUX.build()
    names = set(vars(pipe.transformer))
    mc.remove(pipe)
    cache = mc.apply(pipe, 2.0, folder=tmp_path)
    assert set(vars(pipe.transformer)) != names
    cache.remove()
    cache.remove()
    assert set(vars(pipe.transformer)) - {"_compiled_call_impl"} == names - {"_compiled_call_impl"}
    assert pipe.transformer._compiled_call_impl is None


def test_a_prompt_that_is_exchanged_on_the_way_is_computed(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe, 2.0, curve="flux", folder=tmp_path)
    FLUX.run(pipe, steps=20)
    planned = cache.report().plan
    other = FLUX.call(prompt=5)["prompt_embeds"]
    change = planned.computed[-3] + 1
    assert planned.reused[change]

    def exchange(_: Any, step: int, __: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_embeds": other} if step == change - 1 else {}

    FLUX.run(pipe, steps=20, callback_on_step_end=exchange, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    assert not cache.report().outcomes()[change].reused


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"speedup": 0.5}, SettingsError, "from 1"),
        ({"speedup": float("nan")}, SettingsError, "from 1"),
        ({"speedup": 2.0, "threshold": 0.1}, SettingsError, "exclude each other"),
        ({"threshold": -1.0}, SettingsError, "threshold"),
        ({"config": MagCacheConfig(calibrate=True)}, SettingsError, "calibrate"),
        ({"reuse": "often"}, SettingsError, "reuse"),
        ({"start": 0.8, "end": 0.2}, SettingsError, "start and end"),
        ({"cache_device": "disk"}, SettingsError, "cache_device"),
        ({"curve": "there_is_none.json"}, CurveError, "there_is_none.json"),
    ],
)
def test_bad_settings_are_refused_at_once(arguments: dict[str, Any], error: type[Exception], says: str, tmp_path: Path):
    pipe = FLUX.build()
    with pytest.raises(error, match=says):
        mc.apply(pipe, **arguments, folder=tmp_path)
    assert pipe.transformer._compiled_call_impl is None


def test_an_unknown_curve_is_refused_at_once(tmp_path: Path):
    with pytest.raises(UnknownCurveError, match="fluks"):
        mc.apply(FLUX.build(), 2.0, curve="fluks", folder=tmp_path)


def test_what_is_no_pipeline_is_refused():
    with pytest.raises(MagCacheError, match="scheduler"):
        mc.apply(FLUX.build().transformer, 2.0)
    with pytest.raises(MagCacheError, match="has no model"):
        mc.apply(object(), 2.0)


def test_a_model_with_another_cache_is_refused(tmp_path: Path):
    pipe = FLUX.build()
    pipe.transformer.enable_cache(FirstBlockCacheConfig(0.1))
    with pytest.raises(MagCacheError, match="first_block_cache"):
        mc.apply(pipe, 2.0, folder=tmp_path)


def test_a_transformer_that_is_exchanged_is_reported(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe, 2.0, curve="flux", folder=tmp_path)
    FLUX.run(pipe)
    pipe.register_modules(transformer=FLUX.build().transformer)
    FLUX.run(pipe)
    for ask in (cache.report, lambda: mc.report(pipe)):
        with pytest.raises(MagCacheError, match="exchanged"):
            ask()


def test_there_is_no_report_before_a_picture(tmp_path: Path):
    cache = mc.apply(PIPES["wan22_euler"].build(), 2.0, folder=tmp_path)
    with pytest.raises(MagCacheError, match="no picture was finished"):
        cache.report()


def test_a_report_can_be_written_down(tmp_path: Path):
    pipe = FLUX.build()
    cache = mc.apply(pipe, 2.0, curve="flux", folder=tmp_path)
    FLUX.run(pipe, steps=20)
    assert json.loads(json.dumps(cache.report().to_json()))
