"""Where people and their parts are, and what each video shows."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.executors import GPU, INFERS
from assets.incremental import Force, each_shard
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS
from tps_pipeline.checkpoint import WEIGHTS


@dg.asset(
    key=["detections", "two_stage"],
    deps=["frames", ["checkpoints", "person_detector"], ["checkpoints", "part_detector"]],
    group_name="detections",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
    pool=GPU,
    op_tags=INFERS,
)
def two_stage(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
    """People on each sampled frame, then the ten parts on each person's crop."""

    def detect_shard(shard: str) -> pa.Table:
        from tps_pipeline.detection.two_stage import detect

        return detect(
            pipeline.frames(shard),
            pipeline.checkpoint("person_detector") / WEIGHTS,
            pipeline.checkpoint("part_detector") / WEIGHTS,
            settings=pipeline.recipe.two_stage,
        )

    yield from each_shard(context, pipeline, detect_shard, sections=["two_stage"], force=config.force)


@dg.asset(
    key=["detections", "single_stage"],
    deps=["frames", ["checkpoints", "single_stage_detector"]],
    group_name="detections",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
    pool=GPU,
    op_tags=INFERS,
)
def single_stage(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """People and parts on each sampled frame at once, then parts given to people."""

    def detect_shard(shard: str) -> pa.Table:
        from tps_pipeline.detection.single_stage import detect

        checkpoint = pipeline.checkpoint("single_stage_detector") / WEIGHTS
        return detect(pipeline.frames(shard), checkpoint, settings=pipeline.recipe.single_stage)

    yield from each_shard(context, pipeline, detect_shard, sections=["single_stage"], force=config.force)


@dg.asset(
    deps=[["detections", "two_stage"]],
    group_name="detections",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
)
def tracks(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
    """Who of the detected people is who from frame to frame."""

    def link(shard: str) -> pa.Table:
        from tps_pipeline.tracks import track

        return track(pipeline.read("detections/two_stage", shard))

    yield from each_shard(context, pipeline, link, force=config.force)


@dg.asset(
    deps=["videos", ["checkpoints", "video_action"]],
    group_name="detections",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
    pool=GPU,
    op_tags=INFERS,
)
def video_actions(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """The action of every video."""

    def predict(shard: str) -> pa.Table:
        from tps_pipeline import video_action

        return video_action.predict(
            pipeline.checkpoint("video_action"), pipeline.read("videos", shard), pipeline.data_folder
        )

    yield from each_shard(context, pipeline, predict, force=config.force)
