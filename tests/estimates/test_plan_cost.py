"""`tps recipe plan --cost`: what a whole run takes, from a few videos; and that no training step waits for a device."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.data.synthetic import generate
from tps_pipeline.estimates import calibration, kept
from tps_pipeline.estimates.calibration import line
from tps_pipeline.estimates.estimate import Estimate, Row
from tps_pipeline.graph import Run
from tps_pipeline.learners import learners_of
from tps_pipeline.lineage import Lineage
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.training import loop

pytestmark = pytest.mark.whole

aten = torch.ops.aten
NUMBERS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.bincount.default,
    aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default, aten.is_nonzero.default,
    aten.equal.default, aten.repeat_interleave.Tensor, aten.lift_fresh.default,
}  # fmt: skip
"""What a GPU is waited for: numbers and shapes that depend on what it computes, and to hand it Python's numbers."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""The same, where an index is a mask."""


class Waits(TorchDispatchMode):
    """Counts for what a GPU would be waited for; an optimiser keeps its own numbers on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.paused = False

    def pause(self, *_: Any) -> None:
        self.paused = True

    def go_on(self, *_: Any) -> None:
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = func in INDEXED and any(index is not None and index.dtype == torch.bool for index in args[1])
        self.asked[str(func)] += not self.paused and (func in NUMBERS or masked)
        return func(*args, **kwargs or {})


def counting(training: loop.Training, batch: Any, position: int, waits: dict[str, Counter[str]]) -> Any:
    """Take a step; what is asked for is counted from the second one on, as the first finds what is then kept."""
    name = training.folder.parent.name
    taken = "taken" in vars(training)
    vars(training)["taken"] = True
    mode = Waits()
    plain = training.optimizer.optimizer
    hooks = plain.register_step_pre_hook(mode.pause), plain.register_step_post_hook(mode.go_on)
    with mode:
        parts = take(training, batch, position)
    for hook in hooks:
        hook.remove()
    if taken:
        waits.setdefault(name, Counter()).update(mode.asked)
    return parts


take = loop.Training.take


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "data"
    generate(folder, videos=24, seed=3, width=128, height=96, frames=16, classes=3, test_fraction=0.25)
    return folder


@pytest.fixture(scope="module")
def planned(data: Path) -> Iterator[tuple[dict[str, Any], dict[str, Counter[str]]]]:
    """What the command says, and what the second and later steps of each training asked for."""
    waits: dict[str, Counter[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
        patch.setattr(calibration, "SECONDS", 0.01)
        patch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
        patch.setattr(loop.Training, "take", partialmethod(counting, waits=waits))
        yield command(data, "--json"), waits


def command(data: Path, *options: str) -> Any:
    arguments = [
        "recipe",
        "plan",
        "demo",
        "--data",
        str(data),
        "--store",
        str(data.parent / "store"),
        "--cost",
        *options,
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in options else result.stdout


def test_every_step_is_estimated(planned: tuple[dict[str, Any], Any]):
    cost = planned[0]["cost"]
    steps = {row["step"]: row for row in cost["steps"]}
    assert set(steps) == {step.name for step in graph_of(recipe.load("demo")).steps}
    assert [row["fails"] for row in steps.values() if row["fails"]] == []
    trained = {name for name, row in steps.items() if row["trains"]}
    assert len(trained) == sum(not learner.alone for learner in learners_of(recipe.load("demo")))
    assert all(steps[name]["gpu_bytes"] > 1e6 and steps[name]["flops"] > 1e8 for name in trained)
    assert cost["seconds"] > sum(steps[name]["seconds"] for name in trained) / cost["cores"]
    alone, eight = cost["seconds_on_gpus"]["1"], cost["seconds_on_gpus"]["8"]
    assert eight < alone


def test_no_training_step_waits_for_its_device(planned: tuple[Any, dict[str, Counter[str]]]):
    trained = [learner for learner in learners_of(recipe.load("demo")) if not learner.alone]
    assert len(planned[1]) == len(trained)
    assert {name: +asked for name, asked in planned[1].items() if +asked} == {}


def test_a_calibration_is_kept(planned: Any, data: Path, monkeypatch: pytest.MonkeyPatch):
    def again(*_: Any) -> None:
        pytest.fail("calibrated again")

    monkeypatch.setattr(kept, "calibrate", again)
    shown = command(data)
    assert "in all" in shown
    rows = [text for text in shown.splitlines() if text.startswith("checkpoints/person_detector ")]
    assert any(text.rstrip().endswith("MB") for text in rows)


def test_what_was_calibrated_beside_other_work_is_told_of_and_not_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    found = calibration.Calibration({}, {}, 1, 1.0, cores=2, gpu=None, speed=1e9)
    run = Run(recipe.load("demo"), data, Lineage(Store(tmp_path / "store")), warn=told.append)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = {"video_id": "a", "split": "train", "action": "push_up", "path": "a.mp4", "sha256": "0"}
    rows = pa.Table.from_pylist([row | {"bytes": 1, "mtime_ns": 1, "annotations": "0"}])
    manifests = {"train-000": tables.conform(rows, tables.SHARD)}

    def calibrate(*_: Any) -> calibration.Calibration:
        return found

    monkeypatch.setattr(kept, "calibrate", calibrate)
    for load, lines, files in ((99.0, 1, 0), (0.0, 1, 1)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load))
        assert kept.calibrated(run, graph_of(run.recipe), manifests, {"a": (1, 1)}) == found
        assert len(told) == lines
        assert len([*(tmp_path / "cache").rglob("*.json")]) == files
    assert "load 99.0" in told[0]


def test_nothing_is_written_into_the_store(planned: Any, data: Path):
    assert not (data.parent / "store").exists() or not [*(data.parent / "store").rglob("*.parquet")]


def test_a_line_goes_through_two_numbers_of_videos():
    assert line([(1, 3.0), (4, 9.0), (4, 9.0)]) == (1.0, 2.0)
    assert line([(4, 8.0)]) == (0.0, 2.0)
    assert line([(1, 5.0), (4, 4.0)]) == (5.0, 0.0)  # noise


@pytest.mark.parametrize(("gpu", "seconds"), [(None, 10 + max(60, 100 / 2)), ("a GPU", 10 + 100)])
def test_trainings_of_a_stage_are_side_by_side_without_a_gpu(gpu: str | None, seconds: float):
    told = calibration.Calibration({}, {}, 1, 1.0, cores=2, gpu=gpu, speed=1e9)
    rows = {
        "frames": Row("frames", 10.0),
        "a": Row("a", 60.0, trains=True, network=True, flops=4e13),
        "b": Row("b", 40.0, trains=True, network=True, flops=4e13),
    }
    estimate = Estimate(rows, [["frames"], ["a", "b"]], told)
    assert estimate.seconds == seconds
    alone = 10 + (100 if gpu else 8e13 / 40e12)
    assert estimate.on_gpus(1) == pytest.approx(alone)
    assert estimate.on_gpus(4) == pytest.approx(10 + (alone - 10) / 3.6)
