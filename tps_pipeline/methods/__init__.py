"""The methods that give each detected part a state, all with one shape.

A method is a small class built from its recipe entry. ``fit_reads`` and ``predict_reads`` name the assets it needs;
``fit`` sees them over the training shards and leaves a checkpoint folder, ``predict`` sees them for one shard and gives
that shard's predictions. Its checkpoint, prediction and score assets follow from the recipe entry alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from tps_pipeline import recipe

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile


@dataclass(frozen=True)
class Sources:
    """What a method reads from, over some shards."""

    table: Callable[[str], pa.Table]
    """Gives an asset's table: over the shards, or whole where the asset has none."""
    frames: Callable[[], list[FrameFile]]
    """Gives the shards' extracted frames."""
    data: Path
    """The folder that the paths in ``videos`` start from."""


class Method(Protocol):
    """What the asset graph asks of a method."""

    @property
    def fit_reads(self) -> tuple[str, ...]:
        """The assets that ``fit`` needs."""
        ...

    @property
    def predict_reads(self) -> tuple[str, ...]:
        """The assets that ``predict`` needs beside the checkpoint."""
        ...

    def fit(
        self, train: Sources, val: Sources, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Learn from the training shards, and from imported weights if any, and leave a checkpoint in a folder.

        Returns:
            Figures worth keeping with the checkpoint.
        """
        ...

    def predict(self, shard: Sources, checkpoint: Path) -> pa.Table:
        """Predict one shard.

        Returns:
            A table of `tables.PREDICTIONS`, one state for each detected part.
        """
        ...


def build(settings: recipe.Method) -> Method:
    """The method that a recipe entry describes; what it computes with is imported when it computes."""
    match settings:
        case recipe.VideoCategory():
            from tps_pipeline.methods.video_category import VideoCategory

            return VideoCategory(settings)
        case recipe.VideoLevel():
            from tps_pipeline.methods.video_level import VideoLevel

            return VideoLevel(settings)
        case recipe.SegmentLevel():
            from tps_pipeline.methods.segment_level import SegmentLevel

            return SegmentLevel(settings)
        case recipe.InstanceLevel():
            from tps_pipeline.methods.instance_level import InstanceLevel

            return InstanceLevel(settings)
        case recipe.PartStateDetector():
            from tps_pipeline.methods.part_state_detector import PartStateDetector

            return PartStateDetector(settings)
        case recipe.PartTrajectory():
            from tps_pipeline.methods.part_trajectory import PartTrajectory, PartTrajectoryOfAction

            return PartTrajectoryOfAction(settings) if settings.action else PartTrajectory(settings)
