"""Runs that are killed in the middle: the next one goes on from there and ends with the very same tables."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import torch
import yaml

from assets.steps import SHARDS
from tests.disturbed import copy, nothing_is_left, stored, unrestricted, versions
from tests.orchestration.workplace import Workplace, make_sources
from tests.workplace import ROOT, make, pipeline
from tps_pipeline.lineage import Lineage
from tps_pipeline.store import Store

RUN = [sys.executable, "-m", "assets.run"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace in which the whole graph ran once."""
    made = tmp_path_factory.mktemp("undisturbed")
    # Two shards and more of each split, networks that train for some epochs.
    methods = {"video_category": {"kind": "video_category"}}
    make(made, videos_per_shard=3, epochs=5, methods=methods, submission="video_category")
    subprocess.run(RUN, cwd=ROOT, env=unrestricted(made), check=True, timeout=900)
    return made


def kill_when(condition: Callable[[], bool], command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Start a run and kill it, and it alone, at the moment that a condition holds; see all that it started end, too."""
    run = psutil.Popen(command, cwd=ROOT, env=variables, start_new_session=True)
    while not condition():
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    started = run.children(recursive=True)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive


def test_a_run_killed_in_extraction_training_and_prediction_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = copy(undisturbed, tmp_path / "disturbed")
    shards = len(stored(undisturbed, "frames/*.arrow"))

    kill = partial(kill_when, command=RUN, variables=unrestricted(folder))
    kill(lambda: bool(stored(folder, "frames/*.arrow") and stored(folder, ".scratch/*/*.arrow")))
    assert 0 < len(stored(folder, "frames/*.arrow")) < shards

    kill(lambda: bool(stored(folder, ".work/checkpoints/*/*/resume.ckpt")))
    epochs = {path.parts[-3]: torch.load(path)["history"] for path in stored(folder, ".work/checkpoints/*/*/*.ckpt")}
    assert epochs

    kill(lambda: bool(stored(folder, "detections/two_stage/*.parquet")))
    assert len(stored(folder, "detections/two_stage/*")) < len(stored(undisturbed, "detections/two_stage/*"))

    subprocess.run(RUN, cwd=ROOT, env=unrestricted(folder), check=True, timeout=900)
    assert versions(folder) == versions(undisturbed)
    # What a killed run had finished was not made again: one record an output, and the epochs' own durations.
    assert len(Lineage(Store(folder / "store")).records()) == len(Lineage(Store(undisturbed / "store")).records())
    for network, rows in epochs.items():
        (log,) = stored(folder, f"checkpoints/{network}/*/log.csv")
        seconds = [row["seconds"] for row in csv.DictReader(log.read_text().splitlines())]
        assert seconds[: len(rows)] == [str(row["seconds"]) for row in rows]
        assert len(seconds) == 5
    nothing_is_left(folder)


def test_training_by_two_processes_that_is_killed_goes_on(workplace: Workplace, tmp_path: Path) -> None:
    settings = yaml.safe_load((workplace.folder / "recipe.yaml").read_text())
    settings["video_action"]["members"]["swin"]["training"] |= {"batch_size": 1, "global_batch": 2, "epochs": 5}
    (workplace.folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    workplace.env["TPS_PROCESSES"] = "2"
    disturbed = Workplace(tmp_path / "disturbed", workplace.env)
    shutil.copytree(workplace.folder, disturbed.folder)
    workplace.materialize("checkpoints/video_action")

    train = ["dagster", "asset", "materialize", "--select", "key:checkpoints/video_action"]
    kill_when(lambda: bool(stored(disturbed.folder, ".work/**/resume.ckpt")), train, disturbed.environment)
    (resume,) = stored(disturbed.folder, ".work/**/resume.ckpt")
    epochs = torch.load(resume)["history"]
    disturbed.materialize("checkpoints/video_action")
    assert (
        versions(disturbed.folder)["checkpoints/video_action"] == versions(workplace.folder)["checkpoints/video_action"]
    )
    (log,) = stored(disturbed.folder, "checkpoints/video_action/*/log.csv")
    seconds = [row["seconds"] for row in csv.DictReader(log.read_text().splitlines())]
    assert seconds[: len(epochs)] == [str(row["seconds"]) for row in epochs]
    assert len(seconds) == 5


def test_the_step_of_a_killed_ray_worker_is_begun_again_and_the_run_ends_as_if_undisturbed(
    tmp_path: Path, cluster: str
) -> None:
    # So many shards that it takes a while.
    folder = make(tmp_path, videos=40, videos_per_shard=2)
    workplace, variables = Workplace(folder), {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": cluster, "TPS_GPUS": "0"}
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        make_sources(pipeline(folder), instance)
        first, *_, last = instance.get_dynamic_partitions(str(SHARDS.name))
    undisturbed = versions(folder)
    for path in stored(folder, "frames/*.arrow"):
        path.unlink()
    shards = sorted(name.removeprefix("frames/") for name in undisturbed if name.startswith("frames/"))
    records = len(workplace.lineage.records())
    command = ["dagster", "asset", "materialize", "--select", "frames", "--partition-range", f"{first}...{last}"]
    run = psutil.Popen(command, cwd=ROOT, env=workplace.environment | variables, stderr=subprocess.DEVNULL)
    worker = psutil.Process(wait_until(lambda: worker_of_newest_run(folder)))
    wait_until(lambda: stored(folder, "frames/*.arrow"))
    worker.kill()
    worker.wait(30)
    done = stored(folder, "frames/*.arrow")
    assert 0 < len(done) < len(shards)
    times = [path.stat().st_mtime_ns for path in done]
    assert run.wait(timeout=300) == 0
    assert versions(folder) == undisturbed
    assert [path.stat().st_mtime_ns for path in done] == times
    # Killed between a file and its record, a shard has only its old record, which says the same of it.
    assert len(workplace.lineage.records()) - records in (len(shards) - 1, len(shards))


def worker_of_newest_run(folder: Path) -> int | None:
    """The process that computes the newest run's step, once it has begun."""
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        (record,) = instance.get_run_records(limit=1)
        begun = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_START)
        return begun[0].get_dagster_event().pid if begun and not record.dagster_run.is_finished else None


def wait_until(look: Callable[[], Any]) -> Any:
    """What is found, once it is there."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.002)
    raise TimeoutError
