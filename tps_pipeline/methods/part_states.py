"""The states of a person's parts as labels of a network: label spaces, targets, and what is predicted of them.

A label is a (part, state) pair, left and right apart. A target has the label of each part (`LabelSpace.parts`), or
`UNLABELLED`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.labels import NO_STATE, parts_of, swap, swapped

if TYPE_CHECKING:  # half a second, which a plan need not pay
    import pandas as pd

UNLABELLED = -1
"""The label of a part that is not annotated, or in a state outside the label space."""
LIKELIEST = 5
"""States kept in `state_scores`."""
AT_ONCE = 200_000
"""Rows of a table that are arranged at once."""
UNKNOWN = ((NO_STATE, 1.0),)
"""The states of a part whose state cannot be told."""


@dataclass(frozen=True)
class LabelSpace:
    """The (part, state) pairs that a network tells apart, in the order of its outputs."""

    pairs: tuple[tuple[str, str], ...]
    """Each a part and one of its states."""

    @classmethod
    def of(cls, vocabulary: pa.Table, *, pairs: Literal["most_frequent", "all"]) -> LabelSpace:
        """The label space that the training data have.

        Args:
            vocabulary: `tables.STATE_LABELS`.
            pairs: Those that are some video's most frequent state of a part (108 in the paper), or all (164).
        """
        chosen = [row for row in vocabulary.to_pylist() if pairs == "all" or row["most_frequent"]]
        return cls(tuple(sorted((row["part"], row["state"]) for row in chosen)))

    def __len__(self) -> int:
        return len(self.pairs)

    def to_json(self) -> str:
        """The pairs as text, to be kept with the network."""
        return json.dumps(self.pairs)

    @classmethod
    def from_json(cls, text: str) -> LabelSpace:
        """The label space of `to_json`."""
        return cls(tuple((part, state) for part, state in json.loads(text)))

    @cached_property
    def labels(self) -> dict[tuple[str, str], int]:
        """Each pair's label."""
        return {pair: label for label, pair in enumerate(self.pairs)}

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts that there are where these have states (`labels.parts_of`)."""
        return parts_of(part for part, _ in self.pairs)

    @cached_property
    def of_part(self) -> tuple[np.ndarray, ...]:
        """The labels of each of the parts; none for one without states."""
        return tuple(
            np.array([label for (of, _), label in self.labels.items() if of == part], np.int64) for part in self.parts
        )

    def best(self, scores: np.ndarray) -> np.ndarray:
        """The highest label of each part.

        Args:
            scores: Of each label, `(B, labels)`.

        Returns:
            `(B, parts)`; `UNLABELLED` for a part without states.
        """
        columns = [
            labels[scores[:, labels].argmax(1)] if len(labels) else np.full(len(scores), UNLABELLED)
            for labels in self.of_part
        ]
        return np.stack(columns, axis=1)

    def mirrored(self, targets: np.ndarray) -> np.ndarray:
        """Targets of the mirror image: left and right change places.

        Args:
            targets: `(..., parts)`.

        Returns:
            The same shape; a pair whose mirror image is not in the label space becomes `UNLABELLED`.
        """
        return self._mirror[targets[..., list(swapped(self.parts))]]

    @property
    def mirrored_labels(self) -> np.ndarray:
        """The label of each pair's mirror image, or `UNLABELLED`: `(labels,)`."""
        return self._mirror[:-1]

    @cached_property
    def _mirror(self) -> np.ndarray:
        """Each label's mirror image; the last entry is that of `UNLABELLED`."""
        swapped = [self.labels.get((swap(part), state), UNLABELLED) for part, state in self.pairs]
        return np.array([*swapped, UNLABELLED], np.int64)


