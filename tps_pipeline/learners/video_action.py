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
class TrajectoryLearner:
    """The member that sees how detected people move (a `Learner`)."""

    settings: recipe.TrajectoryAction
    """Its section of the recipe."""
    name: str = "video_action_trajectory"
    """See `Learner`."""
    section: str = "video_action.members.trajectory"
    """See `Learner`."""
    description: str = "Skeleton network that names a video's action."
    """See `Learner`."""
    weights: str | None = None
    """See `Learner`."""
    version: str = "1"
    """See `Learner`."""
    alone: bool = False
    """See `Learner`."""
    figure: ClassVar[str] = "accuracy"
    """Share of videos whose best action is the annotated one."""

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """Videos, and the people who are detected, or annotated, in them."""
        videos, *seen = self.evaluate_reads
        return videos, ACTION_NAMES, *seen

    @property
    def evaluate_reads(self) -> tuple[Output, ...]:
        """See `Learner`."""
        return VIDEOS, *((PEOPLE, PARTS) if self.settings.boxes == "annotated" else (DETECTIONS, TRACKS))

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        return self.fit

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `trajectory.train`."""
        from tps_pipeline.actions import trajectory
        from tps_pipeline.actions.people import people_of

        parts = parts_of(distinct(self._seen(train)[0]["part"]))
        known, held_out = (
            (source(VIDEOS), people_of(*self._seen(source), self.settings, parts=parts)) for source in (train, val)
        )
        return trajectory.train(known, held_out, _names(train), self.settings, parts=parts, folder=folder, seed=seed)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """See `trajectory.predict`."""
        from tps_pipeline.actions import trajectory

        return trajectory.predict(checkpoint, shard(VIDEOS), shard(DETECTIONS), shard(TRACKS))

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """The share of videos whose action is right."""
        from tps_pipeline.actions import trajectory

        return _accuracy(trajectory.predict(checkpoint, val(VIDEOS), *self._seen(val)), val(VIDEOS))

    def _seen(self, source: Reads) -> tuple[pa.Table, pa.Table]:
        """The people that it learns from, and their tracks."""
        if self.settings.boxes == "detected":
            return source(DETECTIONS), source(TRACKS)
        from tps_pipeline.actions.people import as_detected
        from tps_pipeline.detection.tracks import track

        boxes = as_detected(source(PEOPLE), source(PARTS))
        return boxes, track(boxes)


@dataclass(frozen=True)
class StatisticsLearner:
    """The member that sees statistics of how detected people move (a `Learner`)."""

    settings: recipe.StatisticsAction
    """Its section of the recipe."""
    name: str = "video_action_statistics"
    """See `Learner`."""
    section: str = "video_action.members.statistics"
    """See `Learner`."""
    description: str = "Randomised trees that name a video's action."
    """See `Learner`."""
    fit_reads: tuple[Output, ...] = (VIDEOS, ACTION_NAMES, DETECTIONS, TRACKS)
    """See `Learner`."""
    evaluate_reads: tuple[Output, ...] = (VIDEOS, DETECTIONS, TRACKS)
    """See `Learner`; what it names actions from."""
    weights: str | None = None
    """See `Learner`."""
    version: str = "1"
    """See `Learner`."""
    alone: bool = True
    """See `Learner`."""
    figure: ClassVar[str] = "accuracy"
    """Share of videos whose best action is the annotated one."""

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        return self.fit

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `statistics.train`."""
        from tps_pipeline.actions import statistics

        parts = _parts(train)
        known, held_out = (_people(source, self.settings, parts) for source in (train, val))
        return statistics.train(known, held_out, _names(train), self.settings, parts=parts, folder=folder, seed=seed)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """See `statistics.predict`."""
        from tps_pipeline.actions import statistics

        return statistics.predict(checkpoint, shard(VIDEOS), shard(DETECTIONS), shard(TRACKS))

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """The share of videos whose action is right."""
        return _accuracy(self.predict(val, checkpoint), val(VIDEOS))


ActionLearner = SwinLearner | TrajectoryLearner | StatisticsLearner
"""A member."""


def members_of(settings: recipe.VideoAction) -> dict[str, ActionLearner]:
    """The members of a recipe's section, by name."""
    members = settings.members
    swin = {"swin": SwinLearner(members.swin)} if members.swin else {}
    trajectory = {"trajectory": TrajectoryLearner(members.trajectory)} if members.trajectory else {}
    statistics = {"statistics": StatisticsLearner(members.statistics)} if members.statistics else {}
    return swin | trajectory | statistics


def _people(
    source: Reads, settings: recipe.TrajectoryAction | recipe.StatisticsAction, parts: tuple[str, ...]
) -> tuple[pa.Table, dict[str, People]]:
    """Videos, and who was detected in them."""
    from tps_pipeline.actions.people import people_of

    return source(VIDEOS), people_of(source(DETECTIONS), source(TRACKS), settings, parts=parts)


def _parts(train: Reads) -> tuple[str, ...]:
    """The parts that are detected in the training videos."""
    return parts_of(distinct(train(DETECTIONS)["part"]))


def _names(train: Reads) -> list[str]:
    return [row["action"] for row in train(ACTION_NAMES).to_pylist()]


def _accuracy(found: pa.Table, videos: pa.Table) -> float:
    named = dict(zip(found["video_id"].to_pylist(), found["action"].to_pylist(), strict=True))
    true = zip(videos["video_id"].to_pylist(), videos["action"].to_pylist(), strict=True)
    return mean(named[video] == action for video, action in true)
