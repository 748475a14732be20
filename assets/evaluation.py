"""How good it is: detector precision and the leaderboard."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.evaluation import figures
from tps_pipeline.lineage import Work

Score = Callable[..., pa.Table]
"""Scores a split's detections against its annotations."""


def precision_of(detections: str) -> dg.AssetsDefinition:
    """COCO-style average precision of some detections, by class."""

    def load() -> Score:
        from tps_pipeline.detection.average_precision import average_precision

        return average_precision

    return _score_of("average_precision", detections, load, "COCO-style average precision, by class")


def confusion_of(detections: str) -> dg.AssetsDefinition:
    """How often some detections mix up left and right, or people."""

    def load() -> Score:
        from tps_pipeline.detection.confusion import confusion

        return confusion

    return _score_of("detector_confusion", detections, load, "How often left and right, or people, are mixed up")


def _score_of(kind: str, detections: str, load: Callable[[], Score], description: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[kind, detections],
        deps=[
            *(["annotations", table] for table in ("labelled_frames", "people", "parts")),
            "frames",
            ["detections", detections],
        ],
        group_name="evaluation",
        description=f"{description}, in the detections {detections}.",
    )
    def scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        splits = pipeline.recipe.predict_splits

        def score(_: Work) -> pa.Table:
            of_split = load()
            return pa.concat_tables(
                of_split(
                    pipeline.read_splits(f"detections/{detections}", (split,), tables.DETECTIONS),
                    pipeline.read_splits("annotations/labelled_frames", (split,), tables.LABELLED_FRAMES),
                    pipeline.read_splits("annotations/people", (split,), tables.PEOPLE),
                    pipeline.read_splits("annotations/parts", (split,), tables.PARTS),
                    frames=pa.concat_tables([pipeline.frames(shard).index for shard in pipeline.shards(split)]),
                    split=split,
                )
                for split in splits
                if pipeline.shards(split)
            ).unify_dictionaries()

        sections = ["predict_splits"]
        yield from whole(
            context, pipeline, score, sections=sections, splits=splits, metrics=figures, force=config.force
        )

    return scores


def leaderboard_of(methods: Sequence[str]) -> dg.AssetsDefinition:
    """The leaderboard over some methods."""

    @dg.asset(deps=[["average_precision", "two_stage"], *(["psc", name] for name in methods)], group_name="evaluation")
    def leaderboard(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """Every method's score on every split with labels, best first."""
        from tps_pipeline.evaluation import leaderboard

        splits = pipeline.recipe.predict_splits

        def scored() -> pa.Table:
            return pa.concat_tables(
                pipeline.read_splits(f"psc/{name}", splits, tables.PSC) for name in methods
            ).unify_dictionaries()

        def rank(_: Work) -> pa.Table:
            return leaderboard(scored(), pipeline.read("average_precision/two_stage"))

        def picture() -> str:
            from tps_pipeline.report.plots import preview

            return preview(scored())

        sections = ["predict_splits"]
        yield from whole(context, pipeline, rank, sections=sections, splits=splits, picture=picture, force=config.force)

    return leaderboard
