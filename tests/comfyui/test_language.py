"""Nodes speak the language that the user has chosen in ComfyUI; the log and programs are told in English."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import comfy.cli_args
import folder_paths
import numpy as np
import pytest
from comfy_api.latest import io

from magcache.comfyui import notify
from magcache.comfyui.extension import MagCacheExtension
from magcache.comfyui.language import users_language
from magcache.comfyui.nodes import speed
from magcache.comfyui.nodes.results import MagCacheReport
from magcache.errors import SettingsError
from magcache.reports.figure import figure
from magcache.reports.wrapping import width_of, wrapped
from magcache.runtime import modes

from .runs import sample
from .tiny import Tiny


class Server:
    """Takes the place of ComfyUI's server."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.sent: list[dict[str, Any]] = []

    def send_progress_text(self, text: str, node: str) -> None:
        self.shown.append(text)

    def send_sync(self, event: str, data: dict[str, Any]) -> None:
        self.sent.append(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(notify.PromptServer, "instance", found, raising=False)
    return found


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the user's settings, in a folder of the test's own."""
    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path / "user"))
    path = tmp_path / "user" / "default" / "comfy.settings.json"
    path.parent.mkdir(parents=True)
    return path


def choose(settings: Path, locale: object) -> None:
    settings.write_text(json.dumps({"Comfy.Locale": locale, "Comfy.Other": 1}), encoding="utf-8")


def node(kind: type[io.ComfyNode]) -> Any:
    return kind.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "7"}})


def published(model: Any, threshold: float = 0.24) -> Any:
    return node(speed.MagCache).execute(model, "flux", threshold, 0.1, 5).args[0]


@pytest.mark.parametrize(
    ("locale", "code"),
    [("ja", "ja"), ("zh", "zh"), ("zh-TW", "zh"), ("en", "en"), ("fr", "en"), ("", "en"), (7, "en"), ("../ja", "en"), (None, "en")],
)
def test_the_language_is_that_of_the_settings(settings: Path, locale: object, code: str):
    choose(settings, locale)
    assert users_language().code == code


def test_a_user_who_has_chosen_none_reads_the_language_of_the_page(settings: Path):
    settings.write_text('{"MagCache.Language": "zh"}', encoding="utf-8")
    assert users_language().code == "zh"
    settings.write_text('{"MagCache.Language": "zh", "Comfy.Locale": "en"}', encoding="utf-8")
    assert users_language().code == "en"


@pytest.mark.parametrize("content", ["", "{", "[]", '"ja"', "\xff", "[" * 100_000])
def test_settings_that_cannot_be_read_mean_english(settings: Path, content: str):
    assert users_language().code == "en", "there is no file"
    settings.write_text(content, encoding="latin-1")
    assert users_language().code == "en"
    settings.unlink()
    settings.mkdir()
    assert users_language().code == "en", "a folder is in its place"


def test_of_many_users_nobody_knows_who_reads(settings: Path, monkeypatch: pytest.MonkeyPatch):
    choose(settings, "ja")
    monkeypatch.setattr(comfy.cli_args.args, "multi_user", True)
    assert users_language().code == "en"


def test_a_change_counts_at_once(settings: Path, server: Server):
    for locale, words in (("ja", "サンプラーを待っています"), ("zh", "等待采样器"), ("en", "waits for the sampler")):
        choose(settings, locale)
        notify.show(notify.Text("waits for the sampler"), "7")
        assert server.shown[-1] == words


@pytest.mark.parametrize(
    ("locale", "words"), [("ja", ("倍", "20ステップ中", "を計算", "カーブ flux")), ("zh", ("倍", "20 步中计算", "曲线 flux"))]
)
def test_a_run_is_told_in_the_users_language_and_logged_in_english(
    flux: Tiny, settings: Path, server: Server, caplog: pytest.LogCaptureFixture, locale: str, words: tuple[str, ...]
):
    caplog.set_level(logging.INFO, logger="magcache")
    choose(settings, locale)
    sample(flux, published(flux.model), count=20)
    assert all(word in server.shown[-1].replace("\n", "") for word in words), server.shown[-1]
    assert all(width_of(line) <= 40 for text in server.shown for line in text.splitlines())
    assert "20 steps computed" in caplog.text and caplog.text.isascii() is False  # × is no ASCII.
    assert not [letter for letter in caplog.text + json.dumps(server.sent, ensure_ascii=False) if ord(letter) > 0x2E80]


def test_advice_is_translated(flux: Tiny, settings: Path, server: Server, caplog: pytest.LogCaptureFixture):
    choose(settings, "ja")
    sample(flux, published(flux.model, 0.0001), count=4)
    assert server.shown[-1].replace("\n", "").startswith("スキップしませんでした。どのスキップもしきい値を超えます。しきい値は0.0001、")
    assert "Nothing was skipped. Every skip would exceed the threshold" in caplog.text


def test_an_error_is_translated_where_comfyui_shows_it(flux: Tiny, settings: Path, server: Server, caplog: pytest.LogCaptureFixture):
    choose(settings, "ja")
    with pytest.raises(SettingsError, match=r"しきい値は-1\.0です") as found:
        published(flux.model, -1.0)
    assert "しきい値は-1.0です" in server.shown[-1].replace("\n", "")
    assert "The threshold is -1.0" in caplog.text
    assert type(found.value) is SettingsError
    with pytest.raises(SettingsError, match="The threshold is -1"):
        modes.ThresholdSettings(threshold=-1.0)


def test_the_report_is_drawn_and_told_in_the_users_language(flux: Tiny, settings: Path, server: Server):
    model = published(flux.model)
    sample(flux, model, count=20)
    english = node(MagCacheReport).execute(model, 0)
    choose(settings, "zh")
    chinese = node(MagCacheReport).execute(model, 0)
    assert "步中计算" in chinese.ui["text"][0] and "步中计算" in server.shown[-1]
    assert "steps computed" in english.ui["text"][0] and "steps computed" in chinese.args[1], "the text output is for programs"
    from magcache.comfyui.patch import patch_of

    ((run, _),) = list(patch_of(model).history)
    drawn = np.asarray(chinese.args[0][0] * 255).round().astype(np.uint8)
    assert np.array_equal(drawn, figure(run, language=users_language()))
    assert not np.array_equal(drawn, figure(run))


# Lines


def test_lines_are_as_wide_as_a_node_in_every_script():
    status = "1.9× faster (predicted 2.0×) · 14 of 28 steps computed · 14 skipped"
    assert wrapped(status, 40) == ["1.9× faster (predicted 2.0×) ·", "14 of 28 steps computed · 14 skipped"]
    japanese = "スキップを一度試したところ、このモデルでは正しい結果にならなかったため、すべてのステップを計算しました。"
    lines = wrapped(japanese, 40)
    assert "".join(lines) == japanese and len(lines) == 3
    assert all(width_of(line) <= 40 + 2 for line in lines) and not [line for line in lines if line[0] in "、。"]
    assert (
        wrapped("速くするには、MagCacheのしきい値を上げるか、ステップ数を増やしてください。", 40)[0]
        == "速くするには、MagCacheのしきい値を上げる"
    )
    assert wrapped("a" * 50 + " b", 40) == ["a" * 50, "b"], "a word is never broken"
    assert wrapped("", 40) == [""]


# The search


def test_nodes_are_found_by_japanese_and_chinese_words():
    """ComfyUI's search looks at these words whatever language it is in."""
    schemas = [kind.define_schema() for kind in asyncio.run(MagCacheExtension().get_node_list())]
    for schema in schemas:
        if schema.category != "MagCache/demo":
            words = schema.search_aliases
            assert any(re.search("[\u3040-\u30ff]", word) for word in words), schema.node_id
            assert any(re.fullmatch("[\u4e00-\u9fff]+", word) for word in words), schema.node_id
