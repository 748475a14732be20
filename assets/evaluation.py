"""How good it is: detector precision and the leaderboard."""

from collections.abc import Iterator, Sequence

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.lineage import Work


@dg.asset(
    key=["average_precision", "two_stage"],
    deps=[
        *(["annotations", table] for table in ("labelled_frames", "people", "parts")),
        "frames",
        ["detections", "two_stage"],
    ],
    group_name="evaluation",
)
def average_precision(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """COCO-style average precision of the detections, by class."""
    splits = pipeline.recipe.predict_splits

    def score(_: Work) -> pa.Table:
        from tps_pipeline.detection.average_precision import average_precision

        return pa.concat_tables(
            average_precision(
                pipeline.read_splits("detections/two_stage", (split,), tables.DETECTIONS),
                pipeline.read_splits("annotations/labelled_frames", (split,), tables.LABELLED_FRAMES),
                pipeline.read_splits("annotations/people", (split,), tables.PEOPLE),
                pipeline.read_splits("annotations/parts", (split,), tables.PARTS),
                frames=pa.concat_tables([pipeline.frames(shard).index for shard in pipeline.shards(split)]),
                split=split,
            )
            for split in splits
            if pipeline.shards(split)
        ).unify_dictionaries()

    yield from whole(context, pipeline, score, sections=["predict_splits"], splits=splits, force=config.force)


def leaderboard_of(methods: Sequence[str]) -> dg.AssetsDefinition:
    """The leaderboard over some methods."""

    @dg.asset(deps=[["average_precision", "two_stage"], *(["psc", name] for name in methods)], group_name="evaluation")
    def leaderboard(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """Every method's score on every split with labels, best first."""
        from tps_pipeline.evaluation import leaderboard

        splits = pipeline.recipe.predict_splits

        def rank(_: Work) -> pa.Table:
            scored = [pipeline.read_splits(f"psc/{name}", splits, tables.PSC) for name in methods]
            return leaderboard(
                pa.concat_tables(scored).unify_dictionaries(), pipeline.read("average_precision/two_stage")
            )

        yield from whole(context, pipeline, rank, sections=["predict_splits"], splits=splits, force=config.force)

    return leaderboard
