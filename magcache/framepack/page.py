"""The page: the form on the left; the video, its figures, the queue and the history on the right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import SettingsError
from . import views
from .controls import Form
from .history import Entry, open_picture
from .jobs import Job
from .worker import Studio

_EVERY = 0.5
"""Seconds between two looks at the server."""
_KEPT = (3600, 24 * 3600)
"""Gradio's own copies of files: how often they are looked at, and the age at which they go, in seconds."""
Watched = tuple[str, str] | None
"""What a visitor looks at: `job` and its number, or `entry` and its name; None for what is going on."""


def build_page(studio: Studio) -> Any:
    """The Blocks, ready to launch."""
    with gr.Blocks(title="FramePack · MagCache", analytics_enabled=False, delete_cache=_KEPT) as page:
        gr.HTML(views.header(studio.model))
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, min_width=300):
                form = Form(studio.model)
                with form.buttons:
                    make = gr.Button("Make the video", variant="primary", elem_id="make")
                    cancel = gr.Button("Cancel", variant="stop", elem_id="cancel", interactive=False)
            with gr.Column(scale=7, min_width=300):
                stage = _Stage()
        _connect(page, studio, form, stage, make, cancel)
    return page


class _Stage:
    """The right column."""

    def __init__(self) -> None:
        self.status = gr.HTML(views.empty(), elem_id="status")
        with gr.Row(visible=False, elem_id="videos") as self.videos:
            self.video = _player("Video", "video")
            self.plain = _player("Without MagCache", "plain")
        with gr.Row(visible=False, elem_id="tools") as self.tools:
            self.together = gr.Button("Play both from the beginning", size="sm", elem_id="together")
            self.reuse = gr.Button("Use these settings again", size="sm", elem_id="reuse")
        self.summary = gr.HTML("", visible=False, elem_id="summary")
        with gr.Accordion("Report", open=False, visible=False, elem_id="report") as self.report:
            self.figure = gr.Image(None, show_label=False, buttons=["fullscreen"], container=False, interactive=False, elem_id="figure")
            self.text = gr.HTML("")
        with gr.Accordion("The frame that differs most", open=False, visible=False, elem_id="difference") as self.difference:
            self.comparison = gr.Image(None, show_label=False, buttons=["fullscreen"], container=False, interactive=False)
        with gr.Accordion("Queue", elem_id="queue"):
            self.queue = gr.HTML("", js_on_load=views.ON_CLICK, apply_default_css=False)
        with gr.Accordion("Finished videos", elem_id="history"):
            self.history = gr.HTML("", js_on_load=views.ON_CLICK, apply_default_css=False)


def _player(label: str, name: str) -> Any:
    return gr.Video(
        None,
        label=label,
        elem_id=name,
        visible=False,
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=["download"],
        height=340,
        min_width=280,
    )


