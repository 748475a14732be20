"""What is made of several methods' predictions: the vote, and the method that is best in a video's action."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from assets.incremental import Force, each_shard, whole
from assets.resources import Pipeline
from assets.shards import BACKFILL, SHARDS
from tps_pipeline.lineage import Work
from tps_pipeline.recipe import Recipe


def ensembles_of(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """The recipe's ensembles, and what they are chosen by."""
    return [_ranking(recipe), _voting(recipe), _method_by_category(recipe), _by_category(recipe)]


def _ranking(recipe: Recipe) -> dg.AssetsDefinition:
    split, voters = recipe.ensemble.choose_on, recipe.voters

    @dg.asset(key=["ensemble", "ranking"], deps=[["psc", name] for name in voters], group_name="ensemble")
    def ranking(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        """The methods that vote, the best first."""
        from tps_pipeline import ensemble

        def rank(_: Work) -> pa.Table:
            return ensemble.ranking(pipeline.scored(voters, split), voters, split=split)

        sections = ["ensemble.choose_on", "ensemble.voting.methods"]
        yield from whole(context, pipeline, rank, sections=sections, splits=(split,), force=config.force)

    return ranking


def _voting(recipe: Recipe) -> dg.AssetsDefinition:
    voters = recipe.voters

    @dg.asset(
        key=["ensemble", "voting"],
        deps=[["ensemble", "ranking"], *(["predictions", name] for name in voters)],
        group_name="ensemble",
        partitions_def=SHARDS,
        backfill_policy=BACKFILL,
    )
    def voting(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force) -> Iterator[dg.MaterializeResult]:
        """The best method's boxes with the states that most methods give."""
        from tps_pipeline import ensemble

        settings = pipeline.recipe.ensemble.voting

        def vote(shard: str) -> pa.Table:
            predictions = {name: pipeline.read(f"predictions/{name}", shard) for name in voters}
            ranking = pipeline.read("ensemble/ranking")
            return ensemble.voting(predictions, ranking, iou=settings.iou, weigh_by=settings.weigh_by)

        sections = ["ensemble.voting.iou", "ensemble.voting.weigh_by"]
        yield from each_shard(context, pipeline, vote, sections=sections, force=config.force)

    return voting


def _method_by_category(recipe: Recipe) -> dg.AssetsDefinition:
    split, candidates = recipe.ensemble.choose_on, recipe.candidates

    @dg.asset(deps=[["psc", name] for name in candidates], group_name="ensemble")
    def method_by_category(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """Mean PSC by action and candidate, the chosen one of each action, and what the choice gains."""
        from tps_pipeline import ensemble

        def choose(_: Work) -> pa.Table:
            min_videos = pipeline.recipe.ensemble.by_category.min_videos
            scored = pipeline.scored(candidates, split)
            return ensemble.method_by_category(scored, candidates, split=split, min_videos=min_videos)

        sections = ["ensemble.choose_on", "ensemble.by_category"]
        yield from whole(
            context, pipeline, choose, sections=sections, splits=(split,), metrics=ensemble.gain, force=config.force
        )

    return method_by_category


def _by_category(recipe: Recipe) -> dg.AssetsDefinition:
    candidates = {name: recipe.predictions(name) for name in recipe.candidates}

    @dg.asset(
        key=["ensemble", "by_category"],
        deps=["method_by_category", "video_actions", *(asset.split("/") for asset in candidates.values())],
        group_name="ensemble",
        partitions_def=SHARDS,
        backfill_policy=BACKFILL,
    )
    def by_category(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        """Every video from the candidate that is best in the action predicted for it."""
        from tps_pipeline import ensemble

        def choose(shard: str) -> pa.Table:
            predictions = {name: pipeline.read(asset, shard) for name, asset in candidates.items()}
            video_actions, choice = pipeline.read("video_actions", shard), pipeline.read("method_by_category")
            return ensemble.by_category(predictions, video_actions, choice)

        yield from each_shard(context, pipeline, choose, force=config.force)

    return by_category
