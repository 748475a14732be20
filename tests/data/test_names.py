"""Names that a terminal, FFmpeg or fsspec would take for something of their own are names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets import progress as assets_progress
from tests.data.layouts import write_video
from tps_pipeline import progress, tables
from tps_pipeline.cli.app import app
from tps_pipeline.cli.console import print_table
from tps_pipeline.report.terminal import leaderboard
from tps_pipeline.store import Store
from tps_pipeline.video.probe import probe

NAMES = ["[red]", "[/b]", "[bold]x[/]", ":smile:", "a[/red]b", "\\[x]", "[link=file:x]y"]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_tables_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]):
    print_table("scores", ["video"], [[name]])
    assert name in capsys.readouterr().out
    rows: dict[str, Any] = {f.name: [None] for f in tables.LEADERBOARD} | {
        "method": [name],
        "split": ["val"],
        "not_read": [0],
    }
    rows |= {name: [1] for name in ("videos", "score", "mean_psc", "action_accuracy")}
    out = Console(file=io.StringIO(), width=200)
    out.print(leaderboard(tables.conform(rows, tables.LEADERBOARD)))
    assert name in out.file.getvalue()  # type: ignore[attr-defined]


def test_names_that_are_no_text_are_shown_in_tables(capsys: pytest.CaptureFixture[str]):
    print_table("scores", ["video"], [["caf\udce9"]])
    assert "caf\\xe9" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_names_beside_bars_are_shown_as_they_are(name: str, tmp_path: Path):
    out = Console(file=io.StringIO(), width=200, force_terminal=True)
    made, _ = progress.bar(name, 3)
    out.print(made.make_tasks_table(made.tasks))
    out.print(assets_progress._table([assets_progress.Training(name, 3, lambda: tmp_path)]))
    assert out.file.getvalue().count(name) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_errors_are_shown_as_they_are(name: str):
    for command in (
        ["data", "validate", f"./{name}"],
        ["evaluate", "--gt", ".", "--pred", name],
        ["recipe", "check", name],
    ):
        result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
        assert type(result.exception) is SystemExit
        assert name in result.stderr


@pytest.mark.parametrize("name", ["12:30.mp4", "file:x.mp4", "a::b.mp4", "http:a.mp4", "-1.mp4", "%03d.mp4"])
def test_a_video_may_be_called_like_a_protocol(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "video.mp4", frames=3)
    (tmp_path / "video.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert (probe(Path(name)).status, probe(Path(name)).n_frames) == ("ok", 3)


@pytest.mark.parametrize("name", ["12:30", "a::b", "memory::x", "[red]"])
def test_a_store_may_be_called_like_a_protocol(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Store(name).write("a.parquet", tables.empty(tables.ACTIONS))
    assert (tmp_path / name / "a.parquet").is_file()
