"""Finished videos in a folder of the user's: each in a folder of its own, with its settings, its pictures and its report."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image

from ..documents import mapping, read_text
from ..errors import SettingsError
from .facts import Facts
from .settings import Settings, Task

FORMAT = "magcache.framepack"
_MAX_BYTES = 2**24
_PICTURE, _LAST_PICTURE = "picture.png", "last_picture.png"


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished video."""

    folder: Path
    settings: Settings
    facts: Facts

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def video(self) -> Path:
        return self.folder / f"{self.name}.mp4"

    @property
    def plain_video(self) -> Path | None:
        """The same video without MagCache."""
        return self._there(f"{self.name}.without.mp4")

    @property
    def thumbnail(self) -> Path | None:
        return self._there("thumbnail.webp")

    @property
    def figure(self) -> Path | None:
        """The report as a picture."""
        return self._there("report.png")

    @property
    def comparison(self) -> Path | None:
        """The worst frame with and without MagCache."""
        return self._there("comparison.png")

    @property
    def picture(self) -> Path | None:
        return self._there(_PICTURE)

    @property
    def last_picture(self) -> Path | None:
        return self._there(_LAST_PICTURE)

    def _there(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.is_file() else None


class History:
    """The finished videos of a folder, the newest first. Safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Reads what is there; `unreadable` has a line for each settings file that is not understood. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.unreadable: list[str] = []
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        for each in sorted((path for path in folder.iterdir() if (path / f"{path.name}.json").is_file()), reverse=True):
            try:
                self._entries.append(_read(each))
            except SettingsError as error:
                self.unreadable.append(str(error))

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def find(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.name == name), None)

    def add(self, task: Task, facts: Facts, write: Callable[[Path, str], None]) -> Entry:
        """Keep a video: `write` is given a folder and a name, and puts the files there. Raises `OSError`; then nothing is left behind."""
        now = datetime.now().astimezone()
        name = self._free_name(f"{now:%Y%m%d-%H%M%S}-{task.settings.seed}")
        part = self.folder / f".{name}.part"
        part.mkdir()
        try:
            write(part, name)
            task.picture.convert("RGB").save(part / _PICTURE)
            if task.last_picture:
                task.last_picture.convert("RGB").save(part / _LAST_PICTURE)
            made = {"format": FORMAT, "created": now.isoformat(timespec="seconds")}
            document = {**made, "settings": task.settings.to_json(), "facts": facts.to_json()}
            (part / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            part.rename(self.folder / name)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        entry = Entry(self.folder / name, task.settings, facts)
        with self._lock:
            self._entries.insert(0, entry)
        return entry

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while (self.folder / name).exists():
            number += 1
            name = f"{wanted}-{number}"
        return name


def open_picture(path: Path | None) -> Image.Image | None:
    return Image.open(path).convert("RGB") if path else None


def _read(folder: Path) -> Entry:
    """Raises `SettingsError`."""
    path = folder / f"{folder.name}.json"
    try:
        document = mapping(json.loads(read_text(path, _MAX_BYTES)))
        if document.get("format") != FORMAT:
            raise SettingsError(f'expected a JSON object with "format": "{FORMAT}"')
        return Entry(folder, Settings.from_json(mapping(document.get("settings"))), Facts.from_json(mapping(document.get("facts"))))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise SettingsError(f"{path.name} cannot be read as the settings of a video: {error}") from None
