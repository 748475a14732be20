"""From what a few videos took to what all will take: time, disk, and a GPU's memory of each step, and all together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tps_pipeline.estimates.calibration import Calibration
from tps_pipeline.estimates.counts import Labels, amount, labelled
from tps_pipeline.graph import Graph, Run, Step
from tps_pipeline.graph.lost import manifest_of
from tps_pipeline.graph.plan import Plan
from tps_pipeline.outputs import SPLITS
from tps_pipeline.recipe import Recipe

GPUS = (1, 4, 8)
"""Numbers of GPUs that totals are given for."""
GPU_SPEED = 40e12
"""Floating-point operations a second that a GPU is taken for which is not there: about an eighth of what an A100 has in
mixed precision. Nothing of it was measured."""
TOGETHER = 0.9
"""What each of several GPUs does of what one alone does, taken for granted and not measured."""


@dataclass(frozen=True)
class Row:
    """What a step takes.

    Attributes:
        step: Its name.
        seconds: On this machine.
        bytes: On disk.
        flops: Floating-point operations of its networks.
        gpu_bytes: Of a GPU's memory, where it trains a network; None if that cannot be told.
        trains: Whether it trains a network.
        network: Whether a network computes that a GPU is for.
        tried: Whether all of it was run, a little, and nothing only counted.
        fails: Why nothing is known of it.
    """

    step: str
    seconds: float = 0.0
    bytes: float = 0.0
    flops: float = 0.0
    gpu_bytes: int | None = None
    trains: bool = False
    network: bool = False
    tried: bool = True
    fails: str | None = None


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        rows: Step by step, in the order of their making.
        stages: The steps that run as one, trainings side by side.
        calibration: What it follows from.
    """

    rows: Mapping[str, Row]
    stages: Sequence[Sequence[str]]
    calibration: Calibration

    @property
    def seconds(self) -> float:
        """Of the whole run on this machine: trainings of a stage side by side, without a GPU as many as cores."""
        at_once = 1 if self.calibration.gpu else self.calibration.cores
        total = 0.0
        for stage in self.stages:
            of = [self.rows[name] for name in stage]
            trained = [row.seconds for row in of if row.trains]
            total += sum(row.seconds for row in of) - sum(trained)
            total += max(sum(trained) / max(1, min(at_once, len(trained))), max(trained, default=0.0))
        return total

    def on_gpus(self, number: int) -> float:
        """Seconds with so many GPUs: networks divided among them, all else as here.

        Measured ones where there is a GPU; else by their operations at `GPU_SPEED`.
        """
        networks = [row for row in self.rows.values() if row.network and not row.fails]
        rest = sum(row.seconds for row in self.rows.values() if not row.network)
        one = sum(row.seconds if self.calibration.gpu else row.flops / GPU_SPEED for row in networks)
        return rest + one / (1 if number == 1 else number * TOGETHER)

    @property
    def bytes(self) -> float:
        """On disk."""
        return sum(row.bytes for row in self.rows.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "seconds": self.seconds,
            "bytes": self.bytes,
            "seconds_on_gpus": {str(number): self.on_gpus(number) for number in GPUS},
            "gpu": self.calibration.gpu,
            "cores": self.calibration.cores,
            "steps": [vars(row) for row in self.rows.values()],
        }


def estimated(run: Run, graph: Graph, plan: Plan, arriving: Mapping[str, pa.Table]) -> Estimate:
    """Say what a run takes that does what a plan says.

    Args:
        run: The run.
        graph: The steps of its recipe.
        plan: What it would do.
        arriving: The shards that it takes in first, by name (`tables.SHARD`).

    Raises:
        TpsError: There are no labelled training videos.
    """
    from tps_pipeline.estimates.kept import calibrated

    latest = run.lineage.latest()
    there = {shard: manifest_of(latest, shard) for shard in latest.shards(*SPLITS)}
    manifests = {shard: manifest for shard, manifest in there.items() if manifest is not None} | dict(arriving)
    labels = labelled(run.data, manifests)
    due: dict[str, set[str | None]] = {}
    for planned in plan.outputs:
        due.setdefault(planned.step.name, set()).update(planned.make, planned.follow)

    def share(step: Step) -> float:
        if not step.sharded:
            return float(bool(due[step.name]) or (step.learner is None and bool(arriving)))
        videos = {name: table.num_rows for name, table in manifests.items() if name.startswith(graph.splits[step.name])}
        made = due[step.name] | arriving.keys()
        return sum(count for name, count in videos.items() if name in made) / max(1, sum(videos.values()))

    return estimate(run.recipe, graph, manifests, labels, calibrated(run, graph, manifests, labels), share)


def estimate(
    recipe: Recipe,
    graph: Graph,
    manifests: Mapping[str, pa.Table],
    labels: Labels,
    calibration: Calibration,
    share: Callable[[Step], float] = lambda _: 1.0,
) -> Estimate:
    """Say what a run takes.

    Args:
        recipe: Its recipe.
        graph: The recipe's steps.
        manifests: All shards that there are or will be, by name (`tables.SHARD`).
        labels: Labelled frames and people of each labelled training video.
        calibration: What a few of the videos took.
        share: How much of a step there is to do, of all of its videos; all without.
    """
    rows = {}
    held_out = amount(manifests, labels, ["val"]).videos / max(1, calibration.held_out)
    for step in graph.steps:
        if done := share(step):
            splits = graph.splits[step.name] if step.sharded else step.splits
            much = amount(manifests, labels, splits)
            videos = (done if step.sharded else 1) * much.frames / calibration.density
            shards = math.ceil(videos / recipe.shards.videos_per_shard) if step.sharded else 0
            rows[step.name] = _row(step, calibration, shards, videos, held_out, recipe)
    stages = [[step.name for step in stage if step.name in rows] for stage in graph.stages]
    return Estimate(rows, stages, calibration)


def _row(step: Step, calibration: Calibration, shards: int, videos: float, held_out: float, recipe: Recipe) -> Row:
    cost = calibration.costs.get(step.name)
    if cost is None:
        return Row(step.name, network=step.gpu, fails=calibration.failed.get(step.name, "was not tried"))
    seconds = cost.fixed + cost.shard * shards + cost.video * videos
    disk = cost.shard_bytes * shards + cost.bytes * (videos if step.sharded else 1)
    if (tried := cost.tried) is None:
        network = step.gpu and not (step.learner and step.learner.alone)
        return Row(step.name, seconds, disk, flops=cost.flops * videos, network=network, tried=not cost.computed)
    assert step.learner
    minutes = _minutes(recipe.setting(step.learner.section))
    step_seconds = tried.step if tried.step is not None else (tried.flops or 0) / calibration.speed
    training = minutes * 60 if minutes else tried.batches * step_seconds
    training += 0 if minutes else tried.evaluations * tried.evaluation * held_out + tried.epochs * tried.saving
    flops = tried.batches * (tried.flops or 0)
    return Row(
        step.name, seconds + training, disk, flops, tried.memory, trains=True, network=True, tried=not cost.computed
    )


def _minutes(settings: Any) -> float | None:
    """The budget of a training in minutes, if that is what it has."""
    training = getattr(settings, "training", None) or getattr(getattr(settings, "detector", None), "training", None)
    return getattr(training, "minutes", None)
