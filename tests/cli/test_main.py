"""The command line as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magcache.cli import plan
from magcache.cli.main import app

from .calls import refused, run, runner

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def started(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with arguments."""
    call = [sys.executable, "-c", code, *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=240, cwd=ROOT, env={**os.environ, **environment})


def test_every_command_is_there_with_an_example():
    found = run("--help")
    for name in ("curves", "models", "plan", "demo", "bench", "calibrate", "tune", "framepack", "import", "export"):
        assert f"magcache {name}" in found
        assert f"Example: magcache {name}" in " ".join(run(name, "--help").split())


def test_commands_import_what_they_need_when_they_are_called():
    """So that `magcache plan` works where only the extra `cli` is installed."""
    loaded = started("import sys, magcache.cli.main; print(*sys.modules)").stdout.split()
    assert "typer" in loaded and not {"torch", "httpx", "websocket", "optuna", "matplotlib", "PIL", "scipy"} & set(loaded)


@pytest.mark.parametrize("name", ["", "demo", "framepack", "bench", "calibrate", "tune", "models", "plan", "curves", "import", "export"])
def test_help_fits_into_80_columns(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*([name] if name else []), "--help").splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line or "..." in line for line in lines if "ARGS" not in line)


def test_the_version_is_that_of_the_package():
    assert run("--version") == f"magcache {PROJECT['version']}\n"


def test_a_module_can_be_run_like_the_command():
    for arguments in (("--version",), ("curves", "--json")):
        done = subprocess.run([sys.executable, "-m", "magcache", *arguments], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stdout, done.stderr) == (0, run(*arguments), "")
    done = subprocess.run([sys.executable, "-m", "magcache", "plan", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert "python -m magcache plan" in done.stdout


# What is not installed

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from magcache.__main__ import main
sys.argv[0] = "magcache"
main()
"""


def test_without_extras_the_command_says_which_one_to_install():
    assert PROJECT["scripts"]["magcache"] == "magcache.__main__:main"
    for names in (["typer", "rich", "click"], ["rich"]):
        done = started(WITHOUT.format(names=names), "curves")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f'Error: {names[0]} is not installed. Run: pip install "magcache[cli]"\n'
    assert "cli" in PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["bench", "flux.json"], "httpx", "bench"),
        (["bench", "flux.json"], "websocket", "bench"),
        (["calibrate", "flux.json"], "httpx", "bench"),
        (["tune", "flux.json"], "optuna", "tune"),
        (["tune", "flux.json"], "matplotlib", "tune"),
        (["demo"], "jinja2", "demo"),
        (["demo"], "torch", "demo"),
        (["models"], "torch", "diffusers"),
        (["framepack"], "gradio", "framepack"),
    ],
)
def test_a_command_that_needs_more_says_what(arguments: list[str], missing: str, extra: str, tmp_path: Path):
    done = started(WITHOUT.format(names=[missing]), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'Error: {missing} is not installed. Run: pip install "magcache[{extra}]"\n'
    assert extra in PROJECT["optional-dependencies"]


def test_a_clone_that_is_not_installed_is_named_by_its_folder():
    code = (
        "import importlib.metadata as metadata\n"
        "def distribution(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.distribution = distribution\n"
        "from magcache.cli.extras import missing; print(missing('rich', 'cli'))"
    )
    assert started(code).stdout == f'rich is not installed. Run: pip install "{ROOT}[cli]"\n'


# The shell


def completed(line: str) -> list[str]:
    """What the shell offers for a line that ends with the word to complete."""
    words = line.split(" ")
    shell = {"_MAGCACHE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return started("import sys; sys.argv[0] = 'magcache'; from magcache.__main__ import main; main()", **shell).stdout.split()


def test_the_shell_completes_curves_families_and_files():
    assert completed("magcache plan --curve wan2.2_t") == ["wan2.2_t2v_14B", "wan2.2_ti2v_5B", "wan2.2_ti2v_5B_i2v"]
    assert completed("magcache export qwen") == ["qwen_image", "qwen_image_edit"]
    assert completed("magcache import list.txt --family hunyuan_") == ["hunyuan_dit", "hunyuan_video"]
    assert "magcache/" in completed("magcache plan --curve magc")
    assert "magcache/curves/flux.json" in completed("magcache plan --curve magcache/curves/fl")
    assert completed("magcache plan --ret") == ["--retention"]


def test_completion_can_be_installed():
    assert all(option in run("--help") for option in ("--install-completion", "--show-completion"))


def test_ctrl_c_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "find_curve", interrupted)
    result = runner.invoke(app, ["plan", "--curve", "flux"])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Error: stopped by Ctrl-C.\n")


def test_a_wrong_option_is_an_error_of_use():
    assert "No such option" in refused("plan", "--curve", "flux", "--nothing", status=2)
