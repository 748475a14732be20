"""What was found in a video: as tables, as tidy JSON, drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline import __version__
from tps_pipeline.data.formats import coco
from tps_pipeline.data.formats.from_tables import from_predictions
from tps_pipeline.data.formats.neutral import LabelledVideo
from tps_pipeline.drawing.video import SHOWN_SCORE, predicted, with_tracks, write_video
from tps_pipeline.outputs import DETECTIONS, FRAMES, TRACKS, VIDEO_ACTIONS, VIDEOS, Output, predictions
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile
from tps_pipeline.video.probe import shown_at

_DIGITS = 4


@dataclass(frozen=True)
class Result:
    """One video's people, parts, states and action.

    Attributes:
        path: The file.
        method: Whose states they are.
        videos: `tables.VIDEOS`, one row.
        frames: The numbers of the frames that were looked at, from 1, ascending.
        seconds: When each of them is shown, from the first frame of the video on.
        predictions: `tables.PREDICTIONS`: everyone, down to the recipe's threshold.
        detections: `tables.DETECTIONS`: the people that tracks are of.
        tracks: `tables.TRACKS`.
        video_actions: `tables.VIDEO_ACTIONS`, one row.
        notes: What is worth knowing: what of the video cannot be read.
        took: Seconds of computing.
    """

    path: Path
    method: str
    videos: pa.Table
    frames: Sequence[int]
    seconds: Sequence[float]
    predictions: pa.Table
    detections: pa.Table
    tracks: pa.Table
    video_actions: pa.Table
    notes: Sequence[str] = ()
    took: float = 0.0

    @classmethod
    def of(
        cls, path: Path, method: str, made: Mapping[Output, pa.Table | Path], *, notes: Sequence[str], took: float
    ) -> Result:
        """What the steps of the graph have made of a video."""
        tables = {output: found for output, found in made.items() if isinstance(found, pa.Table)}
        (facts,) = tables[VIDEOS].to_pylist()
        extracted = made[FRAMES]
        assert isinstance(extracted, Path)
        frames = FrameFile(extracted).numbers(facts["video_id"])
        times = shown_at(path, n_frames=facts["n_frames"], fps=facts["fps"])
        return cls(
            path,
            method,
            tables[VIDEOS],
            frames,
            [times[frame - 1] for frame in frames],
            tables[predictions(method)],
            tables[DETECTIONS],
            tables[TRACKS],
            tables[VIDEO_ACTIONS],
            notes,
            took,
        )

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The video's row of `tables.VIDEOS`: frames, rate, size, and what is wrong with it."""
        (row,) = self.videos.to_pylist()
        return row

    @property
    def action(self) -> str:
        """The video's action."""
        return self._action["action"]

    @property
    def action_score(self) -> float:
        """How sure it is, 0 to 1."""
        return self._action["score"]

    @property
    def length(self) -> float:
        """Of the video, in seconds; 0 if its rate is not known."""
        return self.facts["n_frames"] / self.facts["fps"] if self.facts["fps"] else 0.0

    def people(self, *, min_score: float = SHOWN_SCORE) -> list[int]:
        """The tracks of those who are seen at least once with a score of so much."""
        rows = self.to_pandas()
        return sorted({int(track) for track in rows.track_id[rows.person_score >= min_score].dropna()})

    def to_pandas(self) -> pd.DataFrame:
        """The predictions, a row for each part of everyone in each frame that was looked at.

        Returns:
            The columns of `tables.PREDICTIONS`, `track_id` and `seconds`.
        """
        return self._rows.copy()

    def to_csv(self) -> str:
        """The same as CSV, without the scores of the states that are not the likeliest."""
        return self._rows.drop(columns="state_scores").to_csv(index=False)

    def to_json(self, *, min_score: float = SHOWN_SCORE) -> str:
        """Everything as one JSON document (docs/own_video.md).

        Args:
            min_score: People below this score are left out.
        """
        return json.dumps(self.to_dict(min_score=min_score), ensure_ascii=False)

    def to_dict(self, *, min_score: float = SHOWN_SCORE) -> dict[str, Any]:
        """What `to_json` writes, as plain values."""
        rows = self._rows[self._rows.person_score >= min_score]
        of_frame = people_of(rows)
        spans = rows.dropna(subset=["track_id"]).groupby("track_id").frame.agg(["min", "max", "nunique"])
        named = ("n_frames", "fps", "width", "height", "error")
        return {
            "video": self.path.name,
            "made_by": f"tps {__version__}",
            "method": self.method,
            **{name: self.facts[name] for name in named},
            "action": {
                "name": self.action,
                "score": rounded(self.action_score),
                "probabilities": {name: rounded(score) for name, score in self._action["probabilities"]},
            },
            "people": [
                {"track": int(track), "first_frame": int(first), "last_frame": int(last), "frames": int(frames)}
                for track, first, last, frames in spans.itertuples()
            ],
            "frames": [
                {"frame": frame, "seconds": round(second, 3), "people": of_frame.get(frame, [])}
                for frame, second in zip(self.frames, self.seconds, strict=True)
            ],
        }

    def to_coco(self, *, min_score: float = SHOWN_SCORE) -> str:
        """People and parts as COCO's JSON: a picture is a frame that was looked at.

        Args:
            min_score: People below this score are left out.
        """
        return coco.encode([self.labels(min_score=min_score)]).decode()

    def labels(self, *, min_score: float = SHOWN_SCORE) -> LabelledVideo:
        """The same as the formats of other tools are written from.

        Args:
            min_score: People below this score are left out.
        """
        sure = self.predictions.filter(pc.field("person_score") >= min_score)
        (video,) = from_predictions(self.videos, sure, self.tracks, self.video_actions)
        return video

    def draw(self, path: str | Path, *, min_score: float = SHOWN_SCORE) -> None:
        """Write the video as an MP4 with people, tracks, parts, states and the action on it.

        Args:
            path: The file; it appears whole or not at all.
            min_score: People below this score are left out.
        """
        tables = (self.predictions, self.video_actions, self.detections, self.tracks)
        parts, action, detections, tracks = (table.to_pandas() for table in tables)
        layer = predicted(parts, action, by=self.method, detections=detections, tracks=tracks, min_score=min_score)
        write_video(self.path, path, layer, sampled=self.frames, fps=self.facts["fps"])

    @cached_property
    def _action(self) -> dict[str, Any]:
        (row,) = self.video_actions.to_pylist()
        return row

    @cached_property
    def _rows(self) -> pd.DataFrame:
        parts, detections, tracks = (t.to_pandas() for t in (self.predictions, self.detections, self.tracks))
        rows = with_tracks(parts, detections, tracks)
        seconds = rows.frame.map(dict(zip(self.frames, self.seconds, strict=True)))
        return rows.assign(seconds=seconds.astype(float))


