"""What leaves the pipeline: the submission and the report."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import yaml

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.lineage import Work
from tps_pipeline.recipe import Recipe

if TYPE_CHECKING:
    from tps_pipeline.report.contact_sheet import Comparison


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
                    frames=pa.concat_tables([pipeline.frames(shard).index for shard in pipeline.shards("test")]),
                )
                return scratch / "submission"

            yield from whole(context, pipeline, export, sections=["submission"], splits=("test",), force=config.force)

    return submission


def report_of(recipe: Recipe) -> dg.AssetsDefinition:
    """The report page over all that is scored."""
    methods, submitted, boxes = recipe.scored, recipe.submission, list(recipe.boxes)

    @dg.asset(
        deps=[
            "leaderboard",
            *(["average_precision", name] for name in boxes),
            *(["detector_confusion", name] for name in boxes),
            "frames",
            *(["annotations", table] for table in ("actions", "people", "parts")),
            "video_actions",
            recipe.predictions(submitted).split("/"),
            *(["psc", name] for name in methods),
        ],
        group_name="delivery",
    )
    def report(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        """One HTML page: leaderboard, scores by action, detector precision, pictures, and where it all came from."""
        splits = pipeline.recipe.predict_splits

        with pipeline.store.scratch() as scratch:

            def write(_: Work) -> Path:
                from tps_pipeline.report import page

                page.write(
                    scratch / "report.html",
                    title=f"{submitted} on {pipeline.data_folder.name}",
                    leaderboard=pipeline.read("leaderboard"),
                    psc=pa.concat_tables(
                        pipeline.read_splits(f"psc/{name}", splits, tables.PSC) for name in methods
                    ).unify_dictionaries(),
                    average_precision={name: pipeline.read(f"average_precision/{name}") for name in boxes},
                    confusion={name: pipeline.read(f"detector_confusion/{name}") for name in boxes},
                    comparisons=_comparisons(pipeline, submitted),
                    recipe_yaml=yaml.safe_dump(pipeline.recipe.model_dump(mode="json"), sort_keys=False),
                    lineage=[record for _, record in pipeline.lineage.trace(("leaderboard", None))],
                )
                return scratch / "report.html"

            yield from whole(context, pipeline, write, splits=splits, suffix=".html", force=config.force)

    return report


def _comparisons(pipeline: Pipeline, method: str) -> "list[Comparison]":
    """Frames of one shard of each scored split, annotation beside prediction; test first."""
    from tps_pipeline.report.contact_sheet import compare

    first_shards = [pipeline.shards(split)[:1] for split in reversed(pipeline.recipe.predict_splits)]
    return [
        comparison
        for shard in itertools.chain.from_iterable(first_shards)
        for comparison in compare(
            pipeline.frames(shard),
            pipeline.read(f"psc/{method}", shard),
            people=pipeline.read("annotations/people", shard),
            parts=pipeline.read("annotations/parts", shard),
            predictions=pipeline.read(pipeline.recipe.predictions(method), shard),
            video_actions=pipeline.read("video_actions", shard),
        )
    ]
