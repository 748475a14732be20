"""Whom a stream has shown, and who is who among them, in bounded memory: tracks go on as long as the source does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline import tables
from tps_pipeline.detection.tracks import ALONE, Linker
from tps_pipeline.tables import PERSON_BOX


@dataclass
class Following:
    """The people of a window's frames; frames are numbered from the window's first.

    Attributes:
        stride: Between the frames that are looked at.
        detections: Its people (`tables.DETECTIONS`).
        tracks: Who they are.
        linker: Who has been seen at all.
        named: Tracks in the order in which they began, those of a single box too.
        tracked: How many tracks have been named.
    """

    stride: int
    detections: pa.Table = field(default_factory=lambda: tables.empty(tables.DETECTIONS))
    tracks: pa.Table = field(default_factory=lambda: tables.empty(tables.TRACKS))
    linker: Linker = field(default_factory=Linker)
    named: dict[int, int] = field(default_factory=dict)
    tracked: int = 0

    def forget(self, count: int) -> None:
        """The window's first frames are gone."""
        self.detections, self.tracks = (moved(table, count) for table in (self.detections, self.tracks))

    def link(self, new: pa.Table, *, start: int) -> None:
        """Give the people of new frames their tracks.

        Args:
            new: `tables.DETECTIONS`, or more columns.
            start: How many frames went before the window.
        """
        frames, persons = new["frame"].to_numpy(), new["person"].to_numpy()
        # Rows are sorted: a person's follow each other.
        first = np.flatnonzero(np.diff(frames, prepend=-1).astype(bool) | np.diff(persons, prepend=-1).astype(bool))
        people = new.select(["video_id", "frame", "person", "person_score", *PERSON_BOX]).take(first)
        corners = np.stack([people[corner].to_numpy() for corner in PERSON_BOX], axis=1).astype(np.float32)
        scores, tracks = people["person_score"].to_numpy(), list[int]()
        for rows in np.split(np.arange(len(first)), np.flatnonzero(np.diff(frames[first], prepend=-1)))[1:]:
            time = (start + int(frames[first[rows[0]]]) - 1) / self.stride
            tracks += map(self._name, self.linker.update(time, corners[rows], scores[rows]).tolist())
        linked = tables.conform(people.append_column("track_id", pa.array(tracks, pa.int32())), tables.TRACKS)
        found = new.select(tables.DETECTIONS.names)
        self.detections = pa.concat_tables([self.detections, found]).unify_dictionaries()
        self.tracks = pa.concat_tables([self.tracks, linked]).unify_dictionaries()

    def _name(self, track: int) -> int:
        """What a track is called: they are numbered as they begin."""
        if track not in self.named:
            self.tracked += 1
            if track == ALONE:
                return self.tracked - 1
            self.named[track] = self.tracked - 1
        return self.named[track]


def since(table: pa.Table, frame: int) -> pa.Table:
    """The rows of a video's table from a frame on."""
    return table.slice(int(np.searchsorted(table["frame"].to_numpy(), frame)))


def moved(table: pa.Table, count: int) -> pa.Table:
    """A table of frames, so many of which are gone."""
    left = since(table, count + 1)
    frames = pc.subtract(left["frame"], pa.scalar(count, pa.int32()))
    return left.set_column(left.column_names.index("frame"), table.schema.field("frame"), frames)
