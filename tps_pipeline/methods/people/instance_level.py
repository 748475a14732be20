"""Methods `instance_pcp` and `instance_pp`: SlowFast and relations between people name each one's states.

The people of a frame are looked at in the clip around it, all in one pass. Nobody's states are another's, as they
are in the clip methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.outputs import DETECTIONS, PARTS, PEOPLE, POSES, STATE_LABELS, TRACKS, VIDEOS, Output
from tps_pipeline.reading import Reads

if TYPE_CHECKING:
    from tps_pipeline.methods.people.key_frames import KeyFrame, KeyFrameVideo


@dataclass(frozen=True)
class InstanceLevel:
    """A clip for each frame, and a state a part for each person in the frame."""

    settings: recipe.InstanceLevel
    """The recipe's entry."""
    fit_version: ClassVar[str] = "1"
    """See `Method`."""
    predict_version: ClassVar[str] = "1"
    """See `Method`."""

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """Annotated people, and detected ones or landmarks where they are trained on as well."""
        matching = () if self.settings.matching_detections is None else (DETECTIONS,)
        return (VIDEOS, PEOPLE, PARTS, STATE_LABELS, *matching, *((POSES,) if self.settings.keypoints else ()))

    @property
    def predict_reads(self) -> tuple[Output, ...]:
        """Detected people, their tracks where it matters who is who from frame to frame, and their landmarks."""
        tracks, poses = (TRACKS,) if self.settings.tracked else (), (POSES,) if self.settings.keypoints else ()
        return (DETECTIONS, VIDEOS, *tracks, *poses)

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train on annotated people, and on detected ones who match; see `training.fit`."""
        from tps_pipeline.methods.people import training

        return training.fit(self.settings, train, val, draw=self.draw, folder=folder, seed=seed, weights=weights)

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Give the parts of everyone detected the likeliest states; see `classifier.predict`."""
        from tps_pipeline.methods.people import classifier

        network = classifier.load(checkpoint, self.settings)
        clips = InstanceLevel(network.settings).clips
        tracks = shard(TRACKS) if self.settings.tracked else None
        poses = shard(POSES) if self.settings.keypoints else None
        return classifier.predict(
            network, clips, shard(DETECTIONS), shard(VIDEOS), shard.data, tracks=tracks, poses=poses
        )

    def draw(self, video: KeyFrameVideo, rng: np.random.Generator | None) -> tuple[np.ndarray, list[KeyFrame]]:
        """Training clips around random labelled frames (or evenly spaced ones), with the people in those frames."""
        from tps_pipeline.clips.sampling import choose

        if self.settings.tracked:
            chosen = self._neighbours(video.frames, rng)
        else:
            chosen = choose(len(video.frames), self.settings.clips_per_video, rng)
        return self.clips(video.n_frames, video.frames[chosen]), [video.key_frames[at] for at in chosen]

    def clips(self, n_frames: int, key_frames: np.ndarray) -> np.ndarray:
        """The frames of the clips around some frames of a video, ascending from 0: `(K, T)`."""
        from tps_pipeline.clips.sampling import dense_samples

        length, interval, label = self.settings.frames, self.settings.interval, self.settings.key_frame
        return dense_samples(key_frames, n_frames, length=length, interval=interval, label=label)

    def _neighbours(self, frames: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """The labelled frames nearest to a stretch's, which begins at random (or so that it is in the middle)."""
        wanted = np.arange(self.settings.clips_per_video) * self.settings.track_stride
        room = max(0, frames[-1] - frames[0] - wanted[-1])
        begin = frames[0] + (room // 2 if rng is None else rng.integers(room + 1))
        return np.abs(frames[None] - (begin + wanted)[:, None]).argmin(1)
