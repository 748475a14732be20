"""Several runs at once, each a process of its own on one Dagster instance and one store."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tests.workplace import ROOT, environment, make, pipeline
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.store import Store


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    folder = make(tmp_path)
    start(folder, "key:shards").wait(300)
    return folder


def start(folder: Path, select: str, *options: str) -> subprocess.Popen[bytes]:
    command = ["-m", "dagster", "asset", "materialize", "--select", select, *options]
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment(folder) | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def records(folder: Path, name: str) -> list[Record]:
    return [r for r in Lineage(Store(pipeline(folder).store_root)).records() if r.name == name]


def test_of_two_runs_on_one_shard_one_makes_it_whole(workplace: Path):
    runs = [start(workplace, "key:videos", "--partition", "test-000") for _ in range(3)]
    assert [run.wait(300) for run in runs] == [0, 0, 0]
    (made,) = records(workplace, "videos/test-000")
    assert Store(pipeline(workplace).store_root).read(made.path).num_rows == made.rows


def test_the_pool_holds_across_processes(workplace: Path):
    """Both assets name the actions' and states' vocabulary first; then two of the pool's steps start at once."""
    for select in ("key:videos", 'group:"source"'):
        for shard in ("train-000", "train-001", "val-000", "test-000"):
            start(workplace, select, "--partition", shard).wait(300)
    start(workplace, "key:vocabulary/actions or key:vocabulary/states").wait(300)
    runs = [start(workplace, f"key:checkpoints/{name}") for name in ("video_category", "video_action")]
    assert [run.wait(600) for run in runs] == [0, 0]
    with dg.DagsterInstance.from_config(str(workplace / "home")) as instance:
        steps = [
            (step.start_time, step.end_time)
            for run in instance.get_run_records()
            for step in instance.get_run_step_stats(run.dagster_run.run_id)
            if step.step_key.startswith("checkpoints__")
        ]
    (_, first_end), (second_start, _) = sorted(steps)
    assert first_end is not None
    assert second_start is not None
    assert first_end <= second_start
