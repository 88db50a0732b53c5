"""Pieces of the page as HTML. Everything that comes from users is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from .facts import Facts
from .history import Entry
from .jobs import Job, JobQueue
from .model import Model
from .progress import clock
from .settings import FPS, Settings

ON_CLICK = """element.addEventListener('click', event => {
  const chosen = event.target.closest('[data-action]');
  if (chosen) trigger('click', {action: chosen.dataset.action, of: chosen.dataset.of});
});"""
"""Tells Python which of the buttons in a piece was clicked."""


def header(model: Model) -> str:
    note = (
        "<div class='trial'><b>Trial with random weights.</b> All works as with the real model, but the videos are clouds of colour. "
        "Real ones: <code>magcache framepack --weights lllyasviel/FramePackI2V_HY</code></div>"
        if model.trial
        else ""
    )
    device = "processor" if model.device == "cpu" else model.device
    return (
        f"<div class='head'><h1>FramePack <span>with MagCache</span></h1>"
        f"<p>{escape(model.title)} · runs on the {escape(device)}</p></div>{note}"
    )


def status(job: Job | None, queue: JobQueue, model: Model) -> str:
    """How the job is doing; empty for one that is done."""
    if job is None:
        return ""
    if job.state == "waiting":
        return _notice("Waiting", f"Position {queue.position(job)} in the queue. It begins when the videos before it are finished.")
    if job.state == "failed":
        return _notice("This video could not be made", job.message, "failed")
    if job.state == "cancelled":
        return _notice("Cancelled", "What was made until then is shown below." if job.previews else "")
    if job.state == "done":
        return ""
    return _running(job, model)


def _running(job: Job, model: Model) -> str:
    progress, settings = job.progress, job.task.settings
    percent = round(100 * progress.fraction)
    left = progress.seconds_left
    which = ""
    if settings.compares:
        which = "With MagCache · " if progress.current == 0 else "Without MagCache · "
    stopping = "Stopping at the next step" if job.stop.is_set() else which + progress.text()
    order = "It grows from its beginning to its end." if model.forward else "The end is made first: it grows towards its beginning."
    return (
        f"<div class='progress'><div class='line'><b>{escape(stopping)}</b>"
        f"<span>{'about ' + clock(left) + ' left' if left is not None else ''}</span></div>"
        f"<div class='bar' role='progressbar' aria-valuenow='{percent}' aria-valuemin='0' aria-valuemax='100'>"
        f"<i style='width:{percent}%'></i></div>"
        f"<p>The video is shown after each section. {order}</p></div>"
    )


def _notice(title: str, text: str, kind: str = "") -> str:
    return f"<div class='notice {kind}'><b>{escape(title)}</b><p>{escape(text)}</p></div>"


def empty() -> str:
    return (
        "<div class='empty'><b>Your video will be here.</b>"
        "<p>Choose a picture, say what happens, and press “Make the video”. It grows section by section.</p></div>"
    )


def summary(entry: Entry) -> str:
    """What came out, in figures."""
    facts, settings = entry.facts, entry.settings
    length = f"{facts.frames / FPS:.1f} s, {facts.width} × {facts.height}"
    place = f"{entry.folder.parent.name}/{entry.name}"
    details = [f"Seed {settings.seed}", length, f"{settings.steps} steps", f"speed-up {_speedup(settings)}"]
    return (
        f"<div class='tiles'>{''.join(_compared(facts) or _single(facts))}</div>"
        f"{_measured_first(facts)}<p class='details'>{escape(' · '.join(details))}</p>"
        f"<p class='details' title='{escape(str(entry.folder))}'>“{escape(settings.prompt)}” · in {escape(place)}</p>"
    )


def _measured_first(facts: Facts) -> str:
    if facts.skipped is None or not facts.skipped.measured_first:
        return ""
    return "<p class='hint'>The first section was computed in full: it measured this model. From now on every section is faster.</p>"


def _compared(facts: Facts) -> list[str]:
    """Empty if there is nothing to compare with."""
    if facts.quality is None or facts.plain_seconds is None:
        return []
    saved = 1 - facts.seconds / facts.plain_seconds
    share = f"{100 * saved:.0f} % of the time saved" if saved > 0 else "no time saved"
    return [
        _tile(
            f"{facts.plain_seconds / facts.seconds:.2f}×", "as fast", share,
            "The whole time of the video without MagCache, divided by that with it.",
        ),
        _tile(clock(facts.seconds), f"instead of {clock(facts.plain_seconds)}", "the whole video", "From the text to the last frame."),
        _tile(
            f"{facts.quality.psnr:.1f} dB", "PSNR", f"worst frame {facts.quality.psnr_worst:.1f} dB",
            "How close both videos are (peak signal-to-noise ratio). Higher is closer; 100 is equal.",
        ),
    ]  # fmt: skip


def _single(facts: Facts) -> list[str]:
    tiles = [_tile(clock(facts.seconds), "to make it", "", "From the text to the last frame.")]
    skipped = facts.skipped
    if skipped is None:
        return [*tiles, _tile("all", "steps computed", "MagCache was off", "")]
    reused = skipped.evaluations - skipped.nfe
    tiles.append(_tile(f"{reused} of {skipped.evaluations}", "evaluations skipped", "", "An evaluation is one call of the model."))
    if skipped.measured:
        tooltip = "What the steps would have taken if all were computed, divided by what they took."
        tiles.append(_tile(f"{skipped.measured:.2f}×", "as fast", "the sampling alone", tooltip))
    return tiles


def _tile(figure: str, name: str, more: str, tooltip: str) -> str:
    return (
        f"<div class='tile' title='{escape(tooltip)}'><b>{escape(figure)}</b><span>{escape(name)}</span><small>{escape(more)}</small></div>"
    )


def report_text(entry: Entry) -> str:
    skipped = entry.facts.skipped
    if skipped is None:
        return ""
    note = f"<p>{escape(skipped.note)}</p>" if skipped.note else ""
    return f"<div class='report'><p>{escape(skipped.line)}</p>{note}<pre tabindex='0'>{escape(skipped.table)}</pre></div>"


def queue_list(queue: JobQueue, watched: Job | None) -> str:
    """Jobs that run or wait, and those that failed or were cancelled."""
    rows = [_row(job, queue, job is watched) for job in queue.jobs() if job.state != "done"]
    if not rows:
        return "<p class='none'>Nothing is waiting. You can add videos while one is being made.</p>"
    return f"<ol class='queue'>{''.join(rows)}</ol>"


def _row(job: Job, queue: JobQueue, watched: bool) -> str:
    settings, number = job.task.settings, job.number
    said = {
        "waiting": f"position {queue.position(job)}",
        "running": f"{round(100 * job.progress.fraction)} %",
        "failed": "failed",
        "cancelled": "cancelled",
    }[job.state]
    details = f"{said} · {settings.seconds:g} s · speed-up {_speedup(settings)}{' · compared' * settings.compares}"
    name = "Remove" if job.state == "waiting" else "Cancel"
    remove = f"<button class='remove' data-action='cancel' data-of='{number}' aria-label='{name} video {number}'>{name}</button>"
    return (
        f"<li class='{job.state}{' watched' * watched}'><button class='show' data-action='job' data-of='{number}'>"
        f"<img src='{job.icon}' alt=''><span><b>{escape(settings.prompt) or 'no prompt'}</b><small>{details}</small></span></button>"
        f"{'' if job.over else remove}</li>"
    )


def history_list(entries: list[Entry], watched: Entry | None, unreadable: list[str]) -> str:
    cards = [_card(entry, entry == watched) for entry in entries]
    problems = "".join(f"<p class='none'>{escape(line)}</p>" for line in unreadable)
    if not cards:
        return f"<p class='none'>Finished videos are kept and listed here.</p>{problems}"
    return f"<div class='history'>{''.join(cards)}</div>{problems}"


def _card(entry: Entry, watched: bool) -> str:
    picture, quality, name = entry.thumbnail or entry.picture, entry.facts.quality, escape(entry.name)
    image = f"<img src='/gradio_api/file={quote(str(picture))}' alt='' loading='lazy'>" if picture else ""
    figures = f"{quality.psnr:.1f} dB · " if quality else ""
    return (
        f"<button class='card{' watched' * watched}' title='{name}' data-action='entry' data-of='{name}'>{image}"
        f"<b>{escape(entry.settings.prompt) or 'no prompt'}</b><small>{figures}speed-up {_speedup(entry.settings)}</small></button>"
    )


def _speedup(settings: Settings) -> str:
    return f"{settings.speedup:g}×" if settings.speedup > 1 else "off"
