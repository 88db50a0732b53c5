"""What a visitor sees, the form of each model, and how the page is served and stopped."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from magcache.errors import MagCacheError, SettingsError
from magcache.framepack import serve
from magcache.framepack.model import Model
from magcache.framepack.worker import Studio

from .studio import new_studio, submitted, wait_until


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # What is set is put back afterwards.
    serve.prepare(tmp_path)


@pytest.fixture
def studio(tmp_path: Path, model: Model) -> Studio:
    """Nobody works for it."""
    return new_studio(tmp_path, model)


def shown(studio: Studio, watched: tuple[str, str] | None) -> dict[str, object]:
    from magcache.framepack.page import _pieces

    return {name: key for name, (key, _) in _pieces(studio, watched).items()}


def test_everybody_sees_their_own_video_and_strangers_what_goes_on(studio: Studio):
    one, two = submitted(studio, prompt="one", seconds=0.1, steps=1), submitted(studio, prompt="two", seconds=0.1, steps=1)
    first, second, stranger = ("job", "1"), ("job", "2"), None
    assert "Position 1" in shown(studio, first)["status"] and "Position 2" in shown(studio, second)["status"]
    assert "will be here" in shown(studio, stranger)["status"]
    assert studio.queue.next() is one
    assert all("Getting ready" in shown(studio, each)["status"] for each in (first, stranger))
    assert "Position 1" in shown(studio, second)["status"] and shown(studio, second)["cancel"] is True
    studio.queue.finish(one, "failed", "It burned.")
    assert "It burned." in shown(studio, first)["status"] and "Position 1" in shown(studio, second)["status"]
    studio.start()
    wait_until(lambda: two.over)
    studio.close()
    for each in (second, stranger, ("entry", two.entry.name), ("entry", "one that is deleted"), ("job", "99")):
        found = shown(studio, each)
        assert "“two”" in found["summary"] and found["status"] == "" and found["cancel"] is False
        assert found["video"][0] == str(two.entry.video) and found["together"] is False
    assert "It burned." in shown(studio, first)["status"] and shown(studio, first)["summary"] == ""


def test_a_cancelled_video_stays_as_far_as_it_came(studio: Studio):
    job = submitted(studio, seconds=12.0, steps=30)
    studio.start()
    wait_until(lambda: job.previews)
    studio.queue.cancel(job.number)
    wait_until(lambda: job.over)
    found = shown(studio, ("job", "1"))
    assert "shown below" in found["status"] and Path(found["video"][0]).is_file()
    studio.close()


@pytest.mark.parametrize(("forward", "trial"), [(False, True), (True, True), (False, False)])
def test_the_form_is_that_of_the_model(model: Model, forward: bool, trial: bool):
    import gradio as gr

    from magcache.framepack.controls import Form

    with gr.Blocks():
        form = Form(replace(model, forward=forward, trial=trial))
    values = {each.elem_id: each.value for each in form.components}
    assert ("last_picture" in values) is not forward
    assert (values["picture"] is not None) is trial and (values["size"], values["steps"]) == ((128 if trial else 640), 25)


def test_the_form_reads_and_fills_in_the_same_task(model: Model):
    import gradio as gr

    from magcache.framepack.controls import Form

    from .studio import task

    with gr.Blocks():
        form = Form(model)
    given = task(compare=True, negative_prompt="snow", true_cfg_scale=2.0, memory="model", tiling=False)
    values = form.fill(given.settings, given.picture, None)
    assert form.read(*values) == given
    fresh = dict(zip([each.elem_id for each in form.components], values, strict=True)) | {"fresh": True}
    seeds = {form.read(*fresh.values()).settings.seed for _ in range(5)}
    assert len(seeds) > 1 and given.settings.seed not in seeds
    for name, said in (("picture", "no picture"), ("seed", "Seed is empty"), ("steps", "Steps is empty")):
        with pytest.raises(SettingsError, match=said):
            form.read(*(fresh | {name: None}).values())
    with pytest.raises(SettingsError, match="length"):
        form.read(*(fresh | {"seconds": 1e9}).values())


def test_a_port_that_is_taken_is_told(studio: Studio):
    with socket.socket() as taken:
        taken.bind((serve.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MagCacheError, match=rf"port {port}\b.*--port"), serve.serving(studio, port):
            pass


def test_only_this_machine_can_reach_it(studio: Studio):
    with serve.serving(studio) as address:
        assert address.startswith("http://127.0.0.1:")
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection((serve.HOST, port), timeout=10):
            pass
        other = socket.gethostbyname(socket.gethostname())
        if not other.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((other, port), timeout=2)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    with pytest.raises(OSError):
        socket.create_connection((serve.HOST, port), timeout=2)


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_stopped(request_to_end: signal.Signals):
    said, before = [], signal.getsignal(request_to_end)
    threading.Timer(0.1, lambda: os.kill(os.getpid(), request_to_end)).start()
    serve.until_stopped(lambda: said.append("stopping"))
    assert said == ["stopping"] and signal.getsignal(request_to_end) == before
