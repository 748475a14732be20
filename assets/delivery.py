"""What leaves the pipeline: the submission."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.lineage import Work


def submission_of(predictions: str) -> dg.AssetsDefinition:
    """The challenge submission made from an asset's predictions."""

    @dg.asset(deps=["videos", "frames", "video_actions", predictions.split("/")], group_name="delivery")
    def submission(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """The test videos' predictions in the challenge's format, zipped, read back and checked."""
        from tps_pipeline.data import submission

        with pipeline.store.scratch() as scratch:

            def export(_: Work) -> Path:
                submission.write(
                    scratch / "submission",
                    pipeline.read_splits(predictions, ("test",), tables.PREDICTIONS),
                    video_actions=pipeline.read_splits("video_actions", ("test",), tables.VIDEO_ACTIONS),
                    frames=pipeline.frame_index("test"),
                )
                return scratch / "submission"

            yield from whole(context, pipeline, export, sections=["submission"], splits=("test",), force=config.force)

    return submission
