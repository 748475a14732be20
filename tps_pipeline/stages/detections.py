"""Where people and their parts are, and what each video shows."""

from __future__ import annotations

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.outputs import FRAMES, SINGLE_STAGE, TRACKS, TWO_STAGE, VIDEO_ACTIONS, VIDEOS, checkpoint
from tps_pipeline.recipe import Recipe


def steps_of(recipe: Recipe) -> list[Step]:
    """Each way in which the recipe detects, and what is made of the videos beside."""
    return [two_stage, *([single_stage] if recipe.single_stage_detector else []), tracks, video_actions]


@step(
    TWO_STAGE,
    reads=(FRAMES, checkpoint("person_detector"), checkpoint("part_detector")),
    sections=("two_stage", "person_detector.inference", "part_detector.inference"),
    version="2",
    gpu=True,
)
def two_stage(read: Reader) -> pa.Table:
    """People on each sampled frame, then the ten parts on each person's crop."""
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


@step(VIDEO_ACTIONS, reads=(VIDEOS, checkpoint("video_action")), version="2", gpu=True)
def video_actions(read: Reader) -> pa.Table:
    """The action of every video."""
    from tps_pipeline.clips import video_action

    return video_action.predict(read.path(checkpoint("video_action")), read(VIDEOS), read.data)
