"""One box from those of several methods, for people and for parts: weighted boxes fusion (Solovyev et al., 2021).

Who is who is decided in `people.py`, so that each method has one box at most of a person, and of each of its parts. How
much a method's boxes count is learned from annotated ones, and kept among the stack's weights. Of states nothing is
known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.boxes import paired_iou
from tps_pipeline.ensemble.evidence import Voters
from tps_pipeline.ensemble.stacking import fold_of
from tps_pipeline.labels import PERSON
from tps_pipeline.parsing import Floats, Integers, Parsing
from tps_pipeline.psc import match_people, parts_of_matched_people
from tps_pipeline.tables import BOX, PERSON_BOX

BOXES = "boxes"
"""The feature that says how much a member's boxes count, in `tables.STACKING`."""

AGREED = 0.55
"""Overlap above which two methods have found the same (arXiv 1910.13302)."""

COUNTS = (0.0, 0.25, 0.5, 1.0)
"""What is tried that a method's boxes count, those of the best one counting 1."""

OVERLAPS = np.arange(0.5, 1.0, 0.05)
"""A box is the nearer to an annotated one the more of these its overlap reaches (COCO's thresholds)."""


@dataclass(frozen=True)
class Proposals:
    """Boxes of the same things by several methods.

    Attributes:
        boxes: `(methods, n, 4)`.
        scores: `(methods, n)`; 0 where a method has none.
    """

    boxes: Floats
    scores: Floats

    @classmethod
    def of_people(cls, voters: Voters, methods: Sequence[int]) -> Proposals:
        """Some methods' boxes of the best one's people."""
        found = []
        for method in methods:
            parsed = voters.parsed[method]
            scores = np.zeros(len(parsed.person_box))
            scores[parsed.part_person] = voters.predictions[method]["person_score"].to_numpy()
            found.append(_at(voters.partners[method], parsed.person_box, scores))
        return cls(*(np.stack(each) for each in zip(*found, strict=True)))

    @classmethod
    def of_parts(cls, voters: Voters, methods: Sequence[int]) -> Proposals:
        """Some methods' boxes of the best one's parts."""
        found = [
            _at(
                voters.rows[method], voters.parsed[method].part_box, voters.predictions[method]["part_score"].to_numpy()
            )
            for method in methods
        ]
        return cls(*(np.stack(each) for each in zip(*found, strict=True)))

    def among(self, rows: Integers) -> Proposals:
        """Those of some of the things."""
        return Proposals(self.boxes[:, rows], self.scores[:, rows])

    def fused(self, counts: Sequence[float]) -> tuple[Floats, Floats]:
        """Fuse the boxes of each thing.

        The surest box comes first; each joins the boxes fused so far that it overlaps most, by more than `AGREED`, or
        stands for itself. Boxes that are one are their mean by scores; their score is their scores' sum over what all
        methods count together, so that what few have seen is less sure. Of several, the surest is the thing's.

        Args:
            counts: What each method's scores are multiplied by; some are above 0.

        Returns:
            Boxes `(n, 4)` and scores `(n,)`.
        """
        weighed = self.scores * np.array(counts)[:, None]
        order = np.argsort(-weighed, axis=0, kind="stable")
        boxes, weighed = np.take_along_axis(self.boxes, order[..., None], 0), np.take_along_axis(weighed, order, 0)
        fused, sums = boxes.copy(), np.zeros_like(weighed)
        thing = np.arange(weighed.shape[1])
        for place, (box, weight) in enumerate(zip(boxes, weighed, strict=True)):
            overlap = np.where(sums > 0, paired_iou(fused, box), 0)
            nearest = overlap.argmax(axis=0)
            at = np.where(overlap[nearest, thing] > AGREED, nearest, place), thing
            total = np.maximum(sums[at] + weight, np.finfo(float).tiny)
            fused[at] = (fused[at] * sums[at][:, None] + box * weight[:, None]) / total[:, None]
            sums[at] += weight
        best = sums.argmax(axis=0), thing
        return np.where(sums[best][:, None] > 0, fused[best], self.boxes[0]), sums[best] / sum(counts)


def sources(methods: Sequence[str], own: Collection[str]) -> list[int]:
    """The methods whose boxes differ, the best first: those with boxes of their own, and the best of all others.

    Args:
        methods: The best first.
        own: Those with boxes of their own.
    """
    detected = [place for place, name in enumerate(methods) if name not in own]
    return sorted([place for place, name in enumerate(methods) if name in own] + detected[:1])


