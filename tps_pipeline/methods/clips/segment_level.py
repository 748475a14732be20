"""Method `segment_level`: ir-CSN on a dense sample around a frame names one state a part for it.

Trained on each frame's states, of several people the most frequent one; the prediction is given to every person in the
frame.
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
class SegmentLevel:
    """A clip for each key frame: the frames around it."""

    settings: recipe.SegmentLevel
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
        """Train on the states of labelled frames; see `training.fit`."""
        from tps_pipeline.methods.clips import training

        keys = ["video_id", "frame"]
        return training.fit(
            self.settings, train, val, keys=keys, draw=self.draw, folder=folder, seed=seed, weights=weights
        )

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Give every detected part the state that is likeliest around its frame; see `classifier.predict`."""
        from tps_pipeline.methods.clips import classifier

        network = classifier.load(checkpoint, self.settings)
        plan = SegmentLevel(network.settings).plan
        return classifier.predict(network, plan, shard(DETECTIONS), shard(VIDEOS), shard.data)

    def draw(self, video: LabelledVideo, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """Training clips around random labelled frames (or evenly spaced ones), with the frames' targets."""
        from tps_pipeline.clips.sampling import choose

        chosen = choose(len(video.frames), self.settings.clips_per_video, rng)
        return self._clips(video.n_frames, video.frames[chosen]), video.targets[chosen]

    def plan(self, n_frames: int, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clips around the key frames that are nearest to the frames; of two equally near ones the earlier."""
        stride = self.settings.inference.key_frame_stride
        last = (n_frames - 1) // stride
        nearest = np.minimum((frames + (stride - 1) // 2) // stride, last) * stride
        key_frames, clip_of_frame = np.unique(nearest, return_inverse=True)
        return self._clips(n_frames, key_frames), clip_of_frame

    def _clips(self, n_frames: int, key_frames: np.ndarray) -> np.ndarray:
        from tps_pipeline.clips.sampling import dense_samples

        length, interval, label = self.settings.frames, self.settings.interval, self.settings.key_frame
        return dense_samples(key_frames, n_frames, length=length, interval=interval, label=label)
