"""Asset checks: what was just made is looked at before anything is built on it.

A check looks at the outputs that its own run has made; what was kept has been checked when it was made.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from assets.resources import SPLITS, Pipeline
from tps_pipeline import checks
from tps_pipeline.recipe import Recipe

Find = Callable[[Pipeline, str], list[str]]
"""Gives what is wrong with one shard."""


@dg.asset_check(asset="shards", blocking=True)
def no_video_in_two_splits(pipeline: Pipeline) -> dg.AssetCheckResult:
    """A video that is trained on and scored would make every figure meaningless."""
    return _result(checks.videos_in_two_splits(pipeline.read("shards", shard) for shard in pipeline.shards(*SPLITS)))


def _per_shard(asset: str, name: str, find: Find) -> dg.AssetChecksDefinition:
    """A blocking check of an asset over shards."""

    @dg.asset_check(asset=asset.split("/"), name=name, blocking=True, description=find.__doc__)
    def check(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
        latest = pipeline.lineage.latest()
        made = [
            shard
            for name, shard in latest.records
            if name == asset and shard and latest.records[name, shard].run_id == context.run.run_id
        ]
        return _result([problem for shard in made for problem in find(pipeline, shard)], made)

    return check


@dg.asset_check(asset="submission")
def within_the_challenge_s_limits(pipeline: Pipeline) -> dg.AssetCheckResult:
    """At most ten people a frame and five proposals a part, or the challenge refuses the whole submission."""
    return _result(checks.over_the_limits(pipeline.store.local("submission") / "pred_part_result.json"))


def _result(problems: list[str], looked_at: Sequence[str] = ()) -> dg.AssetCheckResult:
    metadata = {"looked_at": ", ".join(looked_at) or "nothing new", "problems": "\n".join(problems) or "none"}
    return dg.AssetCheckResult(passed=not problems, metadata=metadata)


def _frames(pipeline: Pipeline, shard: str) -> list[str]:
    """Every sampled frame of every readable video is there."""
    stride = pipeline.recipe.frames.sample_stride
    return checks.missing_frames(pipeline.read("videos", shard), pipeline.frames(shard).index, stride)


def _sides(pipeline: Pipeline, shard: str) -> list[str]:
    """Left and right parts are there equally often: a mirrored image exchanges them."""
    swapped = pipeline.recipe.part_detector.augment.flip == "label_swap"
    return checks.missing_sides(pipeline.read("datasets/part", shard)) if swapped else []


def checks_of(recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """Every check, those of the recipe's detections, methods and ensembles included."""

    def boxes_inside(asset: str) -> Find:
        def boxes(pipeline: Pipeline, shard: str) -> list[str]:
            """Detected boxes lie inside the picture."""
            return checks.boxes_outside(pipeline.read(asset, shard), pipeline.frames(shard).index)

        return boxes

    def states_known(predictions: str) -> Find:
        def states(pipeline: Pipeline, shard: str) -> list[str]:
            """Predicted states are in the vocabulary."""
            return checks.unknown_states(pipeline.read(predictions, shard), pipeline.read("vocabulary/states"))

        return states

    def scores_valid(method: str) -> Find:
        def scores(pipeline: Pipeline, shard: str) -> list[str]:
            """Part state correctness is in [0, 1]."""
            return checks.scores_outside(pipeline.read(f"psc/{method}", shard))

        return scores

    predicted = [recipe.predictions(name) for name in recipe.scored]
    return [
        no_video_in_two_splits,
        within_the_challenge_s_limits,
        _per_shard("frames", "all_frames_there", _frames),
        _per_shard("datasets/part", "left_and_right_balanced", _sides),
        *(_per_shard(asset, "boxes_inside_picture", boxes_inside(asset)) for asset in recipe.boxes.values()),
        *(_per_shard(name, "states_known", states_known(name)) for name in predicted),
        *(_per_shard(f"psc/{name}", "psc_in_range", scores_valid(name)) for name in recipe.scored),
    ]