def targets_by(keys: Sequence[str], parts: pa.Table, space: LabelSpace) -> pd.DataFrame:
    """The most frequent state of each part in each video, or in each of a video's frames; ties go by name.

    Some videos at a time, for what is between takes a hundred times as much memory as what comes out.

    Args:
        keys: `video_id`, with or without `frame`.
        parts: `tables.PARTS`.
        space: The label space.

    Returns:
        Targets: a row for each key, sorted, a column for each of its parts.
    """
    import pandas as pd

    found = [_targets(keys, few, space) for few in tables.by_videos(parts.select([*keys, "part", "state"]), AT_ONCE)]
    return pd.concat(found).sort_index() if len(found) != 1 else found[0]


def _targets(keys: Sequence[str], parts: pa.Table, space: LabelSpace) -> pd.DataFrame:
    names = ["part", "state"]
    table = parts.group_by([*keys, *names], use_threads=False)
    counts = table.aggregate([([], "count_all")]).to_pandas()
    for name in ("video_id", *names):  # the order of names, not that of their first appearance
        counts[name] = counts[name].cat.reorder_categories(sorted(counts[name].cat.categories))
    order = [*keys, "part", "count_all", "state"]
    counts = counts.sort_values(order, ascending=[name != "count_all" for name in order])
    chosen = counts.drop_duplicates([*keys, "part"]).astype({"video_id": str, "part": str})
    pairs = zip(chosen.part, chosen.state, strict=True)
    chosen["label"] = [space.labels.get(pair, UNLABELLED) for pair in pairs]
    by_part = chosen.set_index([*keys, "part"])["label"].unstack("part")
    return by_part.reindex(columns=list(space.parts)).fillna(UNLABELLED).astype(np.int16)


def target_counts(targets: np.ndarray, space: LabelSpace) -> np.ndarray:
    """How often each label is a target: `(labels,)`."""
    return np.bincount(targets[targets >= 0], minlength=len(space))


def frequencies(targets: np.ndarray, space: LabelSpace) -> np.ndarray:
    """How often each state is its part's target, as a share of the part's targets: `(labels,)`."""
    counts = target_counts(targets, space).astype(float)
    for labels in space.of_part:
        counts[labels] /= max(1.0, counts[labels].sum())
    return counts


def with_states(detections: pa.Table, space: LabelSpace, scores: np.ndarray, clips: np.ndarray) -> pa.Table:
    """Detections with the likeliest state of each part, by the scores of the clip that shows them.

    A part that the label space lacks is in the state `none`.

    Args:
        detections: `tables.DETECTIONS`.
        space: The label space.
        scores: Of each clip and label, 0 to 1, `(clips, labels)`.
        clips: The clip of each detection, `(detections,)`.

    Returns:
        A table of `tables.PREDICTIONS`.
    """
    likeliest = {
        part: _likeliest([space.pairs[label][1] for label in labels], scores[:, labels])
        for part, labels in zip(space.parts, space.of_part, strict=True)
        if len(labels)
    }
    parts = detections["part"].to_pylist()
    found = [likeliest[part][clip] if part in likeliest else UNKNOWN for part, clip in zip(parts, clips, strict=True)]
    return in_states(detections, found)


def in_states(detections: pa.Table | pd.DataFrame, likeliest: Sequence[Sequence[tuple[str, float]]]) -> pa.Table:
    """Detections with the states that were found for them.

    Args:
        detections: `tables.DETECTIONS`.
        likeliest: The likeliest states of each of them with their scores, the likeliest first.

    Returns:
        A table of `tables.PREDICTIONS`.
    """
    rows = detections.to_pandas() if isinstance(detections, pa.Table) else detections
    states, scores = zip(*(found[0] for found in likeliest), strict=True) if len(likeliest) else ((), ())
    columns: dict[str, Any] = {"state": states, "state_score": scores, "state_scores": list(likeliest)}
    return tables.conform(rows.assign(**columns), tables.PREDICTIONS)


def _likeliest(states: list[str], scores: np.ndarray) -> list[list[tuple[str, float]]]:
    """The likeliest states of one part in each clip, the likeliest first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :LIKELIEST]
    return [[(states[at], float(row[at])) for at in chosen] for chosen, row in zip(order.tolist(), scores, strict=True)]
