"""The form that labels of every format pass through: videos, the people in them as tracks, and their parts.

What a format's file looks like is the format's module's matter, and a data folder's is `data_folder`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from tps_pipeline.data.layout import Problem
from tps_pipeline.errors import DataError
from tps_pipeline.labels import NO_STATE

Box = tuple[int, int, int, int]
"""`x1 y1 x2 y2` in pixels, both corners inside the box, as in every table."""

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels, as most tools have them: a box of one pixel is 1 wide."""

NOBODY = "nobody"
"""The label of a box that says of its frame that nobody is in it, in formats that know no better way."""

MOST_PIXELS = 32767
"""How far from the picture's corner a box may reach: what tables hold."""


class Seen(NamedTuple):
    """Someone, or a part of someone, in one frame."""

    box: Box
    """Where."""
    state: str = NO_STATE
    """Of a part; empty if the labels do not say it."""
    score: float = 1.0
    """How sure a detector was; 1 of what a person has drawn."""


@dataclass
class Person:
    """Someone through a video."""

    boxes: dict[int, Seen] = field(default_factory=dict)
    """By frame, from 1."""
    parts: dict[str, dict[int, Seen]] = field(default_factory=dict)
    """By part, then by frame."""


@dataclass
class LabelledVideo:
    """The labels of a video."""

    video_id: str
    """The file's name without its extension."""
    n_frames: int
    """How many it has."""
    width: int
    """Pixels, as shown."""
    height: int
    """Pixels, as shown."""
    action: str | None = None
    """The video's class, if anything says it."""
    fps: float = 0.0
    """Frames a second, for formats that know times alone; 0 if nothing says it."""
    people: dict[str, Person] = field(default_factory=dict)
    """By what the format calls them: the same name is the same person in all frames."""
    empty: set[int] = field(default_factory=set)
    """Frames of which the labels say that nobody is in them."""

    def frames(self) -> dict[int, list[tuple[str, Person]]]:
        """Who is in each labelled frame, in the order of the frames and of the people."""
        found: dict[int, list[tuple[str, Person]]] = {frame: [] for frame in self.empty}
        for name, person in self.people.items():
            for frame in person.boxes:
                found.setdefault(frame, []).append((name, person))
        return dict(sorted(found.items()))


@dataclass
class LeftOut:
    """What could not be carried over as it is: how often, and where first."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """By what it is, in the plural."""
    first: dict[str, str] = field(default_factory=dict)
    """Where the first of them is."""

    def add(self, what: str, where: str, count: int = 1) -> None:
        """Count some more."""
        if count:
            self.counts[what] += count
            self.first.setdefault(what, where)

    def lines(self) -> list[str]:
        """One line a kind."""
        return [f"{what}: {count} (first: {self.first[what]})" for what, count in sorted(self.counts.items())]


class Key(NamedTuple):
    """A box that somebody has drawn of a track; those of the frames between follow from it."""

    frame: int
    """From 1."""
    edges: Edges
    """Where."""
    state: str
    """The state until the next one."""
    shown: bool = True
    """Whether it is to be seen in this frame."""
    goes_on: bool = True
    """Whether it is to be seen after it, until the next one."""


def refused(where: str, what: str, fix: str) -> DataError:
    """The one line about labels that break a rule: where, what is wrong, what to do."""
    return DataError(str(Problem(where, what, fix)))


def pixels(edges: Edges, where: str) -> Box:
    """A box in whole pixels from its edges.

    Args:
        edges: The right one is beyond the last pixel.
        where: The file and the element, for the message.

    Raises:
        DataError: An edge is no number, the box has a negative size, or it reaches too far.

    >>> pixels((10.0, 5.2, 20.0, 5.3), "here")
    (10, 5, 19, 5)
    """
    left, top, right, bottom = edges
    if not all(math.isfinite(edge) and abs(edge) <= MOST_PIXELS for edge in edges):
        raise refused(where, f"the box {_shown(edges)} is not in pixels", "correct or delete it")
    if right < left or bottom < top:
        raise refused(where, f"the box {_shown(edges)} has a negative size", "correct or delete it")
    x1, y1 = round(left), round(top)
    return x1, y1, max(x1, round(right) - 1), max(y1, round(bottom) - 1)


def edges_of(box: Box) -> Edges:
    """The edges of a box in whole pixels: what `pixels` makes it from."""
    x1, y1, x2, y2 = box
    return float(x1), float(y1), float(x2 + 1), float(y2 + 1)


def filled(keys: Sequence[Key], where: str, *, last: int, step: int = 1, first: int = 1) -> Iterator[tuple[int, Seen]]:
    """All boxes of a track: those drawn, and straight between them those of the frames without one.

    Args:
        keys: By frame; the state of a frame between is that of the key before it.
        where: The file and the track, for messages.
        last: The last frame to give.
        step: Every how many frames there are labels.
        first: What the format calls the first frame, for messages.

    Yields:
        Frame and box. Before a key that is not shown the box stays where it was.
    """
    for key, after in zip_longest(keys, keys[1:]):
        if key.shown and key.frame <= last:
            yield key.frame, Seen(pixels(key.edges, f"{where}, frame {key.frame - 1 + first}"), key.state)
        if after and key.goes_on:
            way = [b - a if after.shown else 0.0 for a, b in zip(key.edges, after.edges, strict=True)]
            for frame in range(key.frame + step, min(after.frame, last + 1), step):
                share = (frame - key.frame) / (after.frame - key.frame)
                left, top, right, bottom = (a + share * d for a, d in zip(key.edges, way, strict=True))
                yield frame, Seen(pixels((left, top, right, bottom), f"{where}, frame {frame - 1 + first}"), key.state)


def _shown(edges: Edges) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in edges)}]"
