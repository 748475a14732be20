"""How good it is: each video's score, the precision and confusion of boxes, what could not be read, the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.outputs import (
    ACTION_ACCURACY,
    ACTIONS,
    FRAMES,
    LABELLED_FRAMES,
    LEADERBOARD,
    PARTS,
    PEOPLE,
    SCORED_WITH,
    UNREADABLE,
    VIDEO_ACTIONS,
    VIDEOS,
    WAYS,
    Output,
    average_precision,
    detector_confusion,
    member_actions,
    predictions,
    psc,
)
from tps_pipeline.reading import frame_index
from tps_pipeline.recipe import Recipe

Compare = Callable[[Reader, Output, str], pa.Table]
"""Scores boxes of a split against its annotations."""

ANNOTATED = (LABELLED_FRAMES, PEOPLE, PARTS, FRAMES)
"""What boxes are compared with."""


def steps_of(recipe: Recipe) -> list[Step]:
    """The scores of each method and ensemble, of all that has boxes of its own, and the leaderboard."""
    boxes = boxes_of(recipe)
    return [
        *(_psc(name) for name in recipe.scored),
        *(_of_boxes(average_precision(name), boxes[name], _precision, recipe) for name in boxes),
        *(_of_boxes(detector_confusion(name), boxes[name], _confusion, recipe) for name in boxes),
        _action_accuracy(recipe),
        unreadable,
        _leaderboard(recipe),
    ]


def boxes_of(recipe: Recipe) -> dict[str, Output]:
    """What has people's and parts' boxes of its own, by the name that its precision goes by."""
    ways = {way: WAYS[way] for way in recipe.ways}
    return ways | {name: predictions(name) for name in [*recipe.with_own_boxes, *_fused(recipe)]}


def _fused(recipe: Recipe) -> list[str]:
    """The ensembles whose boxes are no method's."""
    return ["stacked"] if recipe.ensemble.stacked.boxes == "fused" else []


def scored(read: Reader, names: Iterable[str]) -> pa.Table:
    """The scores of methods and ensembles (`tables.PSC`)."""
    return pa.concat_tables(read(psc(name)) for name in names).unify_dictionaries()


def _psc(name: str) -> Step:
    return Step(
        (psc(name),),
        partial(_score, name),
        reads=(*SCORED_WITH, predictions(name)),
        sections=("frames.sample_stride",),
        group="evaluation",
        description=f"Part state correctness of each labelled video by {name}.",
        code=_score,
    )


def _score(name: str, read: Reader) -> pa.Table:
    from tps_pipeline import evaluation

    split, stride = str(read.shard).partition("-")[0], read.setting("frames.sample_stride")
    return evaluation.score(read, read(predictions(name)), method=name, split=split, stride=stride)


def _of_boxes(output: Output, boxes: Output, compare: Compare, recipe: Recipe) -> Step:
    about = "COCO-style average precision, by class" if compare is _precision else "How often sides or people mix up"
    return Step(
        (output,),
        partial(_by_split, output, boxes, compare),
        reads=(*ANNOTATED, boxes),
        sections=("predict_splits",),
        splits=recipe.predict_splits,
        group="evaluation",
        description=f"{about}, in {boxes.key}.",
        figures=_figures,
        code=compare,
    )


def _figures(scores: pa.Table) -> dict[str, float]:
    from tps_pipeline.evaluation import figures

    return figures(scores)


def _by_split(output: Output, boxes: Output, compare: Compare, read: Reader) -> pa.Table:
    """What a comparison gives for each split that has videos; no rows where nothing is held out."""
    splits = [split for split in read.setting("predict_splits") if read.of(split).shards()]
    found = (compare(read.of(split), boxes, split) for split in splits)
    assert output.schema is not None
    return pa.concat_tables([tables.empty(output.schema), *found]).unify_dictionaries()


