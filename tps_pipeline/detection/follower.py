"""Who is in a frame, by their landmarks: where to look, whether somebody is there, and that nobody counts twice.

Where somebody may be is said by the frame before, by BlazePose's own detector (`suspects.py`) and by a person detector;
the landmark network then says whether somebody is there, and where exactly. So a faint box costs little: what is nobody
is dropped, and the box of who stays is drawn around the landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tps_pipeline import boxes, recipe
from tps_pipeline.detection import squares
from tps_pipeline.detection.squares import Square
from tps_pipeline.detection.suspects import look, look_in, tiles_for
from tps_pipeline.landmarks import MIRRORED, person_box, stature
from tps_pipeline.models.blazepose import BlazePose

SAME_BOX = 0.6
"""IoU of a likely box with that of somebody who was found, from which it is not looked at again."""

SAME_SQUARE = 0.25
"""Distance of two squares' middles and of their upper sides' as a share of half their side, below which both are the
same place."""

SAME_PERSON, NEAR_PERSON, NEAR_BOX = 0.1, 0.2, 0.4
"""Mean distance of two people's landmarks as a share of stature, below which they are one; and below which they are it
if their boxes overlap so much (IoU)."""

SURER = 0.02
"""By how much somebody has to be surer than who was found in the same place before them, to take their place: presence
is nearly 1 of most people, so that who is found once more is surer or less sure by some thousandths."""

WITHIN, LARGER, DOUBT = 0.7, 1.5, 0.3
"""Share of a box that lies in another one so many times as large, from which the score counts so much only. Of 27 who
were found so on the pictures of `docs/real_people.md` other than sport 24 were nobody, of 23 on those of sport 19."""

MOVED = 0.2
"""The same distance as `SAME_SQUARE` from which the landmark network looks again, at the square that it names itself:
who is in a box is not yet in the middle, upright, and as large as the network has learned people."""

SMALLEST = 8.0
"""Pixels of the side of a square in which anybody can be told."""


class Person(NamedTuple):
    """Somebody in a frame.

    Attributes:
        score: 0 to 1.
        points: x and y of the landmarks in the frame's pixels, (33, 2).
        visibility: Of each, 0 to 1, (33,).
        box: Edges x1 y1 x2 y2 around the parts, (4,).
        square: Where to look in the next frame.
        number: The same as in the frame in which they were followed from; of a video's people from 0.
    """

    score: float
    points: NDArray[np.float64]
    visibility: NDArray[np.float32]
    box: NDArray[np.float64]
    square: Square
    number: int


@dataclass
class Follower:
    """Finds the people of one video, frame by frame.

    Attributes:
        networks: BlazePose's.
        settings: See `recipe.Pose`.
        people: Those of the frame before.
        frames: How many frames were looked at.
        known: How many people there were so far.
    """

    networks: BlazePose
    settings: recipe.Pose
    people: list[Person] = field(default_factory=list)
    frames: int = 0
    known: int = 0

    def find(self, picture: NDArray[np.uint8], likely: NDArray[np.float32] | None = None) -> list[Person]:
        """The people of the next frame, best first.

        Args:
            picture: RGB, (H, W, 3).
            likely: Boxes of a person detector, best first: edges x1 y1 x2 y2, (N, 4).
        """
        found: list[Person] = []
        for square, box, number in self._places(picture, likely):
            if box is not None and any(_overlap(box, person.box) > SAME_BOX for person in found):
                continue
            if any(_way(square, person.square) < SAME_SQUARE for person in found):
                continue
            person = self._look(picture, square, self.known if number is None else number)
            if person is not None:
                found.append(person)
                self.known += number is None
        self.people = distinct(found)[: self.settings.people_per_frame]
        self.frames += 1
        return doubted(self.people)

    def _places(
        self, picture: NDArray[np.uint8], likely: NDArray[np.float32] | None
    ) -> Iterator[tuple[Square, NDArray[np.float32] | None, int | None]]:
        """Where to look, what is surest first; with a box where one is known, and who it is if they are followed."""
        if self.settings.follow:
            yield from ((person.square, None, person.number) for person in self.people)
        threshold = self.settings.own_detector
        if threshold is not None and self.networks.detector is not None:
            yield from ((square, None, None) for _, square in look(self.networks, picture, threshold=threshold))
        yield from ((squares.of_box(box), box, None) for box in (likely if likely is not None else ()))
        if threshold is not None and self.networks.detector is not None and self.settings.tiles:
            tiles = tiles_for(self.frames, (picture.shape[1], picture.shape[0]))
            yield from (
                (square, None, None) for _, square in look_in(self.networks, picture, tiles, threshold=threshold)
            )

    def _look(self, picture: NDArray[np.uint8], square: Square, number: int) -> Person | None:
        """Who is in a square, if anybody is."""
        said = self.networks.landmarks(squares.cut(picture, square))
        own = squares.around(*(squares.to_picture(point, square) for point in (said.centre, said.top)))
        if said.presence >= self.settings.presence / 2 and 2 * own.half >= SMALLEST and _way(square, own) > MOVED:
            square = own
            said = self.networks.landmarks(squares.cut(picture, square))
            own = squares.around(*(squares.to_picture(point, square) for point in (said.centre, said.top)))
        if said.presence < self.settings.presence or 2 * own.half < SMALLEST:
            return None
        points, size = squares.to_picture(said.points, square), np.array([picture.shape[1], picture.shape[0]])
        within = ((points >= 0) & (points < size)).all(1)
        visibility = np.where(within, said.visibility, 0).astype(np.float32)
        box = person_box(points, visibility, seen=self.settings.seen)
        box = np.concatenate((box[:2].clip(0, size), box[2:].clip(0, size)))
        if not (box[2:] - box[:2] >= 1).all():  # nor where it is NaN: none of the parts is there
            return None
        return Person(said.presence, points, visibility, box, own, number)


def distinct(people: Sequence[Person]) -> list[Person]:
    """People without those who are somebody else once more, best first.

    Two people who overlap have other landmarks; one who was found twice has nearly the same, or their mirror image
    where the network took left for right once. Whoever has the lower number stays, unless the other is `SURER`: who was
    followed, as what the network sees from one square to another differs more than from frame to frame, or who was
    found where it was surest that somebody is. The number stays in any case.
    """
    kept: list[Person] = []
    for person in sorted(people, key=lambda person: -person.score):
        at = next((at for at, other in enumerate(kept) if _same(person, other) or _same(mirrored(person), other)), None)
        if at is None:
            kept.append(person)
        elif person.number < kept[at].number:
            stays = person.score + SURER >= kept[at].score
            kept[at] = person if stays else kept[at]._replace(number=person.number)
    return kept


def mirrored(person: Person) -> Person:
    """The same person with left and right exchanged."""
    order = list(MIRRORED)
    return person._replace(points=person.points[order], visibility=person.visibility[order])


def doubted(people: Sequence[Person]) -> list[Person]:
    """The same people, best first, with a lower score for who is mostly within somebody larger.

    They stay, as a child before its mother is there; but what is shown to people begins at a higher score.
    """
    areas = [float(np.prod(person.box[2:] - person.box[:2])) for person in people]
    scored: list[Person] = []
    for person, area in zip(people, areas, strict=True):
        larger = [other.box for other, of_other in zip(people, areas, strict=True) if of_other > LARGER * area]
        inside = any(_common(person.box, box) > WITHIN * area for box in larger)
        scored.append(person._replace(score=person.score * DOUBT) if inside else person)
    return sorted(scored, key=lambda person: -person.score)


def _common(box: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Area of two boxes' intersection."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(sides.clip(0)))


def _same(one: Person, other: Person) -> bool:
    both = np.minimum(one.visibility, other.visibility) + 1e-3
    size = max(float(stature(one.points, one.visibility)), float(stature(other.points, other.visibility)), 1e-6)
    apart = np.hypot(*(one.points - other.points).T)
    distance = float((apart * both).sum() / both.sum()) / size
    return distance < SAME_PERSON or (distance < NEAR_PERSON and _overlap(one.box, other.box) > NEAR_BOX)


def _overlap(box: NDArray[Any], other: NDArray[Any]) -> float:
    """IoU of two boxes' edges."""
    inclusive = np.array((0, 0, -1, -1))
    return float(boxes.paired_iou(box.astype(float) + inclusive, other + inclusive))


def _way(square: Square, other: Square) -> float:
    """How far one square is from another: of their middles or their upper sides' middles, as a share of half a side."""
    ends = square.centre - other.centre, square.centre + square.up - other.centre - other.up
    return max(float(np.hypot(*end)) for end in ends) / max(square.half, other.half)
