"""What a detector makes of people's parts: told from those who are annotated as well, and made of others in training.

Detectors err in ways of their own: a leg's box is on the other leg, for several frames on end, a hand's is nowhere near
it, and scores tell of that or do not. Jitter is not like that. So mistakes are taken as they were made, of one person's
parts all at once and over time, and made of another. Jitter, dropped parts and views are in `sequences`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tps_pipeline.boxes import paired_iou
from tps_pipeline.labels import swapped
from tps_pipeline.methods.trajectories.sequences import Boxes, Trajectories

NEAR = 0.1
"""Overlap below which a box is on neither side's part (ours; tried with no other)."""
_INSIDE = np.array((0, 0, 1, 1), np.float32)
"""What the corners of continuous boxes lie beyond the last pixels inside them."""


@dataclass(frozen=True)
class Mistakes:
    """Of people in frames, M of them, what became of the person's box and of those of the parts.

    Attributes:
        sources: The annotated box that the detected one lies on: its own, that of the other side's part, or, where it
            lies on neither, the person's, which is box 0; `(M, 1 + parts)`.
        offsets: Where its corners are from there, as shares of that box's size, `(M, 1 + parts, 4)`.
        places: The same from the person's box.
        confidences: Its confidence, 0 where nothing is detected, `(M, 1 + parts)`.
        judged: Whether the part is annotated, `(M, 1 + parts)`; of others nobody knows what is a mistake.
        sequences: Rows that are one person's, ascending in time.
    """

    sources: NDArray[np.int64]
    offsets: NDArray[np.float32]
    places: NDArray[np.float32]
    confidences: NDArray[np.float32]
    judged: NDArray[np.bool_]
    sequences: list[NDArray[np.int64]]

    @classmethod
    def of(
        cls, annotated: Trajectories, detected: Trajectories, pairs: NDArray[np.int64], parts: tuple[str, ...]
    ) -> Self:
        """Compare what is detected with what is annotated.

        Args:
            annotated: People with the boxes that are right.
            detected: The same people, as they are detected; others may be among them.
            pairs: Who is who: persons of `annotated` and of `detected`, `(M, 2)`.
            parts: Whose boxes they are.
        """
        right = Boxes(*(each[pairs[:, 0]] for each in annotated.boxes))
        found = Boxes(*(each[pairs[:, 1]] for each in detected.boxes))
        own = np.arange(1 + len(parts))
        other = np.array((0, *(1 + part for part in swapped(parts))))
        seen, judged = found.confidences > 0, right.confidences > 0
        on_own, on_other = (
            np.where(seen & judged[:, box], paired_iou(found.corners - _INSIDE, right.corners[:, box] - _INSIDE), 0)
            for box in (own, other)
        )
        sources = np.where(np.maximum(on_own, on_other) < NEAR, 0, np.where(on_other > on_own, other, own))
        row = np.full(len(detected.videos), -1)
        row[pairs[:, 1]] = np.arange(len(pairs))
        there = [row[persons][row[persons] >= 0] for persons in detected.sequences]
        return cls(
            sources,
            _offsets(found.corners, np.take_along_axis(right.corners, sources[..., None], 1)),
            _offsets(found.corners, right.corners[:, :1]),
            found.confidences,
            judged,
            [rows for rows in there if len(rows)],
        )

    def made_of(self, boxes: Boxes, rng: np.random.Generator) -> Boxes:
        """Someone's annotated boxes with what was made of somebody else's, there and back in time if that is shorter.

        Args:
            boxes: `(T, 1 + parts, ...)`.
            rng: Decides whose mistakes, and from when on.
        """
        rows = self.sequences[rng.integers(len(self.sequences))]
        there_and_back = np.concatenate((rows, rows[::-1]))
        rows = there_and_back[(np.arange(len(boxes.corners)) + rng.integers(len(there_and_back))) % len(there_and_back)]
        corners, there = boxes.corners, boxes.confidences > 0
        sources = self.sources[rows]
        on_source = _placed(self.offsets[rows], np.take_along_axis(corners, sources[..., None], 1))
        on_person = _placed(self.places[rows], corners[:, :1])
        moved = np.where(np.take_along_axis(there, sources, 1)[..., None], on_source, on_person)
        moved = np.where((there & ~self.judged[rows])[..., None], corners, moved)
        return Boxes(moved, self.confidences[rows] * there[:, :1])


def _offsets(corners: NDArray[np.float32], of: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((corners - of) / _sizes(of).clip(1)).astype(np.float32)


def _placed(offsets: NDArray[np.float32], on: NDArray[np.float32]) -> NDArray[np.float32]:
    return (on + offsets * _sizes(on)).astype(np.float32)


def _sizes(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    sizes = corners[..., 2:] - corners[..., :2]
    return np.concatenate((sizes, sizes), -1)
