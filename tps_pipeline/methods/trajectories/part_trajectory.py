"""Method `part_trajectory` (ours): the boxes of a tracked person's parts over time, as keypoints, name the states.

No pixel is read: what a part does shows in where its box goes. The paper names keypoints as its future work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.outputs import ACTIONS, DETECTIONS, PARTS, PEOPLE, STATE_LABELS, TRACKS, VIDEO_ACTIONS, Output
from tps_pipeline.reading import Reads


@dataclass(frozen=True)
class PartTrajectory:
    """Trained on annotated or detected boxes, used on detected ones; all are linked by the same tracker."""

    settings: recipe.PartTrajectory
    """The recipe's entry."""
    fit_version: ClassVar[str] = "2"
    """See `Method`."""
    predict_version: ClassVar[str] = "2"
    """See `Method`."""

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """What is annotated, and the people detected on the same frames where they are learned from."""
        reads = (ACTIONS, PEOPLE, PARTS, STATE_LABELS)
        return reads if self.settings.boxes == "annotated" else (*reads, DETECTIONS)

    @property
    def predict_reads(self) -> tuple[Output, ...]:
        """Detected people and their tracks, and the video's action where that is an input."""
        reads = (DETECTIONS, TRACKS)
        return (*reads, VIDEO_ACTIONS) if self.settings.action else reads

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train on people whose parts are annotated; see `training.fit`."""
        from tps_pipeline.methods.trajectories import training

        return training.fit(self.settings, train, val, folder=folder, seed=seed)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Give every part of everyone detected a state; see `classifier.predict`."""
        from tps_pipeline.methods.trajectories import classifier

        return classifier.predict(
            checkpoint, *(shard(output) for output in self.predict_reads), inference=self.settings.inference
        )
