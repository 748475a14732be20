"""Parts, left and right, and the label spaces over (part, state) pairs."""

from __future__ import annotations

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
"""The ten body parts of Kinetics-TPS, in the order every table and every network of ours uses."""

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


SWAPPED_PARTS: tuple[int, ...] = tuple(PARTS.index(swap(part)) for part in PARTS)
"""For each part's index, the index of its mirror image."""
