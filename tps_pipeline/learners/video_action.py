"""The video's action as a learner; how it is trained stands in `tps_pipeline.clips.video_action`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import ClassVar

from tps_pipeline import recipe
from tps_pipeline.outputs import ACTION_NAMES, VIDEOS, Output
from tps_pipeline.reading import Reads


@dataclass(frozen=True)
class VideoActionLearner:
    """The network that names a video's action (a `Learner`)."""

    settings: recipe.VideoAction
    """Its section of the recipe."""
    name: str = "video_action"
    """See `Learner`."""
    section: str = "video_action"
    """See `Learner`."""
    description: str = "Video Swin that names a video's action."
    """See `Learner`."""
    fit_reads: tuple[Output, ...] = (VIDEOS, ACTION_NAMES)
    """See `Learner`."""
    evaluate_reads: tuple[Output, ...] = (VIDEOS,)
    """See `Learner`."""
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
        """See `video_action.train`."""
        from tps_pipeline.clips import video_action

        return video_action.train(
            train(VIDEOS),
            val(VIDEOS),
            train.data,
            [row["action"] for row in train(ACTION_NAMES).to_pylist()],
            self.settings,
            folder=folder,
            seed=seed,
            weights=weights,
        )

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """The share of videos whose action is right."""
        from tps_pipeline.clips import video_action

        videos = val(VIDEOS)
        found = video_action.predict(checkpoint, videos, val.data)
        named = dict(zip(found["video_id"].to_pylist(), found["action"].to_pylist(), strict=True))
        true = zip(videos["video_id"].to_pylist(), videos["action"].to_pylist(), strict=True)
        return mean(named[video] == action for video, action in true)
