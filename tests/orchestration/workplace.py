"""A small store to work on, by commands in processes of their own and by assets in this one."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from assets.definitions import definitions_of
from assets.resources import Pipeline
from assets.steps import SHARDS
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

    def run(self, *command: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> str:
        """Run a command in this environment; what it wrote."""
        done = subprocess.run(
            [*command],
            cwd=ROOT,
            env=self.environment | dict(env or {}),
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
        return self.run("dagster", "asset", "materialize", "--select", f"key:{select}", *options, env=env)


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
