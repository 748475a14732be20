"""Parts, left and right, and the label spaces over (part, state) pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PARTS: tuple[str, ...] = (
    "head",
    "hip",
    "left_arm",
    "right_arm",
    "left_hand",
    "right_hand",
    "left_leg",
    "right_leg",
    "left_foot",
    "right_foot",
)
"""The ten body parts of Kinetics-TPS, in the order every table and every network of ours uses; the parts of data
that name no others."""

PERSON = "person"
"""What detectors call someone."""

NO_STATE = "none"
"""The state of a part that does not move (Kinetics-TPS README)."""


def swap(name: str) -> str:
    """Exchange left and right in a part's or a label's name: what a horizontal flip does to it.

    Args:
        name: A part (`left_arm`) or any label that begins with one (`left_arm_bend`).

    Returns:
        The mirrored name; names without a side come back unchanged.

    >>> swap("left_arm"), swap("right_hand_hold"), swap("head")
    ('right_arm', 'left_hand_hold', 'head')
    """
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


def parts_of(names: Iterable[str]) -> tuple[str, ...]:
    """All parts that there are where some are named, in the order every table and network uses.

    Args:
        names: Parts that a data set, a table or a network names, in any order.

    Returns:
        `PARTS` if it has them all; else those named and their mirror images, which mirrored pictures show, by name.

    >>> parts_of(["left_wing", "beak"]), len(parts_of(["head"]))
    (('beak', 'left_wing', 'right_wing'), 10)
    """
    named = {*names}
    return PARTS if named <= {*PARTS} else tuple(sorted({*named, *map(swap, named)}))


def swapped(parts: Sequence[str]) -> tuple[int, ...]:
    """For each part's index, the index of its mirror image.

    Args:
        parts: From `parts_of`.
    """
    return tuple(parts.index(swap(part)) for part in parts)


def without_side(part: str) -> str:
    """What kind of part it is: left and right are mirror images of one kind.

    >>> without_side("left_arm"), without_side("head")
    ('arm', 'head')
    """
    return part.removeprefix("left_").removeprefix("right_")