def _precision(read: Reader, boxes: Output, split: str) -> pa.Table:
    from tps_pipeline.detection.average_precision import average_precision as precision

    truth = read(LABELLED_FRAMES), read(PEOPLE), read(PARTS)
    return precision(read(boxes), *truth, frames=frame_index(read), split=split)


def _confusion(read: Reader, boxes: Output, split: str) -> pa.Table:
    from tps_pipeline.detection.confusion import confusion

    truth = read(LABELLED_FRAMES), read(PEOPLE), read(PARTS)
    return confusion(read(boxes), *truth, frames=frame_index(read), split=split)


def _action_accuracy(recipe: Recipe) -> Step:
    names = recipe.video_action.members.names

    @step(
        ACTION_ACCURACY,
        reads=(ACTIONS, VIDEO_ACTIONS, *map(member_actions, names)),
        sections=("predict_splits",),
        splits=recipe.predict_splits,
        figures=_figures,
    )
    def action_accuracy(read: Reader) -> pa.Table:
        """How often each member names a video's action rightly, and all together."""
        from tps_pipeline.actions import fusion

        said = {name: member_actions(name) for name in names} | {fusion.TOGETHER: VIDEO_ACTIONS}
        parts = [
            fusion.accuracy({name: of_split(output) for name, output in said.items()}, of_split(ACTIONS), split=split)
            for split in read.setting("predict_splits")
            if (of_split := read.of(split)).shards()
        ]
        return pa.concat_tables([tables.empty(tables.ACTION_ACCURACY), *parts]).unify_dictionaries()

    return action_accuracy


@step(UNREADABLE, reads=(VIDEOS,))
def unreadable(read: Reader) -> pa.Table:
    """The videos of all splits that could not be read, wholly or in part, each with the reason."""
    from tps_pipeline import evaluation

    return evaluation.unreadable(read(VIDEOS))


def _leaderboard(recipe: Recipe) -> Step:
    box_of = {name: name if name in recipe.with_own_boxes else recipe.detections for name in recipe.methods}
    box_of |= {name: name for name in _fused(recipe)}
    return Step(
        (LEADERBOARD,),
        partial(_rank, recipe.scored, box_of),
        reads=(
            *map(average_precision, sorted(set(box_of.values()))),
            *map(psc, recipe.scored),
            *map(predictions, recipe.scored),
            LABELLED_FRAMES,
            PEOPLE,
            PARTS,
            UNREADABLE,
        ),
        sections=("predict_splits", "frames.sample_stride"),
        splits=recipe.predict_splits,
        version="3",
        group="evaluation",
        description="The score of every method and ensemble on every labelled split, best first, beside the paper's.",
        picture=partial(_picture, recipe.scored),
        code=_rank,
    )


def _rank(names: list[str], box_of: dict[str, str], read: Reader) -> pa.Table:
    from tps_pipeline import evaluation
    from tps_pipeline.recipe import reported

    precision = {name: read(average_precision(box)) for name, box in box_of.items()}
    return evaluation.leaderboard(
        scored(read, names),
        precision,
        reported(),
        macro_recall=_macro_recall(names, read),
        unreadable=read(UNREADABLE),
    )


def _macro_recall(names: list[str], read: Reader) -> dict[tuple[str, str], float | None]:
    """How well each method or ensemble does on all states alike, by its name and split."""
    from tps_pipeline.evaluation import sampled
    from tps_pipeline.parsing import annotated, predicted
    from tps_pipeline.psc import macro_recall

    found: dict[tuple[str, str], float | None] = {}
    for split in read.setting("predict_splits"):
        of_split = read.of(split)
        labelled = sampled(of_split(LABELLED_FRAMES), read.setting("frames.sample_stride"))
        truth = annotated(labelled, of_split(PEOPLE), of_split(PARTS))
        for name in names:
            given = of_split(predictions(name))
            found[name, split] = macro_recall(truth, predicted(given, given))
    return found


def _picture(names: list[str], read: Reader) -> str:
    from tps_pipeline.report.plots import preview

    return preview(scored(read, names))
