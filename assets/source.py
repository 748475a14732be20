"""What is on disk, as tables: probed videos, annotations, extracted frames."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, each_shard
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS, shards

ANNOTATIONS = ("actions", "labelled_frames", "people", "parts", "objects")


@dg.asset(deps=[shards], group_name="source", partitions_def=SHARDS, backfill_policy=BACKFILL)
def videos(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
    """Every video, probed: how many frames, how fast, how large; what cannot be read is marked, not dropped."""
    from tps_pipeline.data.shards import probe_videos

    def probe(shard: str) -> pa.Table:
        return probe_videos(pipeline.data_folder, pipeline.read("shards", shard))

    yield from each_shard(context, pipeline, probe, force=config.force)


@dg.multi_asset(
    specs=[dg.AssetSpec(["annotations", name], deps=[shards], group_name="source") for name in ANNOTATIONS],
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
)
def annotations(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
    """Actions, labelled frames, people, parts and objects; of test videos where their ground truth is there."""
    from tps_pipeline.data.kinetics_tps import read_annotations

    def read(shard: str) -> dict[str, pa.Table]:
        found = read_annotations(pipeline.data_folder, pipeline.read("shards", shard))
        for problem in found.problems[:20]:
            context.log.warning(str(problem))
        return {f"annotations/{name}": getattr(found, name) for name in ANNOTATIONS}

    yield from each_shard(context, pipeline, read, force=config.force)


@dg.asset(
    deps=[videos, dg.AssetKey(["annotations", "labelled_frames"])],
    group_name="source",
    partitions_def=SHARDS,
    backfill_policy=BACKFILL,
)
def frames(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
    """The frames that networks see, as JPEGs in one memory-mapped file a shard."""
    from tps_pipeline.video.frames import extract, preview, wanted_frames

    settings = pipeline.recipe.frames
    with pipeline.store.scratch() as scratch:

        def read(shard: str) -> Path:
            labelled = pipeline.read("annotations/labelled_frames", shard)
            wanted = wanted_frames(pipeline.read("videos", shard), labelled, settings, data=pipeline.data_folder)
            out = scratch / f"{shard}.arrow"
            for video_id, error in extract(wanted, out, jpeg_quality=settings.jpeg_quality, decoder=settings.decoder):
                context.log.warning(f"{video_id}: {error}")
            return out

        def picture(shard: str) -> str:
            return preview(pipeline.frames(shard))

        sections = ["frames"]
        yield from each_shard(
            context, pipeline, read, sections=sections, suffix=".arrow", picture=picture, force=config.force
        )
