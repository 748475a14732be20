"""What is learned from: the vocabulary, and the detectors' data sets."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, each_shard, whole
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS
from tps_pipeline import tables
from tps_pipeline.lineage import Work
from tps_pipeline.recipe import Recipe


@dg.asset(key=["vocabulary", "actions"], deps=[["annotations", "actions"]], group_name="data")
def action_names(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """The actions of the training videos."""
    from tps_pipeline.data import vocabulary

    def collect(_: Work) -> pa.Table:
        return vocabulary.action_names(pipeline.read_splits("annotations/actions", ("train",), tables.ACTIONS))

    yield from whole(context, pipeline, collect, splits=("train",), force=config.force)


@dg.asset(key=["vocabulary", "states"], deps=[["annotations", "parts"]], group_name="data")
def state_labels(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """The label spaces over (part, state) pairs: all pairs, and those that are a video's most frequent."""
    from tps_pipeline.data import vocabulary

    def collect(_: Work) -> pa.Table:
        return vocabulary.state_labels(pipeline.read_splits("annotations/parts", ("train",), tables.PARTS))

    yield from whole(context, pipeline, collect, splits=("train",), force=config.force)


def datasets_of(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """What each of the recipe's detectors trains on; see `tps_pipeline.detection.datasets`."""
    crops = ["people", "parts"]
    made = [
        _dataset("person", ["labelled_frames", "people"], flip="person_detector.augment.flip"),
        _dataset("part", crops, flip="part_detector.augment.flip", margin="two_stage.crop_margin"),
    ]
    if recipe.single_stage_detector:
        reads = ["labelled_frames", "people", "parts"]
        made.append(_dataset("single_stage", reads, flip="single_stage_detector.augment.flip"))
    for method in list(recipe.part_state_detectors)[:1]:  # the others mean the same by it
        entry = f"methods.{method}"
        made.append(_dataset("part_state", crops, flip=f"{entry}.detector.augment.flip", margin=f"{entry}.crop_margin"))
    return made


def _dataset(name: str, reads: list[str], **settings: str) -> dg.AssetsDefinition:
    """A detector's samples, made by the function `<name>_samples`.

    Args:
        name: Of the data set.
        reads: The annotation tables that the function takes.
        settings: Where in the recipe the function's settings are.
    """

    @dg.asset(
        key=["datasets", name],
        deps=["frames", *(["annotations", table] for table in reads)],
        group_name="data",
        description=f"Images and boxes that the {name} detector trains on, and their mirror images.",
        partitions_def=SHARDS,
        backfill_policy=BACKFILL,
    )
    def dataset(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        from tps_pipeline.detection import datasets

        samples = getattr(datasets, f"{name}_samples")
        values = {setting: pipeline.recipe.section(place) for setting, place in settings.items()}

        def collect(shard: str) -> pa.Table:
            annotations = [pipeline.read(f"annotations/{table}", shard) for table in reads]
            return samples(*annotations, pipeline.frames(shard).index, **values)

        yield from each_shard(context, pipeline, collect, sections=[*settings.values()], force=config.force)

    return dataset
