"""One label file: which frame it is of, and what it says of people, parts and objects.

A frame's file is `{"humans": [{"box": [x1, y1, x2, y2], "parts": {"left_arm": {"box": [...], "verb": "bend"}}}]}`.
`verb` may be a list, of which the first is the state. Everything else about people is passed over (`number`,
`name`). A list under any other name whose entries have a `box` and a `name` holds objects; their field's name is
not documented, so entries that do not fit are passed over. What becomes of many files is `decoding`'s matter.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.encoding import as_utf8
from tps_pipeline.parsing import MAX_FRAME

MAX_PEOPLE = int(np.iinfo(np.int16).max)
"""In a frame: what tables can number."""
PIXELS = np.iinfo(np.int16)
"""What tables can hold of a corner."""
_FRAME_NUMBER = re.compile(r"(?:[^0-9]*[^\W0-9_](?:_+|[-. ])?)?([0-9]+)\.json", re.IGNORECASE)

Box = tuple[float, float, float, float]
"""The two corners of a box as an annotation file has them: x1, y1, x2, y2 in pixels."""


class Part(msgspec.Struct, gc=False):
    """A part of a person."""

    box: Box
    """Where."""
    verb: str | list[str]
    """Its state, or several."""

    @property
    def state(self) -> str:
        """The first of several, and nothing of none."""
        return self.verb if isinstance(self.verb, str) else (*self.verb, "")[0]


class Person(msgspec.Struct, gc=False):
    """A person and their parts, by name."""

    box: Box
    """Where."""
    parts: dict[str, Part] = {}
    """By name."""


class _Frame(msgspec.Struct, gc=False):
    humans: list[Person]


class Object(msgspec.Struct, gc=False):
    """An object."""

    box: Box
    """Where."""
    name: str
    """What it is."""


_FRAMES = msgspec.json.Decoder(_Frame)


def frame_number(name: str, video_id: str = "") -> int | None:
    """The frame that a label file is of: the only number in its name, at the end.

    >>> frame_number("img_00012.json"), frame_number("7.json"), frame_number("a_1_2_00003.json", "a_1_2")
    (12, 7, 3)
    >>> frame_number("img_00005_v2.json"), frame_number("img_-1.json")
    (None, None)
    """
    number = _number_of(name, video_id)
    return None if number < 0 else number


def frame_numbers(names: Sequence[str], video_id: str) -> list[int]:
    """What `frame_number` says of each of a video's files; less than 0 for None."""
    numbers = [*map(_number_in, names)]
    return numbers if min(numbers, default=0) >= 0 else [_number_of(name, video_id) for name in names]


_NO_NUMBER, _NO_FRAME = -1, -2


def _number_of(name: str, video_id: str) -> int:
    number = _number_in(name)
    if number == _NO_NUMBER and video_id and name.startswith(video_id):
        return _number_in(name.removeprefix(video_id).lstrip("_-. "))
    return number


@functools.lru_cache(maxsize=1 << 12)  # the files of all videos are called alike
def _number_in(name: str) -> int:
    """The number at a name's end; `_NO_NUMBER` if there is none, `_NO_FRAME` if it is one that no frame has."""
    found = _FRAME_NUMBER.fullmatch(name)
    if found is None:
        return _NO_NUMBER
    digits = found[1].lstrip("0") or "0"
    return int(digits) if len(digits) <= len(str(MAX_FRAME)) else _NO_FRAME


def parse(content: bytes) -> tuple[list[Person], list[Object]]:
    """A frame's people and objects.

    Raises:
        ValueError: It is not a frame's labels; says why.
        RecursionError: Its brackets are nested too deep.
    """
    content = as_utf8(content)
    humans = _FRAMES.decode(content).humans
    return humans, fitting_objects(content, len(humans) + sum(len(human.parts) for human in humans))


def fitting_objects(content: bytes, n_boxes: int) -> list[Object]:
    """The objects of a frame whose people and parts have so many boxes.

    Raises:
        ValueError: Something is given twice, so that boxes are missing; or it is not JSON.
    """
    # A part given twice is invisible after parsing, but its box is still in the text.
    if content.count(b'"box"') == n_boxes:
        return []
    objects = _parse_objects(content)
    if content.count(b'"box"') != n_boxes + len(objects):
        json.loads(content, object_pairs_hook=_refuse_duplicates)
    return [item for item in objects if fits(boxes_of([item])).all()]


def _parse_objects(content: bytes) -> list[Object]:
    fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    others = [msgspec.json.decode(raw) for name, raw in fields.items() if name != "humans"]
    objects = []
    for item in (item for value in others if isinstance(value, list) for item in value):
        try:
            objects.append(msgspec.convert(item, Object))
        except msgspec.ValidationError:
            continue
    return objects


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return fields


def boxes_of(labels: Sequence[Person | Part | Object]) -> NDArray[np.float64]:
    """`(n, 4)` corners."""
    corners = itertools.chain.from_iterable([label.box for label in labels])
    return np.fromiter(corners, np.float64, 4 * len(labels)).reshape(-1, 4)


def fits(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes have corners in order, within what tables hold."""
    ordered = (boxes[:, 0] <= boxes[:, 2]) & (boxes[:, 1] <= boxes[:, 3])
    if boxes.min(initial=0) >= PIXELS.min and boxes.max(initial=0) <= PIXELS.max:  # as nearly always
        return ordered
    return ordered & (boxes >= PIXELS.min).all(1) & (boxes <= PIXELS.max).all(1)
