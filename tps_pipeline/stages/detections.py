"""Where people and their parts are, and what each video shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.learners.video_action import ActionLearner, members_of
from tps_pipeline.outputs import (
    ACTION_WEIGHTS,
    ACTIONS,
    DETECTIONS,
    FRAMES,
    POSE,
    POSES,
    SINGLE_STAGE,
    TRACKS,
    TWO_STAGE,
    VIDEO_ACTIONS,
    Output,
    checkpoint,
    member_actions,
    weights,
)
from tps_pipeline.recipe import HeatMaps, Recipe, UsedDetector

if TYPE_CHECKING:
    from tps_pipeline.detection.detector import TrainedDetector


def steps_of(recipe: Recipe) -> list[Step]:
    """Each way in which the recipe detects, and what is made of the videos beside."""
    ways: dict[str, Callable[[Recipe], Step]] = {
        "two_stage": _two_stage,
        "single_stage": lambda _: single_stage,
        "pose": _pose,
    }
    return [
        *(ways[way](recipe) for way in recipe.ways),
        tracks,
        *_members_say(recipe),
        *_fusion(recipe),
    ]


def _two_stage(recipe: Recipe) -> Step:
    people, of_people = _person_detector(recipe)
    heat_maps = recipe.part_detector is not None and isinstance(recipe.part_detector.network, HeatMaps)

    @step(
        TWO_STAGE,
        reads=(FRAMES, *people, checkpoint("part_detector")),
        sections=("two_stage", *of_people, "part_detector.inference"),
        version="3" if heat_maps else "2",  # how heat maps are read has changed since
        gpu=True,
    )
    def two_stage(read: Reader) -> pa.Table:
        """People on each sampled frame, then the parts on each person's crop."""
        from tps_pipeline.detection.two_stage import find, load_of
        from tps_pipeline.training.checkpoint import WEIGHTS

        (frames,) = read.frames()
        parts = read.path(checkpoint("part_detector")) / WEIGHTS
        detectors = _people(read, recipe), load_of(parts, read.setting("part_detector.inference"), parts=True)
        return find(frames, *detectors, settings=read.setting("two_stage"))

    return two_stage


def _person_detector(recipe: Recipe) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    """What a step reads, and which parts of the recipe, that looks with the person detector; nothing without one."""
    match recipe.person_detector:
        case None:
            return (), ()
        case UsedDetector(use=name):
            return (weights(name),), ("person_detector", "person_detector.inference")
        case _:
            return (checkpoint("person_detector"),), ("person_detector.inference",)


def _people(read: Reader, recipe: Recipe) -> TrainedDetector:
    """The recipe's person detector, ready for pictures."""
    from tps_pipeline.detection.detector import used
    from tps_pipeline.detection.two_stage import load_of
    from tps_pipeline.training.checkpoint import WEIGHTS

    inference = read.setting("person_detector.inference")
    if isinstance(recipe.person_detector, UsedDetector):
        size = read.setting("person_detector").image_size
        return used(read.path(weights(recipe.person_detector.use)) / WEIGHTS, size=size, inference=inference)
    return load_of(read.path(checkpoint("person_detector")) / WEIGHTS, inference, people=True)


def _pose(recipe: Recipe) -> Step:
    assert recipe.pose
    people, of_people = _person_detector(recipe)
    networks = weights(recipe.pose.weights)

    @step(
        POSE,
        POSES,
        reads=(FRAMES, networks, *people),
        sections=("pose", *(("two_stage", *of_people) if people else ())),
        gpu=bool(people),
    )
    def pose(read: Reader) -> dict[Output, pa.Table]:
        """People on each sampled frame by their landmarks, and the parts that these make by a rule."""
        from tps_pipeline.detection.pose import find
        from tps_pipeline.models.blazepose import load
        from tps_pipeline.training.checkpoint import WEIGHTS

        (frames,) = read.frames()
        found = find(
            frames,
            load(read.path(networks) / WEIGHTS),
            settings=read.setting("pose"),
            person_detector=_people(read, recipe) if people else None,
            two_stage=read.setting("two_stage") if people else None,
        )
        return {POSE: found.detections, POSES: found.poses}

    return pose


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


@step(TRACKS, reads=(DETECTIONS,))
def tracks(read: Reader) -> pa.Table:
    """Who of the detected people is who from frame to frame."""
    from tps_pipeline.detection.tracks import track

    return track(read(DETECTIONS))


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

    @step(ACTION_WEIGHTS, reads=(ACTIONS, *map(member_actions, names)), splits=("val",), version="2")
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
