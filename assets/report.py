"""The page that shows how good the pipeline is, and where it is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import yaml

from assets.incremental import Force, whole
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.lineage import Record, Work
from tps_pipeline.recipe import Recipe

if TYPE_CHECKING:
    from tps_pipeline.report.breakdown import Breakdown
    from tps_pipeline.report.clips import Clip


def report_of(recipe: Recipe) -> dg.AssetsDefinition:
    """The report page over all that is scored and all that has boxes of its own."""
    methods, boxes = recipe.scored, list(recipe.boxes)

    @dg.asset(
        deps=[
            "leaderboard",
            "submission",
            "method_by_category",
            *(["average_precision", name] for name in boxes),
            *(["detector_confusion", name] for name in boxes),
            "frames",
            *(["annotations", table] for table in ("actions", "labelled_frames", "people", "parts")),
            "video_actions",
            *(recipe.predictions(name).split("/") for name in methods),
            *(["psc", name] for name in methods),
        ],
        group_name="delivery",
    )
    def report(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        """One HTML page: scores, where methods are wrong and differ, videos to play, and where it all came from."""
        splits = pipeline.recipe.predict_splits

        with pipeline.store.scratch() as scratch:

            def write(_: Work) -> Path:
                from tps_pipeline.report import page

                page.write(
                    scratch / "report.html",
                    title=f"{recipe.submission} on {pipeline.data_folder.name}",
                    method=recipe.submission,
                    leaderboard=pipeline.read("leaderboard"),
                    psc=pipeline.scored(methods, *splits),
                    chosen=pipeline.read("method_by_category"),
                    **_details(pipeline),
                    average_precision={name: pipeline.read(f"average_precision/{name}") for name in boxes},
                    confusion={name: pipeline.read(f"detector_confusion/{name}") for name in boxes},
                    recipe_yaml=yaml.safe_dump(pipeline.recipe.model_dump(mode="json"), sort_keys=False),
                    recipe=pipeline.recipe_name,
                    store=pipeline.store_root,
                    lineage=_lineage(pipeline),
                )
                return scratch / "report.html"

            yield from whole(context, pipeline, write, splits=splits, suffix=".html", force=config.force)

    return report


def _lineage(pipeline: Pipeline) -> list[Record]:
    """The records of what is delivered and of all that it was made from."""
    traces = (pipeline.lineage.trace((asset, None)) for asset in ("submission", "leaderboard"))
    return list({record.record: record for trace in traces for _, record in trace}.values())


def _details(pipeline: Pipeline) -> dict:
    """Parts, states and clips of one split, and which it is: the last one that is labelled."""
    psc = f"psc/{pipeline.recipe.submission}"
    labelled = [s for s in pipeline.recipe.predict_splits if len(pipeline.read_splits(psc, (s,), tables.PSC))]
    if not labelled:
        return {"split": None, "breakdown": None, "worst": [], "best": []}
    worst, best = _clips(pipeline, labelled[-1])
    return {"split": labelled[-1], "breakdown": _breakdown(pipeline, labelled[-1]), "worst": worst, "best": best}


def _breakdown(pipeline: Pipeline, split: str) -> "Breakdown":
    """What each method makes of a split's annotated parts."""
    from tps_pipeline.evaluation import sampled
    from tps_pipeline.parsing import annotated, predicted
    from tps_pipeline.report.breakdown import break_down

    labelled, people, parts = (
        pipeline.read_splits(f"annotations/{name}", (split,), schema)
        for name, schema in (
            ("labelled_frames", tables.LABELLED_FRAMES),
            ("people", tables.PEOPLE),
            ("parts", tables.PARTS),
        )
    )
    frames = pipeline.frame_index(split)
    predictions = (
        (name, pipeline.read_splits(pipeline.recipe.predictions(name), (split,), tables.PREDICTIONS))
        for name in pipeline.recipe.scored
    )
    return break_down(
        annotated(sampled(labelled, pipeline.recipe.frames.sample_stride), people, parts),
        ((name, predicted(table, frames)) for name, table in predictions),
    )


def _clips(pipeline: Pipeline, split: str) -> "list[list[Clip]]":
    """A split's videos that the submitted method does worst and best on."""
    from tps_pipeline.report import clips

    name = pipeline.recipe.submission
    scored, shard_of = {}, {}
    for shard in pipeline.shards(split):
        drawable = clips.drawable(pipeline.frames(shard), pipeline.read("annotations/parts", shard))
        for row in pipeline.read(f"psc/{name}", shard).to_pylist():
            if row["video_id"] in drawable:
                scored[row["video_id"]], shard_of[row["video_id"]] = row, shard

    def draw(video: str) -> "Clip":
        shard = shard_of[video]
        return clips.draw_clip(
            pipeline.frames(shard),
            scored[video],
            people=pipeline.read("annotations/people", shard),
            parts=pipeline.read("annotations/parts", shard),
            predictions=pipeline.read(pipeline.recipe.predictions(name), shard),
            video_actions=pipeline.read("video_actions", shard),
        )

    return [[draw(video) for video in videos] for videos in clips.choose({v: r["psc"] for v, r in scored.items()})]
