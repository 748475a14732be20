"""Method `end_to_end`: people, their parts and their parts' states from one look at a clip, no detector before it.

A frame is looked at in the clip that it ends, so that nothing that comes later changes what is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.outputs import FRAMES, LABELLED_FRAMES, PARTS, PEOPLE, STATE_LABELS, VIDEOS, Output
from tps_pipeline.reading import Reads

if TYPE_CHECKING:
    from tps_pipeline.methods.end_to_end.key_frames import KeyFrame, KeyFrameVideo


@dataclass(frozen=True)
class EndToEnd:
    """A clip for each frame, and all that is in the frame."""

    settings: recipe.EndToEnd
    """The recipe's entry."""
    fit_reads: tuple[Output, ...] = (VIDEOS, LABELLED_FRAMES, PEOPLE, PARTS, STATE_LABELS)
    """See `Method`."""
    predict_reads: tuple[Output, ...] = (VIDEOS, FRAMES)
    """See `Method`; of the frames it is read which they are."""
    fit_version: ClassVar[str] = "2"
    """See `Method`."""
    predict_version: ClassVar[str] = "3"
    """See `Method`."""

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train on annotated people and parts; see `training.fit`."""
        from tps_pipeline.methods.end_to_end import training

        return training.fit(self.settings, train, val, draw=self.draw, folder=folder, seed=seed, weights=weights)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Find everyone in the extracted frames; see `classifier.predict`."""
        from tps_pipeline.methods.end_to_end import classifier
        from tps_pipeline.reading import frame_index

        network = classifier.load(checkpoint, self.settings)
        clips = EndToEnd(network.settings).clips
        return classifier.predict(network, clips, frame_index(shard), shard(VIDEOS), shard.data)

    def draw(self, video: KeyFrameVideo, rng: np.random.Generator | None) -> tuple[np.ndarray, list[KeyFrame]]:
        """Training clips that random labelled frames (or evenly spaced ones) end, with what is in those frames."""
        from tps_pipeline.clips.sampling import choose

        chosen = choose(len(video.frames), self.settings.clips_per_video, rng)
        return self.clips(video.n_frames, video.frames[chosen]), [video.key_frames[at] for at in chosen]

    def clips(self, n_frames: int, key_frames: np.ndarray) -> np.ndarray:
        """The frames of the clips that end with some frames of a video, ascending from 0: `(K, T)`."""
        from tps_pipeline.clips.sampling import dense_samples

        length, interval = self.settings.frames, self.settings.interval
        return dense_samples(key_frames, n_frames, length=length, interval=interval, label="end")
