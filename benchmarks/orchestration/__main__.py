"""What orchestration costs: `make bench-orchestration` writes `docs/orchestration.md`.

A store of 99 shards, one tiny video each, is made by the whole graph; all figures but the demo's are taken on it. Times
are the best of some rounds, of whole commands in processes of their own where a command is named.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import yaml

from assets.dead_runs import PROCESS
from assets.definitions import definitions_of
from assets.resources import Pipeline
from assets.run import QUIET
from benchmarks.orchestration.ray_head import ray_head
from tps_pipeline import recipe
from tps_pipeline.cpu import cores
from tps_pipeline.data.synthetic import generate
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.store import Store

ROOT = Path(__file__).parent.parent.parent
EXECUTORS = ("in_process", "multiprocess", "ray")
PER_SHARD = ("videos", "annotations", "frames")
"""Ops over shards that need no network: seven assets, for `annotations` makes five."""
GOAL_NOTHING, GOAL_SHARE, GOAL_VIDEO = 8.0, 0.025, 12.0
"""Seconds of a run with nothing to do, share of the demo without anything computed, seconds for a new video."""


@dataclass(frozen=True)
class Workplace:
    """A data folder, a recipe, a store and a Dagster home."""

    folder: Path
    shards: int

    @property
    def pipeline(self) -> Pipeline:
        """What assets of this process work with."""
        data, recipe_name, store_root = (str(self.folder / name) for name in ("data", "recipe.yaml", "store"))
        return Pipeline(data=data, recipe_name=recipe_name, store_root=store_root)

    @property
    def lineage(self) -> Lineage:
        """The store's records as they are now."""
        return Lineage(Store(self.folder / "store"))

    def seconds(self, *command: str, executor: str = "in_process", ray: str = "") -> float:
        """How long a command takes that works on this."""
        environment = os.environ | {
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_MODULE_NAME": "assets.definitions",
            "TPS_DATA": str(self.folder / "data"),
            "TPS_RECIPE": str(self.folder / "recipe.yaml"),
            "TPS_STORE": str(self.folder / "store"),
            "TPS_EXECUTOR": executor,
            "TPS_GPUS": "0",
            "RAY_ADDRESS": ray,
        }
        begin = time.perf_counter()
        print(" ".join(command)[-110:], executor, file=sys.stderr)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return time.perf_counter() - begin

    def run(self) -> float:
        """`make run`."""
        return self.seconds(sys.executable, "-m", "assets.run")

    def materialize(self, ops: Sequence[str], shards: int, *, executor: str, ray: str) -> float:
        """`dagster asset materialize` of some ops over the first shards, of which nothing is due."""
        assets = [key for op in ops for key in ([op] if op != "annotations" else ANNOTATION_ASSETS)]
        first, last = self.pipeline.shards("train")[0], self.order()[shards - 1]
        dagster = Path(sys.executable).with_name("dagster")
        select = " or ".join(f'key:"{asset}"' for asset in assets)
        return self.seconds(
            *(str(dagster), "asset", "materialize", "--select", select, "--partition-range", f"{first}...{last}"),
            executor=executor,
            ray=ray,
        )

    def order(self) -> list[str]:
        """The shards as Dagster has them."""
        with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
            return list(instance.get_dynamic_partitions("shards"))

    def history(self) -> int:
        """Bytes that Dagster keeps."""
        return sum(path.stat().st_size for path in (self.folder / "home").rglob("*") if path.is_file())


ANNOTATION_ASSETS = [f"annotations/{name}" for name in ("actions", "labelled_frames", "people", "parts", "objects")]


