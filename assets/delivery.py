"""What leaves the pipeline: the submission and the report."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.lineage import Work


def submission_of(method: str) -> dg.AssetsDefinition:
    """The challenge submission made from one method's predictions."""

    @dg.asset(deps=["videos", "frames", "video_actions", ["predictions", method]], group_name="delivery")
    def submission(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """The test videos' predictions in the challenge's format, zipped, read back and checked."""
        from tps_pipeline.data import submission

        with pipeline.store.scratch() as scratch:

            def export(_: Work) -> Path:
                submission.write(
                    scratch / "submission",
                    pipeline.read_splits(f"predictions/{method}", ("test",), tables.PREDICTIONS),
                    video_actions=pipeline.read_splits("video_actions", ("test",), tables.VIDEO_ACTIONS),
                    frames=pa.concat_tables([pipeline.frames(shard).index for shard in pipeline.shards("test")]),
                )
                return scratch / "submission"

            yield from whole(context, pipeline, export, sections=["submission"], splits=("test",), force=config.force)

    return submission


def report_of(methods: Sequence[str], submitted: str) -> dg.AssetsDefinition:
    """The report page over some methods."""

    @dg.asset(
        deps=[
            "leaderboard",
            ["average_precision", "two_stage"],
            "frames",
            *(["annotations", table] for table in ("actions", "people", "parts")),
            "video_actions",
            ["predictions", submitted],
            *(["psc", name] for name in methods),
        ],
        group_name="delivery",
    )
    def report(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        """One HTML page: leaderboard, scores by action, detector precision, pictures, and where it all came from."""
        splits = pipeline.recipe.predict_splits

        def write(work: Work) -> bytes:
            raise NotImplementedError

        yield from whole(context, pipeline, write, splits=splits, suffix=".html", force=config.force)

    return report
