"""The members that name a video's action as learners; how they are trained stands in `tps_pipeline.actions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.labels import parts_of
from tps_pipeline.outputs import ACTION_NAMES, DETECTIONS, PARTS, PEOPLE, TRACKS, VIDEOS, Output
from tps_pipeline.reading import Reads
from tps_pipeline.tables import distinct

if TYPE_CHECKING:
    from tps_pipeline.actions.people import People


@dataclass(frozen=True)
class SwinLearner:
    """The member that sees the pictures (a `Learner`)."""

    settings: recipe.SwinAction
    """Its section of the recipe."""
    name: str = "video_action"
    """See `Learner`; it is that of the time when there was no other member, so that stores keep their network."""
    section: str = "video_action.members.swin"
    """See `Learner`."""
    description: str = "Video Swin that names a video's action."
    """See `Learner`."""
    fit_reads: tuple[Output, ...] = (VIDEOS, ACTION_NAMES)
    """See `Learner`."""
    evaluate_reads: tuple[Output, ...] = (VIDEOS,)
    """See `Learner`; what it names actions from."""
    version: str = "1"
    """See `Learner`."""
    alone: bool = False
    """See `Learner`."""
    figure: ClassVar[str] = "accuracy"
    """Share of videos whose best action is the annotated one."""

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        return self.fit

    @property
    def weights(self) -> str | None:
        """The imported weights that it starts from."""
        return self.settings.network.weights

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `swin.train`."""
        from tps_pipeline.actions import swin

        names = _names(train)
        seen = (train(VIDEOS), val(VIDEOS), train.data)
        return swin.train(*seen, names, self.settings, folder=folder, seed=seed, weights=weights)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """See `swin.predict`."""
        from tps_pipeline.actions import swin

        return swin.predict(checkpoint, shard(VIDEOS), shard.data)

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """The share of videos whose action is right."""
        return _accuracy(self.predict(val, checkpoint), val(VIDEOS))


@dataclass(frozen=True)
class MotionLearner:
    """A member that sees how detected people move (a `Learner`)."""

    settings: recipe.TrajectoryAction | recipe.StatisticsAction
    """Its section of the recipe, which says what kind of member it is."""
    evaluate_reads: tuple[Output, ...] = (VIDEOS, DETECTIONS, TRACKS)
    """See `Learner`; what it names actions from."""
    weights: str | None = None
    """See `Learner`."""
    version: str = "2"
    """See `Learner`."""
    figure: ClassVar[str] = "accuracy"
    """Share of videos whose best action is the annotated one."""

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """Videos, the actions' names, and the people who are detected, or annotated."""
        people = (PEOPLE, PARTS) if self.settings.boxes == "annotated" else (DETECTIONS, TRACKS)
        return VIDEOS, ACTION_NAMES, *people

    @property
    def alone(self) -> bool:
        """See `Learner`; trees are grown in one process."""
        return isinstance(self.settings, recipe.StatisticsAction)

    @property
    def member(self) -> str:
        """What the recipe calls it."""
        return "statistics" if self.alone else "trajectory"

    @property
    def name(self) -> str:
        """See `Learner`."""
        return f"video_action_{self.member}"

    @property
    def section(self) -> str:
        """See `Learner`."""
        return f"video_action.members.{self.member}"

    @property
    def description(self) -> str:
        """See `Learner`."""
        return f"{'Randomised trees that name' if self.alone else 'Skeleton network that names'} a video's action."

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        return self.fit

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `trajectory.train` and `statistics.train`."""
        from tps_pipeline.actions import statistics, trajectory

        settings, parts = self.settings, parts_of(distinct(_boxes(train, self.settings)[0]["part"]))
        known, held_out = (_seen(source, settings, parts) for source in (train, val))
        if isinstance(settings, recipe.StatisticsAction):
            return statistics.train(known, held_out, _names(train), settings, parts=parts, folder=folder, seed=seed)
        return trajectory.train(known, held_out, _names(train), settings, parts=parts, folder=folder, seed=seed)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """See `Scope.predict`."""
        from tps_pipeline.actions import statistics, trajectory

        predict = statistics.predict if self.alone else trajectory.predict
        return predict(checkpoint, shard(VIDEOS), shard(DETECTIONS), shard(TRACKS))

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """The share of videos whose action is right."""
        return _accuracy(self.predict(val, checkpoint), val(VIDEOS))


ActionLearner = SwinLearner | MotionLearner
"""A member."""


def members_of(settings: recipe.VideoAction) -> dict[str, ActionLearner]:
    """The members of a recipe's section, by name."""
    members = settings.members
    swin = {"swin": SwinLearner(members.swin)} if members.swin else {}
    motion = [MotionLearner(each) for each in (members.trajectory, members.statistics) if each]
    return swin | {learner.member: learner for learner in motion}


def _seen(
    source: Reads, settings: recipe.TrajectoryAction | recipe.StatisticsAction, parts: tuple[str, ...]
) -> tuple[pa.Table, dict[str, People]]:
    """Videos, and who is learned from in them."""
    from tps_pipeline.actions.people import people_of

    return source(VIDEOS), people_of(source(VIDEOS), *_boxes(source, settings), settings, parts=parts)


def _boxes(source: Reads, settings: recipe.TrajectoryAction | recipe.StatisticsAction) -> tuple[pa.Table, pa.Table]:
    """The boxes that are learned from, as `tables.DETECTIONS`, and their tracks."""
    if settings.boxes == "detected":
        return source(DETECTIONS), source(TRACKS)
    from tps_pipeline.actions.people import as_detected
    from tps_pipeline.detection.tracks import track

    boxes = as_detected(source(PEOPLE), source(PARTS))
    return boxes, track(boxes)


def _names(train: Reads) -> list[str]:
    return [row["action"] for row in train(ACTION_NAMES).to_pylist()]


def _accuracy(found: pa.Table, videos: pa.Table) -> float:
    named = dict(zip(found["video_id"].to_pylist(), found["action"].to_pylist(), strict=True))
    true = zip(videos["video_id"].to_pylist(), videos["action"].to_pylist(), strict=True)
    return mean(named[video] == action for video, action in true)
