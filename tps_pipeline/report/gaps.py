"""What a run could not read, in words: how many videos of each split, which, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tps_pipeline.outputs import SPLITS

_INSTEAD = {
    "train": "nothing is learned from {them}",
    "val": "nobody is found in {them}",
    "test": "{they} in the submission with the most frequent action and nobody in {them}",
}
"""What becomes of a split's videos that cannot be read at all."""


@dataclass(frozen=True)
class Gap:
    """Videos of one split that could not be read, all of them wholly or all of them in part.

    Attributes:
        split: Of the videos.
        sentence: How many of how many, and what became of them.
        videos: Why each could not be read, by its id.
    """

    split: str
    sentence: str
    videos: dict[str, str]


def gaps(unreadable: pa.Table) -> list[Gap]:
    """Sort what could not be read (`tables.UNREADABLE`) by split, the test videos first."""
    rows: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for row in unreadable.to_pylist():
        rows.setdefault((row["split"], row["status"] == "unreadable"), []).append(row)
    return [
        Gap(
            split,
            _sentence(split, len(found), found[0]["videos"], wholly=wholly),
            {row["video_id"]: row["error"] or row["status"] for row in found},
        )
        for (split, wholly), found in sorted(rows.items(), key=_order)
    ]


def _order(item: tuple[tuple[str, bool], object]) -> tuple[int, bool]:
    (split, wholly), _ = item
    return -SPLITS.index(split), not wholly


def _sentence(split: str, count: int, of: int, *, wholly: bool) -> str:
    one = count == 1
    begin = f"{count} of {of} {split} video{'s' * (of > 1)}"
    if not wholly:
        return f"{begin} could be read in part only"
    words = {"them": "it" if one else "them", "they": "it is" if one else "they are"}
    return f"{begin} could not be read; {_INSTEAD[split].format(**words)}"
