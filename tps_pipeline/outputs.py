"""Every output of the pipeline, declared once: its key, its table's schema, whether it has shards, its file's suffix.

What a step makes and reads is named by these constants and by nothing else, so Dagster's dependencies, lineage, the
command line and the report cannot mean different things. An output that there is once for each method, network or way
to detect is made by a function of the name. How an output is made stands in `tps_pipeline.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.recipe.schema import ENSEMBLES

Key = tuple[str, str | None]
"""One thing in the store: an output's key and a shard (None where the output has none)."""

SPLITS = ("train", "val", "test")
"""The splits in the order in which they are listed; `val` is drawn from the training videos."""


@dataclass(frozen=True)
class Output:
    """Something that is made, kept in the store and read by others.

    Attributes:
        key: Its asset key, and where it is in the store.
        schema: Its table's; None if it is no table.
        sharded: Whether there is one for each shard.
        suffix: Its file's; empty for a folder.
        by_version: Every version stays in a folder of its own under the key (checkpoints).
    """

    key: str
    schema: pa.Schema | None = field(default=None, compare=False, repr=False)
    sharded: bool = False
    suffix: str = ".parquet"
    by_version: bool = False

    def at(self, shard: str | None = None) -> Key:
        """The output, or its part of a shard."""
        return self.key, shard

    def path(self, shard: str | None = None) -> str:
        """Where it is, relative to the store's root; of an output with versions, the folder that they are in.

        >>> FRAMES.path("train-000"), LEADERBOARD.path()
        ('frames/train-000.arrow', 'leaderboard.parquet')
        """
        return f"{self.key}/{shard}{self.suffix}" if shard else f"{self.key}{self.suffix}"


def name_of(key: Key) -> str:
    """What people call it: `frames/train-000`, `leaderboard`."""
    return "/".join(filter(None, key))


SHARDS = Output("shards", tables.SHARD, sharded=True)
"""A shard's manifest: the videos that were taken in together."""

VIDEOS = Output("videos", tables.VIDEOS, sharded=True)
"""The facts of a shard's probed videos."""

UNREADABLE = Output("unreadable", tables.UNREADABLE)
"""The videos that could not be read, wholly or in part."""

ACTIONS = Output("annotations/actions", tables.ACTIONS, sharded=True)
"""The annotated action of each labelled video."""

LABELLED_FRAMES = Output("annotations/labelled_frames", tables.LABELLED_FRAMES, sharded=True)
"""The frames that have annotations."""

PEOPLE = Output("annotations/people", tables.PEOPLE, sharded=True)
"""The annotated people's boxes."""

PARTS = Output("annotations/parts", tables.PARTS, sharded=True)
"""The annotated parts' boxes and states."""

OBJECTS = Output("annotations/objects", tables.OBJECTS, sharded=True)
"""The annotated objects' boxes and names."""

FRAMES = Output("frames", tables.FRAMES, sharded=True, suffix=".arrow")
"""The extracted frames as JPEGs, in an Arrow file that is mapped into memory."""

ACTION_NAMES = Output("vocabulary/actions", tables.ACTION_NAMES)
"""The actions that training videos have."""

STATE_LABELS = Output("vocabulary/states", tables.STATE_LABELS)
"""The (part, state) pairs that training videos have."""

STATE_COUNTS = Output("vocabulary/state_counts", tables.STATE_COUNTS)
"""How often training videos have each state, by action and part."""

TWO_STAGE = Output("detections/two_stage", tables.DETECTIONS, sharded=True)
"""Boxes of people, and of parts on each person's crop."""

SINGLE_STAGE = Output("detections/single_stage", tables.DETECTIONS, sharded=True)
"""Boxes of people and parts by one detector on whole frames, for comparison."""

DETECTIONS = Output("detections", tables.DETECTIONS, sharded=True)
"""The boxes that everybody reads: those of the way to detect that the recipe names. Nothing makes it: `resolved` says
which output it stands for."""

POSE = Output("detections/pose", tables.DETECTIONS, sharded=True)
"""Boxes of people, and of the parts that each one's landmarks make."""

POSES = Output("poses", tables.POSES, sharded=True)
"""The landmarks of the people of `detections/pose`."""

WAYS = {"two_stage": TWO_STAGE, "single_stage": SINGLE_STAGE, "pose": POSE}
"""The ways to detect, by the names that recipes have for them."""

TRACKS = Output("tracks", tables.TRACKS, sharded=True)
"""Which detected people are the same person over a video's frames."""

