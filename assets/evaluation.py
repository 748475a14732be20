"""How good it is: detector precision and the leaderboard."""

from collections.abc import Callable, Iterator

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.evaluation import figures
from tps_pipeline.lineage import Work
from tps_pipeline.recipe import Recipe

Score = Callable[..., pa.Table]
"""Scores a split's detections against its annotations."""


def precision_of(name: str, boxes: str) -> dg.AssetsDefinition:
    """COCO-style average precision of an asset's boxes, by class."""

    def load() -> Score:
        from tps_pipeline.detection.average_precision import average_precision

        return average_precision

    return _score_of("average_precision", name, boxes, load, "COCO-style average precision, by class")


def confusion_of(name: str, boxes: str) -> dg.AssetsDefinition:
    """How often an asset's boxes mix up left and right, or people."""

    def load() -> Score:
        from tps_pipeline.detection.confusion import confusion

        return confusion

    return _score_of("detector_confusion", name, boxes, load, "How often left and right, or people, are mixed up")


def _score_of(kind: str, name: str, boxes: str, load: Callable[[], Score], description: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[kind, name],
        deps=[
            *(["annotations", table] for table in ("labelled_frames", "people", "parts")),
            "frames",
            boxes.split("/"),
        ],
        group_name="evaluation",
        description=f"{description}, in {boxes}.",
    )
    def scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        splits = pipeline.recipe.predict_splits
        schema = tables.PREDICTIONS if boxes.startswith("predictions/") else tables.DETECTIONS

        def score(_: Work) -> pa.Table:
            of_split = load()
            return pa.concat_tables(
                of_split(
                    pipeline.read_splits(boxes, (split,), schema),
                    pipeline.read_splits("annotations/labelled_frames", (split,), tables.LABELLED_FRAMES),
                    pipeline.read_splits("annotations/people", (split,), tables.PEOPLE),
                    pipeline.read_splits("annotations/parts", (split,), tables.PARTS),
                    frames=pipeline.frame_index(split),
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


def leaderboard_of(recipe: Recipe) -> dg.AssetsDefinition:
    """The leaderboard over all that is scored, with the precision of each method's boxes."""
    box_of = {name: name if name in recipe.boxes else "two_stage" for name in recipe.methods}
    precisions = [["average_precision", name] for name in sorted(set(box_of.values()))]

    @dg.asset(deps=[*precisions, *(["psc", name] for name in recipe.scored)], group_name="evaluation")
    def leaderboard(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """The score of every method and ensemble on every split with labels, best first, beside the report's."""
        from tps_pipeline.evaluation import leaderboard
        from tps_pipeline.recipe import reported

        splits = pipeline.recipe.predict_splits

        def rank(_: Work) -> pa.Table:
            precision = {name: pipeline.read(f"average_precision/{own}") for name, own in box_of.items()}
            return leaderboard(pipeline.scored(recipe.scored, *splits), precision, reported())

        def picture() -> str:
            from tps_pipeline.report.plots import preview

            return preview(pipeline.scored(recipe.scored, *splits))

        sections = ["predict_splits"]
        yield from whole(context, pipeline, rank, sections=sections, splits=splits, picture=picture, force=config.force)

    return leaderboard