def prepare(folder: Path, shards: int) -> Workplace:
    """A workplace of one tiny video a shard, whose networks train for a moment."""
    generate(folder / "data", videos=shards, seed=1, width=96, height=64, frames=6, classes=2, test_fraction=0.4)
    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["shards"] = {"videos_per_shard": 1, "val_fraction": 0.3}
    members = settings["video_action"]["members"]
    del (
        members["trajectory"],
        members["statistics"],
    )  # would have people detected in the training shards, which are many here
    for section in (settings["person_detector"], settings["part_detector"], members["swin"]):
        section["image_size"] = 64
        section["training"] |= {"epochs": 1, "batch_size": 8, "workers": 0}
    settings["methods"] = {"video_category": {"kind": "video_category"}}
    settings["submission"] = "video_category"
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    (folder / "home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "home")
    return Workplace(folder, shards)


def executor_rows(place: Workplace, rounds: int) -> list[str]:
    """Each executor's cost: a start, a step more, a shard more."""
    rows = []
    for executor in EXECUTORS:
        with ray_head(gpus=0) if executor == "ray" else nullcontext("") as address:
            one, ops, shards = (
                min(place.materialize(ops, count, executor=executor, ray=address) for _ in range(rounds))
                for ops, count in ((PER_SHARD[:1], 1), (PER_SHARD, 1), (PER_SHARD[:1], place.shards))
            )
        per_op, per_shard = (ops - one) / (len(PER_SHARD) - 1), (shards - one) / (place.shards - 1)
        rows.append(f"| `{executor}` | {one:.1f} s | {per_op:.2f} s | {1000 * per_shard:.0f} ms |")
    return [*rows, "| `k8s` | not measured: it needs a cluster | | |"]


def nothing_to_do(place: Workplace, shards: int) -> float:
    """Seconds, in this process, of a run over some shards of `PER_SHARD` in which all is up to date."""
    definitions = definitions_of(place.pipeline, dg.in_process_executor)
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(key.split("/")) for key in ("videos", "frames", *ANNOTATION_ASSETS)]
    order = place.order()
    tags = {"dagster/asset_partition_range_start": order[0], "dagster/asset_partition_range_end": order[shards - 1]}
    with dg.DagsterInstance.from_config(str(place.folder / "home")) as instance:
        begin = time.perf_counter()
        job.execute_in_process(asset_selection=keys, instance=instance, tags=tags, run_config=QUIET)
        return time.perf_counter() - begin


def one_more_video(place: Workplace) -> tuple[float, list[Record]]:
    """Seconds of the run after one test video was added, and what it made."""
    before = {record.record for record in place.lineage.records()}
    known = set(place.order())
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), videos=6, seed=2, width=96, height=64, frames=6, classes=2, test_fraction=0.4)
        video = next((Path(folder) / "test_videos").rglob("*.mp4"))
        shutil.copy(video, place.folder / "data" / "test_videos")
    seconds = place.run()
    made = [record for record in place.lineage.records() if record.record not in before]
    of_old = [record.name for record in made if record.partition in known]
    if of_old:
        raise SystemExit(f"one more video has old shards made anew: {', '.join(of_old)}")
    return seconds, made


def share_of_demo(home: Path, store: Path) -> tuple[float, float]:
    """Seconds from beginning to end of the demo's longest `make run`, and those of them in which nothing was computed.

    What an asset computes lies between the times of its lineage records; networks that train side by side count once.
    """
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = sorted(instance.get_run_records(), key=lambda run: run.start_time or 0)
    together: dict[str, list[dg.RunRecord]] = {}
    for run in runs:  # a `make run` is one process
        together.setdefault(run.dagster_run.tags.get(PROCESS, ""), []).append(run)
    longest = max(together.values(), key=lambda runs: (runs[-1].end_time or 0) - (runs[0].start_time or 0))
    wall = (longest[-1].end_time or 0) - (longest[0].start_time or 0)
    ids = {run.dagster_run.run_id for run in longest}
    return wall, wall - _computed(record for record in Lineage(Store(store)).records() if record.run_id in ids)