def _connect(page: Any, studio: Studio, form: Form, stage: _Stage, make: Any, cancel: Any) -> None:
    """Only `watched` is written when somebody clicks, and only `seen` when the page is renewed, because both may happen at once."""
    watched, seen = gr.State(None), gr.State(dict[str, Any]())
    outputs = {
        "status": stage.status, "videos": stage.videos, "video": stage.video, "plain": stage.plain, "tools": stage.tools,
        "together": stage.together, "summary": stage.summary, "report": stage.report, "figure": stage.figure, "text": stage.text,
        "difference": stage.difference, "comparison": stage.comparison, "queue": stage.queue, "history": stage.history, "cancel": cancel,
    }  # fmt: skip
    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}

    def renew(watched: Watched, seen: dict[str, Any]) -> list[Any]:
        pieces = _pieces(studio, watched)
        updates = [gr.skip() if seen.get(name) == [key] else make() for name, (key, make) in pieces.items()]
        return [*updates, {name: [key] for name, (key, _) in pieces.items()}]

    def submit(*values: Any) -> tuple[Any, Any]:
        try:
            task = form.read(*values)
        except SettingsError as error:
            gr.Warning(str(error), title="Not yet")
            return gr.skip(), gr.skip()
        job = studio.submit(task)
        if job is None:
            gr.Warning("Wait until some videos are finished, or remove some.", title="The queue is full")
            return gr.skip(), gr.skip()
        return ("job", str(job.number)), task.settings.seed

    def stop(watched: Watched) -> None:
        job, _ = _shown(studio, watched)
        running = studio.queue.running()
        job = running if job is None or job.over else job
        if job is not None:
            studio.queue.cancel(job.number)

    def clicked(event: gr.EventData, watched: Watched) -> Any:
        if event.action == "cancel":
            studio.queue.cancel(int(event.of))
            return watched
        return (event.action, event.of)

    def reuse(watched: Watched) -> list[Any]:
        job, entry = _shown(studio, watched)
        if entry is not None:
            return form.fill(entry.settings, open_picture(entry.picture), open_picture(entry.last_picture))
        if job is not None:
            return form.fill(job.task.settings, job.task.picture, job.task.last_picture)
        return [gr.skip() for _ in form.components]

    look: Callable[[Any], Any] = lambda event: event(renew, [watched, seen], [*outputs.values(), seen], **quiet)  # noqa: E731
    look(page.load)
    look(gr.Timer(_EVERY).tick)
    # Only what goes through Gradio's own queue can show a warning; it does not wait there for others.
    look(make.click(submit, form.components, [watched, form.seed], **quiet | {"queue": True}, concurrency_limit=None).then)
    look(cancel.click(stop, watched, None, **quiet).then)
    for piece in (stage.queue, stage.history):
        look(piece.click(clicked, watched, watched, **quiet).then)
    stage.reuse.click(reuse, watched, form.components, **quiet)
    stage.together.click(None, js="() => document.querySelectorAll('#videos video').forEach(v => { v.currentTime = 0; v.play(); })")


def _shown(studio: Studio, watched: Watched) -> tuple[Job | None, Entry | None]:
    """The job and the result that a visitor looks at; either may be None."""
    kind, of = watched or ("", "")
    if kind == "entry" and (entry := studio.history.find(of)) is not None:
        return None, entry
    job = studio.queue.find(int(of)) if kind == "job" else None
    job = job or studio.queue.running()
    if job is not None:
        return job, job.entry
    return None, next(iter(studio.history.entries()), None)


_Piece = tuple[Any, Callable[[], Any]]
"""What a piece of the page depends on, and what makes it."""


def _pieces(studio: Studio, watched: Watched) -> dict[str, _Piece]:
    job, entry = _shown(studio, watched)
    queue, model = studio.queue, studio.model
    videos = {"video": entry.video, "plain": entry.plain_video} if entry else dict(job.previews) if job else {}
    compared = videos.get("plain") is not None
    status = views.status(job, queue, model) if job else "" if entry else views.empty()
    listed = views.queue_list(queue, job)
    entries = studio.history.entries()
    card = entry.name if entry else None
    active = queue.running() is not None or (job is not None and not job.over)
    summary = views.summary(entry) if entry else ""
    figure, comparison = (entry.figure, entry.comparison) if entry else (None, None)
    return {
        "status": (status, lambda: gr.update(value=status, visible=bool(status))),
        "videos": (bool(videos), lambda: gr.update(visible=bool(videos))),
        "video": _video(videos.get("video"), "With MagCache" if compared else "Video"),
        "plain": _video(videos.get("plain"), "Without MagCache"),
        "tools": (bool(videos), lambda: gr.update(visible=bool(videos))),
        "together": (compared, lambda: gr.update(visible=compared)),
        "summary": (summary, lambda: gr.update(value=summary, visible=bool(summary))),
        "report": (bool(figure), lambda: gr.update(visible=bool(figure))),
        "figure": (str(figure), lambda: figure and str(figure)),
        "text": (card, lambda: views.report_text(entry) if entry else ""),
        "difference": (bool(comparison), lambda: gr.update(visible=bool(comparison))),
        "comparison": (str(comparison), lambda: comparison and str(comparison)),
        "queue": (listed, lambda: listed),
        "history": ((len(entries), card), lambda: views.history_list(entries, entry, studio.history.unreadable)),
        "cancel": (active, lambda: gr.update(interactive=active)),
    }


def _video(path: Path | None, label: str) -> _Piece:
    shown = path and str(path)
    return (shown, label), lambda: gr.update(value=shown, label=label, visible=shown is not None)
