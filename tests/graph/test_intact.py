"""What is read is what was recorded: files that were cut off, emptied, swapped or edited are named, never read."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.errors import StoreError
from tps_pipeline.graph import Run, Step, ingestion, make
from tps_pipeline.graph.making import PREVIEWED
from tps_pipeline.graph.promotion import refuses
from tps_pipeline.graph.reader import Reader
from tps_pipeline.lineage import Lineage, Work, find
from tps_pipeline.lineage.rows import shard_of
from tps_pipeline.outputs import (
    ACTIONS,
    FOLDERS,
    FRAMES,
    REMOVED,
    SHARDS,
    VIDEOS,
    Output,
    checkpoint,
    predictions,
    verdict,
)
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

NETWORK = checkpoint("network")
MADE = {ACTIONS: "train-000", FRAMES: "train-000", NETWORK: None}


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    """A store with a table, a file and a folder, as steps leave them."""
    made = Lineage(Store(tmp_path / "store"))
    (tmp_path / "frames.arrow").write_bytes(b"pictures" * 99)
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "model.safetensors").write_bytes(b"weights" * 99)
    (tmp_path / "network" / "log.csv").write_text("epoch,loss\n1,0.5\n")
    rows = pa.Table.from_pylist([{"video_id": "v1", "action": "lunge"}])
    written = {
        ACTIONS: made.store.write(ACTIONS.path("train-000"), tables.conform(rows, tables.ACTIONS)),
        FRAMES: made.store.keep(tmp_path / "frames.arrow", FRAMES.path("train-000")),
        NETWORK: made.store.keep(tmp_path / "network", "checkpoints/network/abc", unversioned={"log.csv"}),
    }
    for output, shard in MADE.items():
        made.record(Work(output.key, shard, (), (), "r"), written[output], run_id="run")
    return made


def read(lineage: Lineage, output: Output) -> object:
    run = Run(recipe.load("demo"), Path(), lineage)
    inputs = lineage.latest().inputs([(output.key, MADE[output])])
    reader = Reader(run, "test", (output,), (), inputs)
    return reader(output) if output is ACTIONS else reader.path(output)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def edited(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9] + b"otherwise")


def swapped(file: Path) -> None:
    """Another store's file of the same name, also with the times of the right one."""
    other = file.with_name("other")
    other.write_bytes(bytes(reversed(file.read_bytes())))
    shutil.copystat(file, other)
    other.replace(file)


@pytest.mark.parametrize("damage", [cut_off, emptied, edited, swapped])
@pytest.mark.parametrize("output", MADE, ids=lambda output: output.key)
def test_what_is_not_what_was_recorded_is_named_and_never_read(
    lineage: Lineage, output: Output, damage: Callable[[Path], None]
) -> None:
    read(lineage, output)  # once as it should be: what is known of it is not believed later
    (record,) = [r for r in lineage.latest().records.values() if r.asset == output.key]
    place = Path(lineage.store.full(record.path))
    damage(place / "model.safetensors" if place.is_dir() else place)
    for _ in range(2):
        with pytest.raises(StoreError, match="is not what was recorded") as error:
            read(Lineage(lineage.store), output)
        assert str(place) in str(error.value)
    asked = CliRunner().invoke(app, ["store", "check", "--store", lineage.store.root])
    assert asked.exit_code == 1
    assert asked.stdout.startswith(f"{record.name}: ")
    assert "3 outputs checked, 1 damaged or missing\n" in asked.stderr
    assert place.exists()
    removed = CliRunner().invoke(app, ["store", "check", "--remove", "--store", lineage.store.root])
    assert removed.exit_code == 1
    assert not place.exists()
    assert "is gone" in str(lineage.latest().why_stale(Work(output.key, MADE[output], (), (), "r")))


def test_a_whole_store_is_in_order_logs_may_differ_and_the_check_can_be_left_out(
    lineage: Lineage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(app, ["store", "check", "--store", lineage.store.root]).exit_code == 0
    folder = Path(lineage.store.full("checkpoints/network/abc"))
    (folder / "log.csv").write_text("epoch,loss\n")
    read(lineage, NETWORK)
    edited(folder / "model.safetensors")
    monkeypatch.setenv("TPS_VERIFY", "off")
    assert read(lineage, NETWORK) == folder


@pytest.mark.parametrize("damage", [cut_off, emptied, edited, swapped])
def test_what_is_damaged_is_not_shown_and_told_of_in_one_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    told: list[str] = []
    output = Output("numbers", pa.schema([("number", pa.int64())]))
    numbers = Step((output,), lambda _: pa.table({"number": list(range(3000))}))
    run = Run(recipe.load("demo"), Path(), Lineage(Store(tmp_path)), warn=told.append)
    assert make(run, numbers)[output].previews["numbers"]["number"].to_pylist() == list(range(PREVIEWED))
    file = tmp_path / output.path()
    damage(file)
    outcome = make(run, numbers)[output]
    assert outcome.kept
    assert outcome.previews == {}
    (line,) = told
    assert line.startswith("numbers is not shown: ")
    assert str(file) in line
    assert "\n" not in line


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ESTALE])
def test_a_disk_that_fails_is_told_of_in_one_line_and_nothing_is_recorded(tmp_path: Path, number: int) -> None:
    def fails(_: Reader) -> pa.Table:
        if failing:
            raise OSError(number, os.strerror(number), str(tmp_path / "somewhere"))
        return pa.table({"number": [1]})

    output, failing = Output("numbers", pa.schema([("number", pa.int64())])), True
    run = Run(recipe.load("demo"), Path(), Lineage(Store(tmp_path)))
    with pytest.raises(StoreError, match="run the same command again") as error:
        make(run, Step((output,), fails))
    assert str(error.value).startswith("numbers: ")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not run.lineage.records()
    failing = False
    assert make(run, Step((output,), fails))[output].made


