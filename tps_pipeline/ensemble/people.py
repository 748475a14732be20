"""Who is who among two methods' people, and which of their parts are the same; whose states count is not known here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tps_pipeline.boxes import paired_iou
from tps_pipeline.parsing import Floats, Integers, Parsing


def same_people(people: Parsing, others: Parsing, iou: float) -> Integers:
    """For each person the same one among others, whose box overlaps by more than `iou`, or -1; see `voting`."""
    frame = people.frames_in(others)[people.person_frame]
    shared = np.flatnonzero(frame >= 0)
    people_in_frame = np.bincount(others.person_frame, minlength=len(others.frame))
    first, count = (np.cumsum(people_in_frame) - people_in_frame)[frame[shared]], people_in_frame[frame[shared]]
    person = np.repeat(shared, count)
    candidate = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(person))
    overlap = paired_iou(people.person_box[person], others.person_box[candidate])
    close = overlap > iou
    return _pair_off(person[close], candidate[close], overlap[close], len(people.person_box), len(others.person_box))


def same_parts(people: Parsing, others: Parsing, partner: Integers) -> Integers:
    """For each part of some people the same person's same part among others' parts, or -1.

    Of several proposals of a part the first is taken.

    Args:
        people: Whose parts.
        others: What is looked for in.
        partner: For each of the people the same person among the others, or -1 (`same_people`).
    """
    # The last row is that of nobody, the last column that of parts that the people do not have.
    row = np.full((len(others.person_box) + 1, len(people.parts) + 1), -1)
    row[others.part_person[::-1], others.part_in(people.parts)[::-1]] = np.arange(len(others.part))[::-1]
    return row[partner[people.part_person], people.part]


def _pair_off(person: Integers, candidate: Integers, overlap: Floats, n_people: int, n_candidates: int) -> Integers:
    """Make pairs one after the other, the highest overlap first: for each of the people a partner, or -1."""
    partner, taken = np.full(n_people, -1), np.zeros(n_candidates, bool)
    order = np.lexsort((candidate, person, -overlap))
    person, candidate = person[order], candidate[order]
    while len(person):  # all pairs at once that are the first of both of theirs; hardly ever are any left
        agreed = _firsts(person, n_people) & _firsts(candidate, n_candidates)
        partner[person[agreed]] = candidate[agreed]
        taken[candidate[agreed]] = True
        free = (partner[person] < 0) & ~taken[candidate]
        person, candidate = person[free], candidate[free]
    return partner


def _firsts(values: Integers, size: int) -> NDArray[np.bool_]:
    """Which values are the first of their kind, of values below `size`."""
    at = np.empty(size, np.int64)
    at[values[::-1]] = np.arange(len(values))[::-1]
    return at[values] == np.arange(len(values))