def learn(
    voters: Voters, methods: Sequence[str], own: Collection[str], truth: Parsing
) -> Iterator[tuple[int | None, str, str, str, float]]:
    """Find what each method's boxes are to count: the best's 1, the others' in turn what brings boxes nearest.

    Args:
        voters: The methods on annotated videos.
        methods: Their names, the best first.
        own: Those with boxes of their own.
        truth: The annotations.

    Yields:
        Rows of `tables.STACKING`: of people, and of each of the people's parts, for which they are the same; learned
        from all videos, and without each fold of them.
    """
    people, which = voters.people, sources(methods, own)
    folds = np.array([fold_of(name) for name in people.videos], np.int64)[people.frame_video][people.person_frame]
    partner = match_people(truth, people)
    matched = np.flatnonzero(partner >= 0)
    rows, annotated = parts_of_matched_people(truth, people)
    whole, each = Proposals.of_people(voters, which).among(matched), Proposals.of_parts(voters, which).among(rows)
    levels = (
        ((PERSON,), whole, truth.person_box[partner[matched]], folds[matched]),
        (people.parts, each, truth.part_box[annotated], folds[people.part_person[rows]]),
    )
    for names, proposals, true, fold in levels:
        for held_out in (None, *sorted(set(folds.tolist()))):
            known = np.flatnonzero(fold != held_out) if held_out is not None else np.arange(len(fold))
            counts = _counts(proposals.among(known), true[known])
            for name in names:
                of_methods = zip(which, counts, strict=True)
                yield from ((held_out, name, methods[at], BOXES, count) for at, count in of_methods if count)


def _counts(proposals: Proposals, true: Floats) -> list[float]:
    """What each method's boxes are to count; of counts that are as good the least."""
    counts = [1.0] + [0.0] * (len(proposals.boxes) - 1)
    for place in range(1, len(counts)):
        tried = [[*counts[:place], count, *counts[place + 1 :]] for count in COUNTS]
        counts = max(tried, key=lambda each: _nearness(proposals.fused(each)[0], true))
    return counts


def _nearness(boxes: Floats, true: Floats) -> int:
    return int((paired_iou(boxes, true)[:, None] >= OVERLAPS).sum())


def with_fused(
    rows: pa.Table, voters: Voters, methods: Sequence[str], weights: pd.DataFrame, folds: Integers
) -> pa.Table:
    """The best method's rows with the methods' boxes fused.

    Args:
        rows: `tables.PREDICTIONS`.
        voters: The methods.
        methods: Their names, the best first.
        weights: Rows of `tables.STACKING` of `BOXES`, a number as each `fold`; if there are none all stays as it is.
        folds: `(videos,)` whose weights are for each of the best method's videos.
    """
    if weights.empty:
        return rows
    counts = weights.pivot_table("weight", ["fold", "part"], "member", fill_value=0.0)
    people, which = voters.people, [place for place, name in enumerate(methods) if name in counts.columns]
    counts = counts[[methods[place] for place in which]]
    fold = folds[people.frame_video[people.person_frame]]
    part = counts.index.get_level_values("part")
    of_people, of_parts = (counts[chosen].groupby("fold").first() for chosen in (part == PERSON, part != PERSON))
    boxes, scores = _by_fold(Proposals.of_people(voters, which), of_people, fold)
    person = people.part_person
    columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    columns |= dict(zip(PERSON_BOX, np.rint(boxes[person]).T, strict=True)) | {"person_score": scores[person]}
    boxes, scores = _by_fold(Proposals.of_parts(voters, which), of_parts, fold[person])
    columns |= dict(zip(BOX, np.rint(boxes).T, strict=True)) | {"part_score": scores}
    return pa.table(columns).cast(tables.PREDICTIONS)


def _by_fold(proposals: Proposals, counts: pd.DataFrame, folds: Integers) -> tuple[Floats, Floats]:
    """The things' boxes and scores, each by its fold's counts."""
    boxes, scores = proposals.boxes[0].copy(), proposals.scores[0].copy()
    for fold in np.unique(folds):
        at = np.flatnonzero(folds == fold)
        boxes[at], scores[at] = proposals.among(at).fused(counts.loc[fold].tolist())
    return boxes, scores


def _at(rows: Integers, boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Boxes and scores of some rows; zeros for row -1."""
    there = rows >= 0
    found, sure = np.zeros((len(rows), 4)), np.zeros(len(rows))
    found[there], sure[there] = boxes[rows[there]], scores[rows[there]]
    return found, sure
