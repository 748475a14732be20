"""A state for every detected part, by each method of the recipe, and each video's score."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.executors import GPU, INFERS
from assets.incremental import Force, each_shard
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS
from tps_pipeline import recipe
from tps_pipeline.methods import build

SCORED_WITH = (
    *(f"annotations/{table}" for table in ("actions", "labelled_frames", "people", "parts")),
    "frames",
    "video_actions",
)
"""What predictions are scored with."""


def method_predictions(name: str, settings: recipe.Method) -> dg.AssetsDefinition:
    """The predictions of a method, from its recipe entry."""
    method = build(settings)

    @dg.asset(
        key=["predictions", name],
        deps=[["checkpoints", name], *(key.split("/") for key in method.predict_reads)],
        group_name="predictions",
        description=f"A state for every detected part, by the method {name}.",
        partitions_def=SHARDS,
        backfill_policy=BACKFILL,
        pool=GPU,
        op_tags=INFERS,
    )
    def predictions(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        def predict(shard: str) -> pa.Table:
            return method.predict(pipeline.sources(shard), pipeline.checkpoint(name))

        yield from each_shard(context, pipeline, predict, sections=[f"methods.{name}"], force=config.force)

    return predictions


def psc_of(name: str, predictions: str) -> dg.AssetsDefinition:
    """Part state correctness of a method's or an ensemble's predictions, video by video."""

    @dg.asset(
        key=["psc", name],
        deps=[key.split("/") for key in (*SCORED_WITH, predictions)],
        group_name="evaluation",
        description=f"Part state correctness of each labelled video by {name}.",
        partitions_def=SHARDS,
        backfill_policy=BACKFILL,
    )
    def psc(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        def evaluate(shard: str) -> pa.Table:
            return score(pipeline, shard, pipeline.read(predictions, shard), name)

        yield from each_shard(context, pipeline, evaluate, sections=["frames.sample_stride"], force=config.force)

    return psc


def score(pipeline: Pipeline, shard: str, predictions: pa.Table, method: str) -> pa.Table:
    """Part state correctness of a shard's videos by some predictions."""
    from tps_pipeline import psc as metric
    from tps_pipeline.evaluation import sampled
    from tps_pipeline.parsing import annotated, predicted

    labelled, people, parts = (
        pipeline.read(f"annotations/{table}", shard) for table in ("labelled_frames", "people", "parts")
    )
    return metric.evaluate(
        annotated(sampled(labelled, pipeline.recipe.frames.sample_stride), people, parts),
        predicted(predictions, pipeline.frames(shard).index),
        actions=pipeline.read("annotations/actions", shard),
        video_actions=pipeline.read("video_actions", shard),
        method=method,
        split=shard.partition("-")[0],
    )
