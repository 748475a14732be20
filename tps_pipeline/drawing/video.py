"""Whole videos with people, parts, states and the action drawn on every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline.detection.tracks import link
from tps_pipeline.drawing.frame import beside, draw
from tps_pipeline.errors import VideoError
from tps_pipeline.tables import PERSON_BOX
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.probe import probe
from tps_pipeline.whole_file import whole_file

SHOWN_SCORE = 0.3
"""People below this score are not drawn unless somebody asks for them: predictions hold everyone down to the recipe's
threshold, who cost nothing."""


@dataclass(frozen=True)
class Layer:
    """What is drawn on a video: one method's predictions, or the annotation."""

    parts: pd.DataFrame
    """The video's rows of `tables.PREDICTIONS`, `DETECTIONS` or `PARTS`."""
    people: pd.DataFrame | None = None
    """The video's rows of `tables.PEOPLE`; see `draw`."""
    action: str | None = None
    """Written on top."""

    def draw(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """Draw what it says about a frame on a picture."""
        parts, people = self._by_frame
        here = None if self.people is None else people.get(frame, self.people.iloc[:0])
        return draw(picture, parts.get(frame, self.parts.iloc[:0]), people=here, action=self.action)

    @cached_property
    def _by_frame(self) -> tuple[dict[Any, pd.DataFrame], dict[Any, pd.DataFrame]]:
        """The rows of parts and of people by frame: looking for each frame's takes longer than drawing them."""
        parts, people = (
            {} if rows is None else dict(iter(rows.groupby("frame"))) for rows in (self.parts, self.people)
        )
        return parts, people


def write_video(
    path_in: str | Path, path_out: str | Path, *layers: Layer, sampled: Sequence[int], fps: float | None = None
) -> None:
    """Draw on every frame of a video, as an MP4 at the video's average rate.

    Every frame shows what is said about the nearest sampled frame, the earlier of two: all that a method said, and
    no box that it did not (between sampled frames nothing is interpolated).

    Args:
        path_in: The video.
        path_out: The MP4 to write; appears whole or not at all.
        layers: What to draw: one, or two that are shown side by side.
        sampled: The numbers of the frames that were looked at, ascending; those without people count.
        fps: The video's average rate, 0 if nobody knows; None has it probed.

    Raises:
        VideoError: The video cannot be read.
    """
    if fps is None:
        facts = probe(path_in)
        if facts.status != "ok":
            raise VideoError(facts.error)
        fps = facts.fps
    with whole_file(Path(path_out)) as partial:
        encode(partial, _drawn(path_in, layers, sampled), rate=Fraction(fps or 25).limit_denominator(1001))


FINE: Mapping[str, str] = {"crf": "20", "preset": "veryfast"}
"""How x264 encodes a video that somebody keeps."""


def encode(path: Path, pictures: Iterable[np.ndarray], *, rate: Fraction, x264: Mapping[str, str] = FINE) -> None:
    """Encode pictures as an MP4 that browsers play: H.264, yuv420p, its index in front.

    Args:
        path: The file to write.
        pictures: RGB uint8, height x width x 3, all of one shape.
        rate: Pictures a second.
        x264: How, as FFmpeg's options of `libx264`.
    """
    target = f"file:{Path(path).absolute()}"  # a name alone may be a URL
    with av.open(target, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(x264))
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            # yuv420p has one colour for two by two pixels.
            picture = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), "edge")
            if number == 0:
                stream.height, stream.width, _ = picture.shape
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def predicted(
    parts: pd.DataFrame,
    action: pd.DataFrame,
    *,
    by: str,
    detections: pd.DataFrame,
    tracks: pd.DataFrame,
    min_score: float = SHOWN_SCORE,
) -> Layer:
    """What a method predicts of a video, with its action's score and who is who.

    Args:
        parts: The video's rows of the method's `tables.PREDICTIONS`.
        action: Its row of `tables.VIDEO_ACTIONS`, if it has one.
        by: The method.
        detections: Its rows of the `tables.DETECTIONS` that were tracked.
        tracks: Its rows of `tables.TRACKS`.
        min_score: People below this score are left out.
    """
    linked = with_tracks(parts, detections, tracks)
    kept = linked.loc[linked["person_score"] >= min_score]
    named = [f"{name} {score:.2f}" for name, score in zip(action["action"], action["score"], strict=True)]
    return Layer(kept, action=f"{by}: {named[0] if named else 'no action'}")


def with_tracks(parts: pd.DataFrame, detections: pd.DataFrame, tracks: pd.DataFrame) -> pd.DataFrame:
    """Add the `track_id` of each person of a video, which is missing where a method has another box of the person.

    Methods number people as they like; a person is the tracked one if their boxes are equal. Of several people in one
    box the first is the first, as all number them from the best down. If a method finds its people itself they are
    linked by themselves.
    """
    if own_people(parts, detections):
        detections, tracks = parts, _linked(parts)
    track_of = dict(zip(_columns(tracks, "frame", "person"), tracks["track_id"], strict=True))
    tracked = {where: track_of.get(key[:2]) for key, where in _numbered_within(detections).items()}
    found = {key: tracked.get(where) for key, where in _numbered_within(parts).items()}
    named = [found[key] for key in _columns(parts, "frame", "person", *PERSON_BOX)]
    return parts.assign(track_id=pd.Series(named, parts.index, "Int32"))


def own_people(parts: pd.DataFrame, detections: pd.DataFrame) -> bool:
    """Whether a method finds its people itself: hardly any of those in a video is a detected one, box for box."""
    people, detected = ({*_columns(rows, "frame", *PERSON_BOX)} for rows in (parts, detections))
    return 2 * len(people & detected) < len(people)


def _linked(parts: pd.DataFrame) -> pd.DataFrame:
    """A video's people from frame to frame: `frame`, `person`, `track_id`."""
    people = parts.drop_duplicates(["frame", "person"]).sort_values(["frame", "person"])
    boxes, scores = people[[*PERSON_BOX]].to_numpy(np.float32), people.person_score.to_numpy(np.float32)
    return people[["frame", "person"]].assign(track_id=link(people.frame.to_numpy(np.int32), boxes, scores))


def _numbered_within(parts: pd.DataFrame) -> dict[tuple[int, ...], tuple[int, ...]]:
    """By frame, person and box: the frame, the box, and which of those in it the person is, from 0."""
    seen = Counter[tuple[int, ...]]()
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    for key in sorted({*_columns(parts, "frame", "person", *PERSON_BOX)}):
        where = key[0], *key[2:]
        found[key] = *where, seen[where]
        seen[where] += 1
    return found


def _columns(rows: pd.DataFrame, *names: str) -> Iterator[tuple[int, ...]]:
    """Rows as plain values: of a second of a stream they are too few for anything that is made for many."""
    return zip(*(rows[name].tolist() for name in names), strict=True)


def rows_of(table: pa.Table, video_id: str) -> pd.DataFrame:
    """One video's rows of a table."""
    return table.filter(pc.field("video_id").cast(pa.string()) == video_id).to_pandas()


def _drawn(path: str | Path, layers: tuple[Layer, ...], sampled: Sequence[int]) -> Iterator[np.ndarray]:
    numbers = np.array(sampled)
    for index, picture in read_frames(path, nearest=True):
        nearest = int(numbers[np.abs(numbers - (index + 1)).argmin()])
        drawn = [layer.draw(picture, nearest) for layer in layers]
        yield beside(*drawn) if len(drawn) > 1 else drawn[0]
