"""What leaves the pipeline: the submission, and the page that shows how good the pipeline is and where it is wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step
from tps_pipeline.learners import learners_of
from tps_pipeline.outputs import (
    ACTION_ACCURACY,
    DETECTIONS,
    FRAMES,
    LABELLED_FRAMES,
    LEADERBOARD,
    METHOD_BY_CATEGORY,
    PARTS,
    PEOPLE,
    REPORT,
    STACKING_GAIN,
    STACKING_MEMBERS,
    SUBMISSION,
    TRACKS,
    UNREADABLE,
    VIDEO_ACTIONS,
    average_precision,
    checkpoint,
    detector_confusion,
    predictions,
    psc,
)
from tps_pipeline.reading import frame_index
from tps_pipeline.recipe import WHOLE, Recipe
from tps_pipeline.stages.evaluation import boxes_of, scored

if TYPE_CHECKING:
    from tps_pipeline.report.breakdown import Breakdown
    from tps_pipeline.report.clips import Clip


_REPORT_VERSION = "6"
"""Of the page and of its clips, which are kept by it: a change of how they are drawn is one of it."""


def steps_of(recipe: Recipe) -> list[Step]:
    """The submission made from the predictions that the recipe names, and the report."""
    return [_submission(recipe), _report(recipe)]


def _submission(recipe: Recipe) -> Step:
    return Step(
        (SUBMISSION,),
        partial(_export, recipe.submission),
        reads=(FRAMES, VIDEO_ACTIONS, predictions(recipe.submission)),
        sections=("submission",),
        splits=("test",),
        group="delivery",
        description="The test videos' predictions in the challenge's format, zipped, read back and checked.",
        code=_export,
    )


def _export(method: str, read: Reader) -> Path:
    from tps_pipeline.data import submission

    out, guesses = read.scratch / "submission", read(predictions(method))
    submission.write(out, guesses, video_actions=read(VIDEO_ACTIONS), frames=frame_index(read))
    if note := submission.not_the_challenge(guesses):
        read.run.warn(note)
    return out


def _report(recipe: Recipe) -> Step:
    boxes = list(boxes_of(recipe))
    return Step(
        (REPORT,),
        _write_report,
        reads=(
            LEADERBOARD,
            ACTION_ACCURACY,
            SUBMISSION,
            METHOD_BY_CATEGORY,
            STACKING_MEMBERS,
            STACKING_GAIN,
            UNREADABLE,
            *(checkpoint(name) for name in _networks(recipe)),
            *map(average_precision, boxes),
            *map(detector_confusion, boxes),
            FRAMES,
            LABELLED_FRAMES,
            PEOPLE,
            PARTS,
            VIDEO_ACTIONS,
            DETECTIONS,
            TRACKS,
            *map(predictions, recipe.scored),
            *map(psc, recipe.scored),
        ),
        sections=(WHOLE,),
        splits=recipe.predict_splits,
        version=_REPORT_VERSION,
        group="delivery",
        description="One HTML page: what is submitted and how good it is, where methods are wrong, videos, lineage.",
        code=_write_report,
    )


def _write_report(read: Reader) -> Path:
    import yaml

    from tps_pipeline.report import page

    recipe: Recipe = read.setting(WHOLE)
    boxes, out = list(boxes_of(recipe)), read.scratch / "report.html"
    page.write(
        out,
        title=f"{recipe.submission} on {read.data.name}",
        method=recipe.submission,
        leaderboard=read(LEADERBOARD),
        actions=read(ACTION_ACCURACY),
        psc=scored(read, recipe.scored),
        chosen=read(METHOD_BY_CATEGORY),
        members=read(STACKING_MEMBERS),
        gain=read(STACKING_GAIN),
        **_details(read, recipe),
        unreadable=read(UNREADABLE),
        logs={name: log for name in _networks(recipe) if (log := read.file(checkpoint(name), "log.csv"))},
        average_precision={name: read(average_precision(name)) for name in boxes},
        confusion={name: read(detector_confusion(name)) for name in boxes},
        recipe_yaml=yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False),
        recipe=read.run.recipe_name,
        store=read.run.store_name,
        lineage=read.history(SUBMISSION, LEADERBOARD),
    )
    return out


def _networks(recipe: Recipe) -> list[str]:
    """All that learns epoch by epoch, by the checkpoint's name."""
    return [learner.name for learner in learners_of(recipe) if not learner.alone]


def _details(read: Reader, recipe: Recipe) -> dict[str, Any]:
    """Parts, states and clips of one split, and which it is: the last one that is labelled."""
    labelled = [split for split in recipe.predict_splits if len(read.of(split)(psc(recipe.submission)))]
    if not labelled:
        return {"split": None, "breakdown": None, "typical": None, "worst": [], "best": []}
    of_split = read.of(labelled[-1])
    clips = _clips(of_split, recipe.submission)
    return {"split": labelled[-1], "breakdown": _breakdown(of_split, recipe), **clips}


def _breakdown(read: Reader, recipe: Recipe) -> Breakdown:
    """What each method makes of a split's annotated parts."""
    from tps_pipeline.evaluation import sampled
    from tps_pipeline.parsing import annotated, predicted
    from tps_pipeline.report.breakdown import break_down

    frames, labelled = frame_index(read), sampled(read(LABELLED_FRAMES), recipe.frames.sample_stride)
    return break_down(
        annotated(labelled, read(PEOPLE), read(PARTS)),
        ((name, predicted(read(predictions(name)), frames)) for name in recipe.scored),
    )


def _clips(read: Reader, method: str) -> dict[str, Clip | list[Clip] | None]:
    """A split's videos that a method does worst and best on, and one between."""
    from tps_pipeline.report import clips

    rows, shard_of = {}, {}
    for shard in read.shards():
        here = read.at(shard)
        (frames,) = here.frames()
        drawable = clips.drawable(frames, here(PARTS))
        for row in here(psc(method)).to_pylist():
            if row["video_id"] in drawable:
                rows[row["video_id"]], shard_of[row["video_id"]] = row, here
    psc_of = {video: row["psc"] for video, row in rows.items()}
    (worst, best), between = clips.choose(psc_of), clips.typical(psc_of)

    def draw(video: str) -> Clip:
        return _draw(shard_of[video], method, rows[video])

    return {
        "typical": draw(between) if between else None,
        "worst": [draw(video) for video in worst],
        "best": [draw(video) for video in best],
    }


def _draw(read: Reader, method: str, row: dict[str, Any]) -> Clip:
    """A video of a shard with what is annotated and what is predicted, to be played; drawn once of the same."""
    import msgspec

    from tps_pipeline.report import clips

    def draw() -> bytes:
        (frames,) = read.frames()
        clip = clips.draw_clip(
            frames,
            row,
            people=read(PEOPLE),
            parts=read(PARTS),
            predictions=read(predictions(method)),
            video_actions=read(VIDEO_ACTIONS),
            detections=read(DETECTIONS),
            tracks=read(TRACKS),
        )
        return msgspec.msgpack.encode(clip)

    drawn_from = (FRAMES, PEOPLE, PARTS, predictions(method), VIDEO_ACTIONS, DETECTIONS, TRACKS)
    kept = read.as_before(drawn_from, [_REPORT_VERSION, *(f"{name}={value}" for name, value in row.items())], draw)
    return msgspec.msgpack.decode(kept, type=clips.Clip)
