"""Who is who from frame to frame: people are linked over the sampled frames of each video.

ByteTrack (arXiv 2110.06864) in the implementation of the `trackers` library: a Kalman filter predicts each track's box,
and boxes are assigned to predictions by overlap, confident ones first.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.tables import BOX, PERSON_BOX

CONFIDENT = 0.3
"""Score from which a person begins a track and is assigned first; fainter ones only continue tracks. ByteTrack's is
0.6; here a track too many costs nothing, one too few costs a person's motion."""
OVERLAP = 0.1
"""Least overlap of a box with a track's prediction (ByteTrack's)."""
REMEMBERED = 5
"""Sampled frames that a track outlives without being seen."""
ALONE = -1
"""In place of a track: of somebody who is linked to nobody."""
_PERSON = ["video_id", "frame", "person"]


def track(detections: pa.Table) -> pa.Table:
    """Link the people of each video.

    Args:
        detections: `tables.DETECTIONS`, or `tables.PEOPLE` (as sure of everyone). Frames without people count by their
            numbers: time goes in the smallest step between a video's frames.

    Returns:
        A table of `tables.TRACKS`: every person has a track; who is linked to nobody has one of their own. Tracks are
        numbered from 0 in each video, in the order of their first frames.
    """
    detected = "person_score" in detections.column_names
    columns = [*_PERSON, *(["person_score", *PERSON_BOX] if detected else BOX)]
    people = detections.select(columns).to_pandas().drop_duplicates(_PERSON).sort_values(_PERSON, kind="stable")
    boxes = people[[*(PERSON_BOX if detected else BOX)]].to_numpy(np.float32)
    scores = people.person_score.to_numpy() if detected else np.ones(len(people), np.float32)
    frames, linked = people.frame.to_numpy(), np.zeros(len(people), np.int32)
    for of_video in people.groupby("video_id", observed=True).indices.values():
        linked[of_video] = link(frames[of_video], boxes[of_video], scores[of_video])
    return tables.conform(people.assign(track_id=linked), tables.TRACKS)


def link(frames: NDArray[np.int32], boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Link the people of one video.

    Args:
        frames: Each person's frame, ascending, (N,).
        boxes: Inclusive corners, (N, 4).
        scores: (N,).

    Returns:
        Each person's track, (N,).
    """
    distinct, starts = np.unique(frames, return_index=True)
    step = np.diff(distinct).min(initial=frames[-1])
    linker, tracks = Linker(), np.full(len(frames), ALONE, np.int32)
    for frame, of_frame in zip(distinct, np.split(np.arange(len(frames)), starts[1:]), strict=True):
        tracks[of_frame] = linker.update(frame / step, boxes[of_frame], scores[of_frame])
    alone = tracks == ALONE
    tracks[alone] = linker.known + np.arange(alone.sum())
    _, first, track_of = np.unique(tracks, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[track_of].astype(np.int32)


class Linker:
    """Links the people of one video, frame by frame.

    Attributes:
        known: How many tracks there are so far.
    """

    def __init__(self) -> None:
        from trackers import ByteTrackTracker

        self.known = 0
        self._tracker = ByteTrackTracker(
            lost_track_buffer=30 * REMEMBERED,  # in thirtieths of a time unit, which is a step
            frame_rate=1.0,
            track_activation_threshold=CONFIDENT,
            high_conf_det_threshold=CONFIDENT,
            minimum_iou_threshold=OVERLAP,
            minimum_consecutive_frames=1,
        )

    def update(self, time: float, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int32]:
        """Link the people of the next frame that has some.

        Args:
            time: When it is, in steps between sampled frames.
            boxes: Inclusive corners, (P, 4).
            scores: (P,).

        Returns:
            Each one's track, from 0; `ALONE` for who is linked to nobody and too faint to begin one, (P,).
        """
        import supervision as sv

        inclusive, tracks = np.array((0, 0, 1, 1), np.float32), np.full(len(boxes), ALONE, np.int32)
        people = sv.Detections(boxes + inclusive, confidence=scores, data={"row": np.arange(len(boxes))})
        followed = self._tracker.update(people, timestamp=time)
        rows = np.asarray(followed.data["row"])
        tracks[rows] = np.asarray(followed.tracker_id)
        # The library names a track when it is seen for the second time; here its first person belongs to it as well.
        new = [track for track in self._tracker.tracks if track.tracker_id < 0]
        beginning = rows[(tracks[rows] < 0) & (scores[rows] >= CONFIDENT)]
        for row, begun in zip(beginning, new, strict=True):
            tracks[row] = begun.tracker_id = self.known
            self.known += 1
        return np.maximum(tracks, ALONE)