def _computed(records: Iterable[Record]) -> float:
    """Seconds in which one of some records was made."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted((each.started_at.timestamp(), each.finished_at.timestamp()) for each in records):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def page(place: Workplace, demo: Path, rounds: int) -> str:
    """Measure everything; the figures as Markdown."""
    first = place.run()
    idle = {count: min(nothing_to_do(place, count) for _ in range(rounds)) for count in (1, 10, place.shards)}
    whole = min(place.run() for _ in range(rounds))
    remembered = history(place)
    idleness = [
        "## Nothing to do",
        "",
        "| shards | seven assets over shards, in one process |",
        "|---|---|",
        *(f"| {count} | {taken:.2f} s |" for count, taken in idle.items()),
        "",
        f"`make run` as a whole, all assets over {place.shards} shards: **{whole:.1f} s**",
        f"(goal: {GOAL_NOTHING:.0f} s; {_held(whole <= GOAL_NOTHING)}). The first run, which made everything: "
        f"{first:.0f} s.",
        "",
    ]
    measured = [*executors(place, rounds), *idleness, *share(demo), *new_video(place), *remembered]
    return "\n".join([*heading(place, rounds), *measured])


def heading(place: Workplace, rounds: int) -> list[str]:
    """What was measured, of which commit, on what machine."""
    described = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return [
        "# What orchestration costs",
        "",
        f"Written by `make bench-orchestration`; do not edit. Best of {rounds}, on a store of {place.shards} shards",
        "of one tiny video each; the demo's share is taken from the records of its own run.",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- commit: {commit or 'unknown'}",
        f"- machine: {cores()} CPU cores, no GPU; load average {os.getloadavg()[2]:.1f} over the last 15 minutes",
        "",
    ]


def executors(place: Workplace, rounds: int) -> list[str]:
    """What each executor costs where nothing has to be made."""
    return [
        "## Executors",
        "",
        "`dagster asset materialize` with nothing to do: one asset and one shard, what another step adds (of an asset,",
        "or of several that are made together), and what another shard adds. The first is mostly Python starting.",
        "",
        "| `TPS_EXECUTOR` | one asset, one shard | each step more | each shard more |",
        "|---|---|---|---|",
        *executor_rows(place, rounds),
        "",
    ]


def share(demo: Path) -> list[str]:
    """How much of the demo's time nothing was computed in."""
    wall, beside = share_of_demo(demo / "store" / ".dagster", demo / "store")
    return [
        "## Share of the demo",
        "",
        f"Of {wall:.0f} s of the demo's run, {beside:.1f} s passed without anything being computed: "
        f"**{beside / wall:.1%}**",
        f"(goal: {GOAL_SHARE:.1%}; {_held(beside / wall <= GOAL_SHARE)}).",
        "",
    ]


def new_video(place: Workplace) -> list[str]:
    """What one video more takes, and what is made for it."""
    seconds, made = one_more_video(place)
    in_new_shard, longest = sum(each.partition is not None for each in made), sorted(made, key=_took)[:-6:-1]
    return [
        "## One new video",
        "",
        f"A video more in a store of {place.shards} shards took **{seconds:.1f} s**",
        f"(goal: {GOAL_VIDEO:.0f} s; {_held(seconds <= GOAL_VIDEO)}), {_computed(made):.1f} s of it computing,",
        "most for",
        ", ".join(f"`{each.asset}` ({_took(each):.1f} s)" for each in longest) + ".",
        f"{len(made)} outputs were made: {in_new_shard} of its own new shard, none of an old one, "
        f"{len(made) - in_new_shard} without shards.",
        "",
        ", ".join(f"`{asset}`" for asset in sorted({each.asset for each in made})) + ".",
        "",
    ]


def _took(record: Record) -> float:
    return (record.finished_at - record.started_at).total_seconds()


def history(place: Workplace) -> list[str]:
    """How much Dagster and the lineage remember of a run."""
    records = len(place.lineage.records())
    files = (place.folder / "store" / "lineage").glob("*.parquet")
    compact = sum(path.stat().st_size for path in files) / records
    sizes = [place.history()]
    for count in (1, place.shards):
        nothing_to_do(place, count)
        sizes.append(place.history())
    a_run, all_shards = sizes[1] - sizes[0], sizes[2] - sizes[1]
    return [
        "## History",
        "",
        "| | size |",
        "|---|---|",
        f"| Dagster, a run of seven assets over one shard | {a_run / 1000:.0f} kB |",
        f"| Dagster, each shard more in such a run | {(all_shards - a_run) / (place.shards - 1) / 1000:.1f} kB |",
        f"| lineage, a record after `tps lineage compact` | {compact:.0f} B |",
        "",
    ]


def _held(held: bool) -> str:
    return "held" if held else "**not held**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=99)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="the folder of a finished `make demo`")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "orchestration.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given.out.write_text(page(prepare(Path(folder), given.shards), given.demo, given.rounds))
    print(given.out.read_text())


if __name__ == "__main__":
    main()