def test_a_current_network_that_is_gone_is_not_defended(filled: Lineage) -> None:
    run = Run(recipe.load("demo"), Path(), filled, retraining=True)
    learner = SimpleNamespace(name="network", evaluate_reads=(), evaluate=worthless, figure="accuracy")
    step = SimpleNamespace(learner=learner)
    place = Path(filled.store.full("checkpoints/network/abc"))
    product = shutil.copytree(place, place.with_name("new"))
    shutil.rmtree(place)
    assert refuses(run, step, Work(NETWORK.key, None, (), (), ""), product) is None  # pyright: ignore


SHARD = "val-000"
FAILED = verdict(ACTIONS, "not_bad")


@pytest.fixture
def filled(lineage: Lineage) -> Lineage:
    """The same with a shard, a removal, a data folder, a verdict and predictions."""
    row: dict[str, Any] = {"video_id": "v1", "split": "val", "action": "lunge", "path": "v1.mp4"}
    row |= {"sha256": "", "bytes": 0, "mtime_ns": 0, "annotations": None}
    shard = tables.conform({name: [value] * 2 for name, value in row.items()}, tables.SHARD)
    put(lineage, SHARDS, lineage.store.write(SHARDS.path(SHARD), shard))
    put(lineage, VIDEOS, lineage.store.write(VIDEOS.path(SHARD), shard.select(["video_id", "path"])))
    put(lineage, ACTIONS, lineage.store.write(ACTIONS.path(SHARD), shard.select(["video_id", "action"])))
    guesses = predictions("voting")
    put(lineage, guesses, lineage.store.write(guesses.path(SHARD), shard.select(["video_id"])))
    removed = b'{"removed": "v9", "from": "val-001", "because": "", "videos": {"v9": ""}}'
    put(lineage, REMOVED, replace(lineage.store.write_bytes(REMOVED.path("v9"), removed), rows=1), "v9")
    put(lineage, FOLDERS, lineage.store.write_bytes(FOLDERS.path(SHARD), b'{"folder": "/data", "accepted": ""}'))
    problems = pa.table({"problem": ["v1 is bad"]}).cast(tables.PROBLEMS)
    written = lineage.store.write(FAILED.path(SHARD), problems)
    about = lineage.latest().inputs([ACTIONS.at(SHARD)])
    lineage.record(Work(FAILED.key, SHARD, about, (), ""), written, run_id="", metrics={"blocking": 1.0})
    return lineage


def put(lineage: Lineage, output: Output, written: Any, shard: str = SHARD) -> None:
    lineage.record(Work(output.key, shard, (), (), ""), written, run_id="")


def worthless(network: Path, reads: Reader) -> float:
    """A network's figure."""
    return 0.0


def judged(lineage: Lineage) -> object:
    run = Run(recipe.load("demo"), Path(), lineage, retraining=True)
    learner = SimpleNamespace(name="network", evaluate_reads=(), evaluate=worthless)
    product = Path(lineage.store.full("checkpoints/network/abc"))
    return refuses(run, SimpleNamespace(learner=learner), Work(NETWORK.key, None, (), (), ""), product)  # pyright: ignore


def drawn(lineage: Lineage) -> object:
    folder = Path(lineage.store.root)
    (folder / "v1.mp4").touch()
    asked = ["overlay", "v1", "--method", "voting", "--store", str(folder), "--data", str(folder)]
    done = CliRunner().invoke(app, [*asked, "--out", str(folder / "out.mp4")])
    pytest.fail(done.output.strip())


READERS: dict[str, tuple[str, Callable[[Lineage], object]]] = {
    "promotion": ("checkpoints/network/abc/model.safetensors", judged),
    "a refusal": (FAILED.path(SHARD), lambda lineage: pytest.fail(lineage.latest().refusals()[0])),
    "taking out": (SHARDS.path(SHARD), lambda lineage: ingestion.remove(lineage, SHARD, "")),
    "the shard of a video": (SHARDS.path(SHARD), lambda lineage: shard_of(lineage.latest(), "v1")),
    "what is known of a video": (ACTIONS.path(SHARD), lambda lineage: list(find(lineage, "v1"))),
    "an overlay": (predictions("voting").path(SHARD), drawn),
    "an overlay's video": (VIDEOS.path(SHARD), drawn),
}


@pytest.mark.parametrize("reader", READERS)
def test_who_reads_without_a_step_is_told_as_well(filled: Lineage, reader: str) -> None:
    path, ask = READERS[reader]
    file = Path(filled.store.full(path))
    content = file.read_bytes()
    at = content.rindex(b"v1") if b"v1" in content else len(content) // 2
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises((StoreError, pytest.fail.Exception), match="is not what was recorded") as error:
        ask(filled)
    place = file.parent if "checkpoints" in path else file
    assert str(place) in str(error.value)
    assert "\n" not in str(error.value)