def people_of(rows: pd.DataFrame) -> dict[int, list[dict[str, Any]]]:
    """The people of some frames as the tidy JSON has them, best first, each with their parts; by frame.

    Args:
        rows: Rows of `tables.PREDICTIONS`, with `track_id`.
    """
    columns = {name: rows[name].tolist() for name in _TOLD}  # plain values: a row of a data frame is slow to take
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        people = found.setdefault(row["frame"], {})
        if row["person"] not in people:
            people[row["person"]] = {
                "track": None if pd.isna(row["track_id"]) else int(row["track_id"]),
                "score": rounded(row["person_score"]),
                "box": [row[corner] for corner in PERSON_BOX],
                "parts": {},
            }
        people[row["person"]]["parts"][str(row["part"])] = _part(row)
    return {frame: [people[number] for number in sorted(people)] for frame, people in found.items()}


_TOLD = (
    *("frame", "person", "track_id", "person_score", *PERSON_BOX),
    *("part", *BOX, "part_score", "state", "state_score", "state_scores"),
)


def _part(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "box": [row[corner] for corner in BOX],
        "score": rounded(row["part_score"]),
        "state": str(row["state"]),
        "state_score": rounded(row["state_score"]),
        "states": {str(name): rounded(score) for name, score in row["state_scores"]},
    }


def rounded(score: float) -> float:
    """A score as the tidy JSON has it."""
    return round(float(score), _DIGITS)
