"""The drawing of what was made from what: boxes in steps from the upper left to the lower right.

A box's column is the longest way to it, and each box has a row of its own. An edge leaves its box downwards and turns
right into the box that was made from it, so that no edge runs through a box however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from tps_pipeline.report.provenance import Made, mixed

_WIDTH = 1060
"""Pixels that the page has for the drawing on a desk."""
_LAST = 260
"""Of these, for the boxes of the last column and what is written beside them."""
_COLUMN = 72
_APART = 14
"""At least so far apart are the left sides of the boxes of one column, for the edges that run between them."""
_ROW = 30
_HEIGHT = 22
_LETTER = 7.3
"""Width of a box's letters, 12 pixels high and of one width."""
_STEM = 9
"""Where edges leave a box, from its left side."""
_BEND = 7

_Node = TypeVar("_Node", bound=Hashable)


@dataclass(frozen=True)
class Box:
    """One asset, or several of the same kind of which none rests on another.

    Attributes:
        name: The asset's name, or what theirs begin with.
        note: What is written beside it.
        assets: The assets' names.
        reads: The numbers of the boxes that it was made from; a box's number is its row.
        column: From the left.
        x: The left side, in pixels.
        y: The upper side.
        width: In pixels.
        height: In pixels.
    """

    name: str
    note: str
    assets: tuple[str, ...]
    reads: tuple[int, ...]
    column: int
    x: float
    y: float
    width: float
    height: int = _HEIGHT


@dataclass(frozen=True)
class Edge:
    """From a box to one that was made from it.

    Attributes:
        source: The one's number.
        target: The other's.
        path: What SVG draws.
    """

    source: int
    target: int
    path: str


@dataclass(frozen=True)
class Graph:
    """The drawing."""

    boxes: tuple[Box, ...]
    """What is drawn for outputs."""
    edges: tuple[Edge, ...]
    """What is drawn between boxes."""
    width: float
    """In pixels."""
    height: float
    """In pixels."""


def lay_out(assets: Mapping[str, Made]) -> Graph:
    """Draw assets, by name, and what they were made from.

    Should records of different times go round in a circle, one edge of it is left out.
    """
    groups, reads = _groups({name: m.reads for name, m in assets.items()})
    columns = _depths(reads)
    order = sorted(reads, key=lambda number: (columns[number], groups[number]))
    row_of = {number: row for row, number in enumerate(order)}
    beside = Counter(columns.values())
    step = min(_COLUMN, (_WIDTH - _LAST) / max(1, len(beside) - 1))
    spans = [max(step, beside[column] * _APART) for column in sorted(beside)]
    starts = list(accumulate(spans, initial=1.0))
    boxes, placed = [], Counter()
    for number in order:
        column, names = columns[number], groups[number]
        name = names[0] if len(names) == 1 else names[0].partition("/")[0]
        boxes.append(
            Box(
                name=name,
                note=_note([assets[name] for name in names]),
                assets=tuple(names),
                reads=tuple(sorted(row_of[source] for source in reads[number])),
                column=column,
                x=round(starts[column] + placed[column] / beside[column] * spans[column], 1),
                y=len(boxes) * _ROW + 1,
                width=round(len(name) * _LETTER + 16, 1),
            )
        )
        placed[column] += 1
    edges = [Edge(s, t, _path(boxes[s], box)) for t, box in enumerate(boxes) for s in box.reads]
    width = max((box.x + box.width + 12 + len(box.note) * _LETTER for box in boxes), default=0)
    return Graph(tuple(boxes), tuple(edges), round(width), len(boxes) * _ROW)


def _note(members: Collection[Made]) -> str:
    outputs = sum(len(m.outputs) for m in members)
    said = [f"{len(members)} assets"] if len(members) > 1 else []
    said.append(f"{outputs} output{'' if outputs == 1 else 's'}")
    return ", ".join([*said, *(["mixed"] if any(map(mixed, members)) else [])])


def _path(source: Box, target: Box) -> str:
    x, y = source.x + _STEM, target.y + _HEIGHT / 2
    return f"M{x:g} {source.y + _HEIGHT:g}V{y - _BEND:g}q0 {_BEND} {_BEND} {_BEND}H{target.x:g}"


def _groups(reads: Mapping[str, Collection[str]]) -> tuple[list[list[str]], dict[int, set[int]]]:
    """Put assets of one kind (their name's first part) together, unless one rests on another.

    Returns:
        The groups, and which groups each was made from, by number.
    """
    depths = _depths(reads)
    groups: list[list[str]] = []
    made_from: dict[int, set[int]] = {}
    group_of: dict[str, int] = {}
    last: dict[str, int] = {}
    for asset in sorted(reads, key=lambda asset: (depths[asset], asset)):
        kind = asset.partition("/")[0]
        sources = {group_of[name] for name in reads[asset] if name in group_of}
        if kind not in last or last[kind] in _above(sources, made_from):
            last[kind] = len(groups)
            groups.append([])
        group_of[asset] = last[kind]
        groups[last[kind]].append(asset)
        made_from.setdefault(last[kind], set()).update(sources)
    return [sorted(group) for group in groups], made_from


def _above(numbers: Collection[int], made_from: Mapping[int, Collection[int]]) -> set[int]:
    """Some groups and all that they rest on."""
    found: set[int] = set()
    todo = [*numbers]
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            todo.extend(made_from[number])
    return found


def _depths(reads: Mapping[_Node, Collection[_Node]]) -> dict[_Node, int]:
    """The length of the longest way to each node."""
    depths: dict[_Node, int] = {}

    def depth(node: _Node) -> int:
        if node not in depths:
            depths[node] = 0  # ends the way where it goes round in a circle
            depths[node] = max((depth(source) + 1 for source in reads[node]), default=0)
        return depths[node]

    for node in reads:
        depth(node)
    return depths
