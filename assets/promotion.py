"""Retraining: a new network takes the current one's place only if it is not worse on the same validation shards.

The current network is the newest record of `checkpoints/<name>`. One that did not take its place is kept and recorded
as `candidates/<name>`, and is not trained again until what it was made from changes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import dagster as dg
import pyarrow as pa

from assets.predictions import SCORED_WITH, score
from assets.resources import Pipeline
from tps_pipeline import checkpoint, tables
from tps_pipeline.lineage import Snapshot, Work
from tps_pipeline.methods import build

RETRAINING = "tps/retraining"
"""The tag of runs in which new shards are a reason to train again, and the current networks are defended."""


def defender(context: dg.AssetExecutionContext, pipeline: Pipeline, name: str) -> "Defender | None":
    """What defends a network's place in this run; outside of a retraining, training promotes at once."""
    return Defender(pipeline, name, context.run.run_id) if RETRAINING in context.run.tags else None


@dataclass(frozen=True)
class Defender:
    """Compares a candidate with the current network (an `assets.incremental.Referee`)."""

    pipeline: Pipeline
    name: str
    run_id: str

    def has_refused(self, latest: Snapshot, work: Work) -> str | None:
        """Whether the candidate that this work would make has been refused before."""
        last = latest.records.get((f"candidates/{self.name}", None))
        if last is None or last.path != self._path(work):
            return None
        return f"a candidate made from the same was refused on {last.finished_at:%Y-%m-%d}, see {last.path}"

    def refuses(self, latest: Snapshot, work: Work, product: Path) -> str | None:
        """Put a candidate aside that is worse than the current network, or that nothing says is not."""
        current = latest.records.get(work.key)
        if current is None:
            return None
        figure, shards = measure_of(self.pipeline, self.name)
        if not shards:
            why = f"the current {self.name} stays: no validation shard has all that it is compared on"
            return self._put_aside(work, product, why, {})
        before = value(self.pipeline, self.name, self.pipeline.store.local(current.path), shards)
        after = value(self.pipeline, self.name, product, shards)
        if after >= before:
            return None
        why = f"the current {self.name} stays: {figure} {after:.4f} of the new one, {before:.4f} of the current one"
        return self._put_aside(work, product, f"{why}, on {', '.join(shards)}", {"before": before, "after": after})

    def _put_aside(self, work: Work, product: Path, why: str, figures: dict[str, float]) -> str:
        metrics = checkpoint.metrics(product) | figures
        written = self.pipeline.store.keep(product, self._path(work), unversioned=checkpoint.LOGS)
        candidate = replace(work, asset=f"candidates/{self.name}")
        self.pipeline.lineage.record(candidate, written, run_id=self.run_id, metrics=metrics)
        return why

    def _path(self, work: Work) -> str:
        return f"candidates/{self.name}/{work.digest}"


def measure_of(pipeline: Pipeline, name: str) -> tuple[str, list[str]]:
    """The figure that networks of a name are compared by, and the validation shards that have all it takes."""
    if name == "video_action":
        figure, reads = "accuracy", ("videos",)
    elif name in pipeline.recipe.methods:
        figure, reads = "mean PSC", (*SCORED_WITH, *build(pipeline.recipe.methods[name]).predict_reads)
    else:
        figure, reads = "AP", (f"datasets/{name.removesuffix('_detector')}", "frames")
    made = pipeline.lineage.latest().records
    ready = [
        shard
        for shard in pipeline.shards("val")
        if all((asset, shard) in made or (asset, None) in made for asset in reads)
    ]
    return figure, ready


def value(pipeline: Pipeline, name: str, network: Path, shards: list[str]) -> float:
    """How good a checkpoint is on some shards, by the figure of `measure_of`."""
    if name == "video_action":
        from tps_pipeline import video_action

        videos = pa.concat_tables(pipeline.read("videos", shard) for shard in shards).unify_dictionaries()
        found = video_action.predict(network, videos, pipeline.data_folder)
        named = dict(zip(found["video_id"].to_pylist(), found["action"].to_pylist(), strict=True))
        true = zip(videos["video_id"].to_pylist(), videos["action"].to_pylist(), strict=True)
        return mean(named[video] == action for video, action in true)
    if name in pipeline.recipe.methods:
        method = build(pipeline.recipe.methods[name])
        scored = [score(pipeline, s, method.predict(pipeline.sources(s), network), name) for s in shards]
        return float(pa.concat_tables(scored)["psc"].to_numpy().mean())
    from tps_pipeline.detection.train import CHECKPOINT, validate

    dataset = f"datasets/{name.removesuffix('_detector')}"
    samples = pa.concat_tables(pipeline.read(dataset, s) for s in shards).cast(tables.SAMPLES).unify_dictionaries()
    return validate(network / CHECKPOINT, samples, [pipeline.frames(shard) for shard in shards])["ap"]
