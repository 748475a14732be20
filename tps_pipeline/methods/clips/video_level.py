"""Method `video_level`: Video Swin on a uniform sample names one state a part for the whole video.

Trained on each video's most frequent state of each part; the prediction is given to every person of every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.outputs import DETECTIONS, PARTS, STATE_LABELS, VIDEOS, Output
from tps_pipeline.reading import Reads

if TYPE_CHECKING:
    from tps_pipeline.methods.clips.training import LabelledVideo


@dataclass(frozen=True)
class VideoLevel:
    """One clip a video: a frame from each of equal segments."""

    settings: recipe.VideoLevel
    """The recipe's entry."""
    fit_reads: tuple[Output, ...] = (VIDEOS, PARTS, STATE_LABELS)
    """See `Method`."""
    predict_reads: tuple[Output, ...] = (DETECTIONS, VIDEOS)
    """See `Method`."""
    fit_version: ClassVar[str] = "1"
    """See `Method`."""
    predict_version: ClassVar[str] = "1"
    """See `Method`."""

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train on each video's most frequent states; see `training.fit`."""
        from tps_pipeline.methods.clips import training

        return training.fit(
            self.settings, train, val, keys=["video_id"], draw=self.draw, folder=folder, seed=seed, weights=weights
        )

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Give every detected part the state that is likeliest in its video; see `classifier.predict`."""
        from tps_pipeline.methods.clips import classifier

        network = classifier.load(checkpoint, self.settings)
        plan = VideoLevel(network.settings).plan
        return classifier.predict(network, plan, shard(DETECTIONS), shard(VIDEOS), shard.data)

    def draw(self, video: LabelledVideo, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """Training clips: frames from random places in equal segments (or one of their middles), with the targets."""
        from tps_pipeline.clips.sampling import uniform_sample

        wanted = self.settings.clips_per_video if rng else 1
        clips = [uniform_sample(video.n_frames, self.settings.frames, rng) for _ in range(wanted)]
        # Sorted by segment, so that one pass over the video reads them; they are uniform samples still.
        return np.sort(clips, axis=0), np.repeat(video.targets, wanted, axis=0)

    def plan(self, n_frames: int, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The one clip that tells about all frames: those in the middle of equal segments."""
        from tps_pipeline.clips.sampling import uniform_sample

        return uniform_sample(n_frames, self.settings.frames)[None], np.zeros(len(frames), np.int64)
