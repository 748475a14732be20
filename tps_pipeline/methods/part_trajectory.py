"""Method ``part_trajectory`` (ours): the boxes of a tracked person's parts over time, as keypoints, name the states.

No pixel is read: what a part does shows in where its box goes. The report names keypoints as its future work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.methods import Sources


@dataclass(frozen=True)
class PartTrajectory:
    """Trained on annotated boxes, used on detected ones; both are linked by the same tracker."""

    settings: recipe.PartTrajectory
    fit_reads: tuple[str, ...] = (
        "annotations/actions",
        "annotations/people",
        "annotations/parts",
        "vocabulary/states",
    )
    predict_reads: tuple[str, ...] = ("detections/two_stage", "tracks")

    def fit(
        self, train: Sources, val: Sources, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train on annotated people; see `trajectory_classifier.fit`."""
        from tps_pipeline.methods import trajectory_classifier

        return trajectory_classifier.fit(self.settings, train, val, folder=folder, seed=seed)

    def predict(self, shard: Sources, checkpoint: Path) -> pa.Table:
        """Give every part of everyone detected a state; see `trajectory_classifier.predict`."""
        from tps_pipeline.methods import trajectory_classifier

        return trajectory_classifier.predict(checkpoint, *(shard.table(name) for name in self.predict_reads))


@dataclass(frozen=True)
class PartTrajectoryOfAction(PartTrajectory):
    """The same with the probabilities of the video's actions as an input."""

    predict_reads: tuple[str, ...] = (*PartTrajectory.predict_reads, "video_actions")
