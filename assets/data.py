"""What is learned from: the vocabulary, and the detectors' data sets."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, each_shard, whole
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS
from tps_pipeline import tables
from tps_pipeline.lineage import Work

ACTIONS, LABELLED_FRAMES, PEOPLE, PARTS = (
    dg.AssetKey(["annotations", name]) for name in ("actions", "labelled_frames", "people", "parts")
)


@dg.asset(key=["vocabulary", "actions"], deps=[ACTIONS], group_name="data")
def action_names(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """The actions of the training videos."""
    from tps_pipeline.data import vocabulary

    def collect(_: Work) -> pa.Table:
        return vocabulary.action_names(pipeline.read_splits("annotations/actions", ("train",), tables.ACTIONS))

    yield from whole(context, pipeline, collect, splits=("train",), force=config.force)


@dg.asset(key=["vocabulary", "states"], deps=[PARTS], group_name="data")
def state_labels(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """The label spaces over (part, state) pairs: all pairs, and those that are a video's most frequent."""
    from tps_pipeline.data import vocabulary

    def collect(_: Work) -> pa.Table:
        return vocabulary.state_labels(pipeline.read_splits("annotations/parts", ("train",), tables.PARTS))

    yield from whole(context, pipeline, collect, splits=("train",), force=config.force)


@dg.asset(
    key=["datasets", "person"],
    deps=["frames", LABELLED_FRAMES, PEOPLE],
    group_name="data",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
)
def person_dataset(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """What the person detector trains on: whole frames, and their mirror images."""
    from tps_pipeline.detection.datasets import person_samples

    def collect(shard: str) -> pa.Table:
        return person_samples(
            pipeline.read("annotations/labelled_frames", shard),
            pipeline.read("annotations/people", shard),
            pipeline.frames(shard).index,
            flip=pipeline.recipe.person_detector.augment.flip,
        )

    yield from each_shard(context, pipeline, collect, sections=["person_detector.augment.flip"], force=config.force)


@dg.asset(
    key=["datasets", "part"],
    deps=["frames", PEOPLE, PARTS],
    group_name="data",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
)
def part_dataset(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """What the part detector trains on: each person's crop, and its mirror image with left and right exchanged."""
    from tps_pipeline.detection.datasets import part_samples

    def collect(shard: str) -> pa.Table:
        return part_samples(
            pipeline.read("annotations/people", shard),
            pipeline.read("annotations/parts", shard),
            pipeline.frames(shard).index,
            margin=pipeline.recipe.two_stage.crop_margin,
            flip=pipeline.recipe.part_detector.augment.flip,
        )

    sections = ["two_stage.crop_margin", "part_detector.augment.flip"]
    yield from each_shard(context, pipeline, collect, sections=sections, force=config.force)