VIDEO_ACTIONS = Output("video_actions", tables.VIDEO_ACTIONS, sharded=True)
"""The predicted actions of each video: by the one member that names them, or by all together."""

ACTION_WEIGHTS = Output("video_action_weights", tables.ACTION_WEIGHTS)
"""How much each member counts that names the video's action, where that was found on `val`."""

ACTION_ACCURACY = Output("video_action_accuracy", tables.ACTION_ACCURACY)
"""How often each member names the right action, and all together."""

RANKING = Output("ensemble/ranking", tables.RANKING)
"""The methods by their scores, best first: who votes in the ensembles."""

STACKING = Output("stacking/weights", tables.STACKING)
"""What the stack has learned."""

STACKING_MEMBERS = Output("stacking/members", tables.STACKING_MEMBERS)
"""Who is in the stack, and what each adds."""

STACKING_GAIN = Output("stacking/gain", tables.STACKING_GAIN)
"""Whether the stack gains over the best single method, and how much."""

METHOD_BY_CATEGORY = Output("method_by_category", tables.METHOD_BY_CATEGORY)
"""The method chosen for each action."""

LEADERBOARD = Output("leaderboard", tables.LEADERBOARD)
"""All scores of all methods and ensembles."""

SUBMISSION = Output("submission", suffix="")
"""The folder with the challenge's files."""

REPORT = Output("report", suffix=".html")
"""One page on a whole run."""


SCORED_WITH = (ACTIONS, LABELLED_FRAMES, PEOPLE, PARTS, FRAMES, VIDEO_ACTIONS)
"""What predictions are scored with."""


CHECKPOINTS, DATASETS, WEIGHTS, CHECKS = "checkpoints/", "datasets/", "weights/", "checks/"
"""How keys begin: of all that is trained, of what detectors are trained on, of imported weights, of verdicts."""

PREDICTIONS = "predictions/"
"""How the keys of methods' predictions begin; those of ensembles begin otherwise."""

FOLDERS = Output("data", sharded=True, suffix=".json")
"""The data folders that a store was filled from; mostly there is one."""

REMOVED = Output("removed", sharded=True, suffix=".json")
"""Shards and videos that were taken out, and why."""


def resolved(output: Output, way: str) -> Output:
    """What an output stands for where a recipe detects in some way (`Recipe.detections`).

    >>> resolved(DETECTIONS, "pose").key, resolved(TRACKS, "pose").key
    ('detections/pose', 'tracks')
    """
    return WAYS[way] if output == DETECTIONS else output


def weights(name: str) -> Output:
    """Imported weights that a network starts from."""
    return Output(f"{WEIGHTS}{name}", suffix="")


def dataset(name: str) -> Output:
    """What a detector trains on."""
    return Output(f"{DATASETS}{name}", tables.SAMPLES, sharded=True)


def checkpoint(name: str) -> Output:
    """What a network or method has learned."""
    return Output(f"{CHECKPOINTS}{name}", suffix="", by_version=True)


def candidate(name: str) -> Output:
    """What a network or method has learned that did not take the current checkpoint's place."""
    return Output(f"candidates/{name}", suffix="", by_version=True)


def member_actions(name: str) -> Output:
    """The actions of each video that one member names."""
    return Output(f"{VIDEO_ACTIONS.key}/{name}", tables.VIDEO_ACTIONS, sharded=True)


def predictions(name: str) -> Output:
    """The states that a method or an ensemble gives to parts."""
    return Output(f"{'ensemble' if name in ENSEMBLES else 'predictions'}/{name}", tables.PREDICTIONS, sharded=True)


def psc(name: str) -> Output:
    """Part state correctness of a method or an ensemble, by video."""
    return Output(f"psc/{name}", tables.PSC, sharded=True)


def average_precision(name: str) -> Output:
    """How well people and parts are found, by what has boxes of its own."""
    return Output(f"average_precision/{name}", tables.AVERAGE_PRECISION)


def detector_confusion(name: str) -> Output:
    """How often sides and people are mixed up, by what has boxes of its own."""
    return Output(f"detector_confusion/{name}", tables.DETECTOR_CONFUSION)


def verdict(output: Output, check: str) -> Output:
    """What a check says of an output."""
    return Output(f"{CHECKS}{output.key}/{check}", tables.PROBLEMS, sharded=output.sharded)


def allowance(key: str) -> Output:
    """That an output may be read though a check has failed, and why; by the output's key."""
    return Output(f"allowed/{key}", sharded=True, suffix=".json")
