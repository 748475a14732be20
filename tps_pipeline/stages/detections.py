"""Where people and their parts are, and what each video shows."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.learners.video_action import ActionLearner, members_of
from tps_pipeline.outputs import (
    ACTION_WEIGHTS,
    ACTIONS,
    FRAMES,
    SINGLE_STAGE,
    TRACKS,
    TWO_STAGE,
    VIDEO_ACTIONS,
    checkpoint,
    member_actions,
)
from tps_pipeline.recipe import Recipe


def steps_of(recipe: Recipe) -> list[Step]:
    """Each way in which the recipe detects, and what is made of the videos beside."""
    return [
        two_stage,
        *([single_stage] if recipe.single_stage_detector else []),
        tracks,
        *_members_say(recipe),
        *_fusion(recipe),
    ]


@step(
    TWO_STAGE,
    reads=(FRAMES, checkpoint("person_detector"), checkpoint("part_detector")),
    sections=("two_stage", "person_detector.inference", "part_detector.inference"),
    version="2",
    gpu=True,
)
def two_stage(read: Reader) -> pa.Table:
    """People on each sampled frame, then the parts on each person's crop."""
    from tps_pipeline.detection.two_stage import detect
    from tps_pipeline.training.checkpoint import WEIGHTS

    (frames,) = read.frames()
    return detect(
        frames,
        read.path(checkpoint("person_detector")) / WEIGHTS,
        read.path(checkpoint("part_detector")) / WEIGHTS,
        settings=read.setting("two_stage"),
        inference=(read.setting("person_detector.inference"), read.setting("part_detector.inference")),
    )


@step(
    SINGLE_STAGE,
    reads=(FRAMES, checkpoint("single_stage_detector")),
    sections=("single_stage", "single_stage_detector.inference"),
    version="2",
    gpu=True,
)
def single_stage(read: Reader) -> pa.Table:
    """People and parts on each sampled frame at once, then parts given to people."""
    from tps_pipeline.detection.single_stage import detect
    from tps_pipeline.training.checkpoint import WEIGHTS

    (frames,) = read.frames()
    return detect(
        frames,
        read.path(checkpoint("single_stage_detector")) / WEIGHTS,
        settings=read.setting("single_stage"),
        inference=read.setting("single_stage_detector.inference"),
    )


@step(TRACKS, reads=(TWO_STAGE,))
def tracks(read: Reader) -> pa.Table:
    """Who of the detected people is who from frame to frame."""
    from tps_pipeline.detection.tracks import track

    return track(read(TWO_STAGE))


def _members_say(recipe: Recipe) -> list[Step]:
    """What each member says of the video's action."""
    return [_member_says(name, member) for name, member in members_of(recipe.video_action).items()]


def _member_says(name: str, member: ActionLearner) -> Step:
    return Step(
        (member_actions(name),),
        partial(_say, member),
        reads=(checkpoint(member.name), *member.evaluate_reads),
        group="detections",
        description=f"The action of every video, by the member {name}.",
        gpu=not member.alone,
        code=member.predict,
    )


def _say(member: ActionLearner, read: Reader) -> pa.Table:
    return member.predict(read, read.path(checkpoint(member.name)))


def _fusion(recipe: Recipe) -> list[Step]:
    """The members' weights, if they are found on held-out videos, and what all say together."""
    names = recipe.video_action.members.names
    fitted = recipe.video_action.fusion == "fitted" and len(names) > 1

    @step(ACTION_WEIGHTS, reads=(ACTIONS, *map(member_actions, names)), splits=("val",))
    def action_weights(read: Reader) -> pa.Table:
        """How much each member counts: the weights under which the annotated actions of `val` are likeliest."""
        from tps_pipeline.actions import fusion

        return fusion.fitted_weights({name: read(member_actions(name)) for name in names}, read(ACTIONS))

    @step(VIDEO_ACTIONS, reads=(*map(member_actions, names), *([ACTION_WEIGHTS] if fitted else [])))
    def video_actions(read: Reader) -> pa.Table:
        """The action of every video."""
        from tps_pipeline.actions import fusion

        said = {name: read(member_actions(name)) for name in names}
        return fusion.fuse(said, read(ACTION_WEIGHTS) if fitted else None)

    return [action_weights, video_actions] if fitted else [video_actions]
