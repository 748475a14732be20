"""What is made of several methods' predictions: the vote, the stack, and the best method of each action."""

from __future__ import annotations

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.outputs import (
    LABELLED_FRAMES,
    METHOD_BY_CATEGORY,
    PARTS,
    PEOPLE,
    RANKING,
    STACKING,
    STACKING_GAIN,
    STACKING_MEMBERS,
    STATE_COUNTS,
    VIDEO_ACTIONS,
    Output,
    predictions,
    psc,
)
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages.evaluation import scored


def steps_of(recipe: Recipe) -> list[Step]:
    """The recipe's ensembles, and what they are chosen by."""
    return [
        _ranking(recipe),
        _voting(recipe),
        _stacking(recipe),
        _stacked(recipe),
        _method_by_category(recipe),
        _by_category(recipe),
    ]


def _ranking(recipe: Recipe) -> Step:
    split, voters = recipe.ensemble.choose_on, recipe.voters

    @step(
        RANKING,
        reads=tuple(map(psc, voters)),
        sections=("ensemble.choose_on", "ensemble.voting.methods"),
        splits=(split,),
    )
    def ranking(read: Reader) -> pa.Table:
        """The methods that vote, the best first."""
        from tps_pipeline.ensemble.ranking import ranking

        return ranking(scored(read, voters), voters, split=split)

    return ranking


def _voting(recipe: Recipe) -> Step:
    voters = recipe.voters

    @step(
        predictions("voting"),
        reads=(RANKING, *map(predictions, voters)),
        sections=("ensemble.voting.iou", "ensemble.voting.weigh_by"),
    )
    def voting(read: Reader) -> pa.Table:
        """The best method's boxes with the states that most methods give."""
        from tps_pipeline.ensemble.voting import voting

        return voting(
            {name: read(predictions(name)) for name in voters},
            read(RANKING),
            iou=read.setting("ensemble.voting.iou"),
            weigh_by=read.setting("ensemble.voting.weigh_by"),
        )

    return voting


def _stacking(recipe: Recipe) -> Step:
    split, voters, own_boxes = recipe.stacked_on, recipe.voters, recipe.with_own_boxes

    @step(
        STACKING,
        STACKING_MEMBERS,
        STACKING_GAIN,
        reads=(RANKING, STATE_COUNTS, VIDEO_ACTIONS, LABELLED_FRAMES, PEOPLE, PARTS, *map(predictions, voters)),
        sections=("ensemble.stacked", "ensemble.voting.iou", "frames.sample_stride"),
        splits=(split,),
        version="2",
    )
    def stacking(read: Reader) -> dict[Output, pa.Table]:
        """What each method's word counts on each part, who is in the stack, and what it gains over the best method."""
        from tps_pipeline.ensemble import stacked
        from tps_pipeline.evaluation import sampled
        from tps_pipeline.parsing import annotated

        labelled = sampled(read(LABELLED_FRAMES), read.setting("frames.sample_stride"))
        learned = stacked.fit(
            {name: read(predictions(name)) for name in voters},
            read(RANKING),
            read(VIDEO_ACTIONS),
            read(STATE_COUNTS),
            annotated(labelled, read(PEOPLE), read(PARTS)),
            iou=read.setting("ensemble.voting.iou"),
            split=split,
            fuse=own_boxes if read.setting("ensemble.stacked").boxes == "fused" else (),
        )
        return {STACKING: learned.weights, STACKING_MEMBERS: learned.members, STACKING_GAIN: learned.gain}

    return stacking


def _stacked(recipe: Recipe) -> Step:
    voters = recipe.voters

    @step(
        predictions("stacked"),
        reads=(RANKING, STACKING, STACKING_GAIN, STATE_COUNTS, VIDEO_ACTIONS, *map(predictions, voters)),
        sections=("ensemble.voting.iou",),
    )
    def stacked(read: Reader) -> pa.Table:
        """The best method's people with the states that all methods together make likeliest."""
        from tps_pipeline.ensemble.stacked import stacked

        return stacked(
            {name: read(predictions(name)) for name in voters},
            read(RANKING),
            read(VIDEO_ACTIONS),
            read(STATE_COUNTS),
            read(STACKING),
            iou=read.setting("ensemble.voting.iou"),
            learned_from=str(read.shard).partition("-")[0] in read(STACKING_GAIN)["split"].to_pylist(),
        )

    return stacked


def _method_by_category(recipe: Recipe) -> Step:
    split, candidates = recipe.ensemble.choose_on, recipe.candidates

    @step(
        METHOD_BY_CATEGORY,
        reads=tuple(map(psc, candidates)),
        sections=("ensemble.choose_on", "ensemble.by_category"),
        splits=(split,),
        figures=_gain,
    )
    def method_by_category(read: Reader) -> pa.Table:
        """Mean PSC by action and candidate, the chosen one of each action, and what the choice gains."""
        from tps_pipeline.ensemble.by_category import method_by_category

        settings = read.setting("ensemble.by_category")
        return method_by_category(
            scored(read, candidates), candidates, split=split, min_videos=settings.min_videos, shrink=settings.shrink
        )

    return method_by_category


def _gain(choice: pa.Table) -> dict[str, float]:
    from tps_pipeline.ensemble.by_category import gain

    return gain(choice)


def _by_category(recipe: Recipe) -> Step:
    candidates = recipe.candidates

    @step(predictions("by_category"), reads=(METHOD_BY_CATEGORY, VIDEO_ACTIONS, *map(predictions, candidates)))
    def by_category(read: Reader) -> pa.Table:
        """Every video from the candidate that is best in the action predicted for it."""
        from tps_pipeline.ensemble.by_category import by_category

        found = {name: read(predictions(name)) for name in candidates}
        return by_category(found, read(VIDEO_ACTIONS), read(METHOD_BY_CATEGORY))

    return by_category
