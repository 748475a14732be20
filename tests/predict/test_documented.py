"""What docs/own_video.md and the README show of own videos runs as it stands, where a store and a video are."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline.cli.app import app
from tps_pipeline.predict.saving import KINDS

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "own_video.md").read_text()
PAGES = "\n".join(((ROOT / "README.md").read_text(), PAGE))
SHOWN = [line.partition("  #")[0].strip() for line in re.findall(r"^tps (?:predict|bundle) .*", PAGES, re.MULTILINE)]
ELSEWHERE = ("tps predict 0", "tps predict rtsp://camera/1 --allow-network --show", "tps predict me.mp4 --runtime onnx")
"""What needs a camera, or takes its time: tests of their own."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    make_store(folder / "demo" / "store", two_stage={"person_threshold": 0.0, "people_per_frame": 2})
    write_clip(folder / "me.mp4", 12)
    write_clip(folder / "long.mp4", 12)
    return folder


@pytest.mark.parametrize("example", blocks("python"))
def test_the_python_runs(example: str, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.delenv("TPS_STORE", raising=False)
    exec(compile(example, "own_video.md", "exec"), {})


def test_the_command_runs_and_its_json_has_the_fields_that_are_shown(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.delenv("TPS_STORE", raising=False)
    program, *arguments = shlex.split(next(line for line in PAGE.splitlines() if line.startswith("tps predict")))
    done = CliRunner().invoke(app, [*arguments, "--min-score", "0"])
    assert (program, done.exit_code) == ("tps", 0), done.output
    (written,) = place.glob("predictions/me_*.json")
    assert shape(json.loads(written.read_text())) == shape(json.loads(blocks("json")[0]))


def test_the_other_commands_run(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.delenv("TPS_STORE", raising=False)  # `make` sets it
    assert {*ELSEWHERE} < {*SHOWN}
    for command in [command for command in dict.fromkeys(SHOWN) if command not in ELSEWHERE]:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}: {done.output}"
        assert "tps: " not in done.stderr


def test_the_kinds_that_are_named_are_those_that_there_are():
    (row,) = re.findall(r"^\| `--save` \| with commas: (.*); else", PAGE, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [*KINDS]


def shape(value: Any) -> Any:
    """The names of the fields, of lists and of maps from names the first value's."""
    match value:
        case {"box": _} | {"video": _} | {"frame": _} | {"track": _} | {"probabilities": _}:
            return {name: shape(inside) for name, inside in value.items()}
        case dict() | list():
            values = [*value.values()] if isinstance(value, dict) else value
            return [shape(values[0])] if values else []
        case _:
            return None
