"""The scripts in docs/parallel.md run as they stand, in two processes on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from .launching import needs_fork, together

pytestmark = needs_fork
PROMPTS = [f"a picture of {count} cherries" for count in range(5)]


def test_one_picture_on_two_gpus(tmp_path: Path):
    (prompts, said), (others, unsaid) = together("page.block", 0, str(tmp_path), joined=False)
    assert prompts == others and len(prompts) == 3
    assert ["measuring a curve" in line for line in said.splitlines()] == [True, False, False] and not unsaid
    assert said.count("14 skipped") == 2
    (expected,) = together("page.alone", str(tmp_path / "alone"), prompts, joined=False, processes=1)
    for number, pixels in enumerate(expected):
        made = list(Image.open(tmp_path / f"{number}.png").tobytes())
        assert len(made) == len(pixels) and max(abs(one - other) for one, other in zip(made, pixels, strict=True)) <= 1


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders with the jobs in them."""
    found = [tmp_path / "alone", tmp_path / "both"]
    for folder in found:
        folder.mkdir()
        jobs = [{"prompt": prompt, "seed": seed} for seed, prompt in enumerate(PROMPTS)]
        (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    return found


def test_a_queue_of_prompts(folders: list[Path]):
    """Each job is done once, by whichever process is free, and the pictures are those of a single process."""
    alone, both = folders
    together("page.block", 1, str(alone), joined=False, processes=1)
    (first, said), (second, also_said) = together("page.block", 1, str(both), (0, 0.5), joined=False)
    assert sorted(first[1:] + second) == PROMPTS and first[0] == PROMPTS[0], "the first process calibrates, then each job is done once"
    assert len(first) > len(second) > 0
    assert (said + also_said).count("14 skipped") == len(PROMPTS)
    pictures = sorted(path.name for path in alone.glob("*.png"))
    assert pictures == sorted(path.name for path in both.glob("*.png")) == [f"{number:04}.png" for number in range(len(PROMPTS))]
    assert all((alone / name).read_bytes() == (both / name).read_bytes() for name in pictures)
    assert len({(alone / name).read_bytes() for name in pictures}) == len(PROMPTS)


def test_a_queue_goes_on_where_it_was(folders: list[Path]):
    first, second = together("page.restarted", 1, str(folders[0]), joined=False)
    assert first + second == [PROMPTS[1]]
    assert (folders[0] / "0001.png").is_file()
