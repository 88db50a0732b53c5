"""Files that must be there, and reports that must not be overwritten."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from magcache.cli.common import UsageError
from magcache.cli.files import existing_file, free_file, numbered, report_folder

from .calls import refused


@pytest.mark.parametrize("command", ["bench", "calibrate", "tune"])
def test_a_workflow_that_is_not_there_is_called_missing(command: str, tmp_path: Path):
    missing = str(tmp_path / "flux.json")
    assert refused(command, missing, status=2).startswith(f"Error: There is no file '{missing}'.")
    assert "is a folder, not a file" in refused(command, str(tmp_path), status=2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_or_not(tmp_path: Path):
    (tmp_path / "here").write_text("")
    assert existing_file(tmp_path / "here") == tmp_path / "here"
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "there", "There is no file"), (tmp_path / ("x" * 5000), "no file|cannot be")):
        with pytest.raises(UsageError, match=said):
            existing_file(path)


def test_names_beside_a_path_are_numbered():
    assert [path.name for path in islice(numbered(Path("flux.bench")), 3)] == ["flux.bench", "flux.bench-2", "flux.bench-3"]
    assert [path.name for path in islice(numbered(Path("flux.tuned.json")), 2)] == ["flux.tuned.json", "flux.tuned-2.json"]
    assert [*islice(numbered(Path()), 2)][1].name == f"{Path.cwd().name}-2"


@pytest.mark.parametrize("kept", ["index.html", "result.json"])
def test_a_report_is_written_beside_one_that_is_there_and_says_so(kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wanted = tmp_path / "report"
    assert report_folder(wanted) == wanted
    for folder in (wanted, tmp_path / "report-2"):
        folder.mkdir()
        (folder / kept).write_text("")
    assert capsys.readouterr().err == ""
    assert report_folder(wanted) == tmp_path / "report-3"
    printed = capsys.readouterr()
    assert (
        printed.out == "" and f"{wanted} holds an earlier report, which is kept. This one goes to {tmp_path / 'report-3'}." in printed.err
    )


def test_a_folder_without_a_report_is_used(tmp_path: Path):
    (tmp_path / "study.jsonl").write_text("")
    assert report_folder(tmp_path) == tmp_path


def test_a_file_that_is_there_is_kept(tmp_path: Path):
    (tmp_path / "flux.tuned.json").write_text("")
    assert free_file(tmp_path / "flux.tuned.json") == tmp_path / "flux.tuned-2.json"
