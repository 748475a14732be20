"""The methods that give each detected part a state, all with one shape.

A method is a small class built from its recipe entry. `fit_reads` and `predict_reads` name the outputs it needs;
`fit` sees them over the training shards and leaves a checkpoint folder, `predict` sees them for one shard and gives
that shard's predictions. Its checkpoint, prediction and score assets follow from the recipe entry alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.outputs import Output
from tps_pipeline.reading import Reads


class Method(Protocol):
    """What the graph asks of a method."""

    fit_version: ClassVar[str]
    """Of the code that learns: bumped when it learns something else from the same."""
    predict_version: ClassVar[str]
    """Of the code that predicts: bumped when it predicts something else by the same checkpoint."""

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """The outputs that `fit` needs."""
        ...

    @property
    def predict_reads(self) -> tuple[Output, ...]:
        """The outputs that `predict` needs beside the checkpoint."""
        ...

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Learn from the training shards, and from imported weights if any, and leave a checkpoint in a folder.

        Nothing in the entry's `inference` part is looked at.

        Returns:
            Figures worth keeping with the checkpoint.
        """
        ...

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Predict one shard: the checkpoint says what the network is, the entry's `inference` part how it is used.

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
            from tps_pipeline.methods.clips.video_level import VideoLevel

            return VideoLevel(settings)
        case recipe.SegmentLevel():
            from tps_pipeline.methods.clips.segment_level import SegmentLevel

            return SegmentLevel(settings)
        case recipe.InstanceLevel():
            from tps_pipeline.methods.people.instance_level import InstanceLevel

            return InstanceLevel(settings)
        case recipe.EndToEnd():
            from tps_pipeline.methods.end_to_end.end_to_end import EndToEnd

            return EndToEnd(settings)
        case recipe.PartStateDetector():
            from tps_pipeline.methods.part_state_detector import PartStateDetector

            return PartStateDetector(settings)
        case recipe.PartTrajectory():
            from tps_pipeline.methods.trajectories.part_trajectory import PartTrajectory

            return PartTrajectory(settings)
        case recipe.OwnMethod():
            from tps_pipeline.methods import own

            return own.of(settings)
