"""What holds for every command of `tps`: an example that parses, explained arguments, one default for folders."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tps_pipeline import __version__
from tps_pipeline.cli.app import app

ROOT = Path(__file__).parent.parent.parent


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands that do something, with their words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    else:
        for name, sub in below.items():
            yield from commands(sub, (*path, name))


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_explains_every_argument_and_ends_with_an_example_that_parses(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("TPS_DATA", "TPS_STORE", "TPS_RECIPE"):  # which make exports
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "demo" / "data" / "gt").mkdir(parents=True)
    (tmp_path / "demo" / "store" / "frames").mkdir(parents=True)
    (tmp_path / "demo" / "store" / "submission").mkdir()
    for file in ("demo/store/frames/test-000.arrow", "yolov7-tiny.pt"):
        (tmp_path / file).touch()
    command = COMMANDS[words]
    shown = re.sub(r"[\s│]+", " ", CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "200"}).stdout)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            assert parameter.help
            assert parameter.help in shown
    program, *example = shlex.split(command.epilog.removeprefix("Example: "))
    assert (program, *example[: len(words)]) == ("tps", *words)
    assert f"tps {' '.join(words)}" in shown
    command.make_context(" ".join(words), example[len(words) :])  # refuses what a user would see refused


def test_data_and_store_are_the_demo_s_unless_the_environment_names_others(tmp_path: Path) -> None:
    defaults = {
        (parameter.name, str(parameter.default), parameter.envvar)
        for command in COMMANDS.values()
        for parameter in command.params
        if parameter.name in ("data", "store")
    }
    assert defaults <= {
        ("store", "demo/store", "TPS_STORE"),
        ("data", "demo/data", "TPS_DATA"),
        ("data", "None", "TPS_DATA"),  # plans: of the demo's store the demo's, of others none
    }
    for named, store in ((str(tmp_path), str(tmp_path)), ("", str(Path("demo/store").absolute()))):
        refused = CliRunner().invoke(app, ["recipe", "check", "paper"], env={"TPS_STORE": named})
        assert f"not in {store}: these weights" in refused.stderr


@pytest.mark.parametrize("asked", [["--version"], ["-h"], ["data", "-h"], ["recipe", "check", "--help"]])
def test_version_and_help_are_where_they_are_looked_for(asked: list[str]) -> None:
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0
    assert done.stdout == f"tps {__version__}\n" if asked == ["--version"] else "Usage: " in done.stdout


def test_completion_can_be_installed() -> None:
    environment = {"_TPS_COMPLETE": "complete_bash", "COMP_WORDS": "tps lineage st", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from tps_pipeline.cli.app import app; app(prog_name='tps')"],
        cwd=ROOT, env={"PATH": "", **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["stale"], done.stderr


@pytest.mark.parametrize("old", ["sys.exit(1)", "raise SystemExit(3)"])
def test_make_refuses_a_python_that_is_too_old_and_leaves_nothing(tmp_path: Path, old: str) -> None:
    """A stand-in that answers the question for its version as an older Python does."""
    python = tmp_path / "python3.10"
    python.write_text(f"#!{sys.executable}\nimport sys\n{old}\n")
    python.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for _ in range(2):  # the second try says the same
        done = subprocess.run(
            ["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert f"{python} is not Python 3.11 or later: make PYTHON=python3.12" in done.stderr
        assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        (
            "evaluate --gt tests/golden/psc/case1 --pred tests/golden/psc/case1",
            {"dagster", "torch", "pandas", "scipy", "pyarrow.compute"},
        ),
        ("recipe check paper", {"dagster", "torch", "pandas", "scipy"}),
        ("data validate tests/golden", {"dagster", "torch"}),
    ],
)
def test_heavy_libraries_load_where_they_compute(command: str, heavy: set[str]):
    code = (
        "import sys\nfrom tps_pipeline.cli.app import app\n"
        f"try: app({shlex.split(command)!r})\nexcept SystemExit: pass\nprint('loaded', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not heavy & {*done.stdout.partition("loaded")[2].split()}
