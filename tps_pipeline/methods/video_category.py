"""Method `video_category`: each part gets its most frequent state in the predicted action."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tps_pipeline import recipe
from tps_pipeline.data import vocabulary
from tps_pipeline.methods.part_states import LIKELIEST, UNKNOWN, in_states
from tps_pipeline.outputs import ACTIONS, DETECTIONS, PARTS, VIDEO_ACTIONS, Output
from tps_pipeline.reading import Reads

FILE = "state_counts.parquet"
"""The checkpoint's one file: how often each state of a part was annotated in each action."""


@dataclass(frozen=True)
class VideoCategory:
    """Statistics only: nothing of the picture is used beyond the video's action."""

    settings: recipe.VideoCategory
    """The recipe's entry."""
    fit_reads: tuple[Output, ...] = (ACTIONS, PARTS)
    """See `Method`."""
    predict_reads: tuple[Output, ...] = (DETECTIONS, VIDEO_ACTIONS)
    """See `Method`."""
    fit_version: ClassVar[str] = "1"
    """See `Method`."""
    predict_version: ClassVar[str] = "1"
    """See `Method`."""

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Count the states of each action's parts; see `tables.STATE_COUNTS`."""
        counts = vocabulary.state_counts(train(ACTIONS), train(PARTS))
        pq.write_table(counts, folder / FILE)
        return {"boxes": float(np.sum(counts["boxes"].to_numpy()))}

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Give every detected part the state that its video's predicted action has most often."""
        counts = pq.ParquetFile(checkpoint / FILE).read()
        return with_states(shard(DETECTIONS), shard(VIDEO_ACTIONS), counts)


def with_states(detections: pa.Table, video_actions: pa.Table, counts: pa.Table) -> pa.Table:
    """Detections with the most frequent state of each part in the video's predicted action.

    A part that the action never has annotated gets its most frequent state over all actions, and `none` if it is
    annotated nowhere.

    Args:
        detections: `tables.DETECTIONS`.
        video_actions: `tables.VIDEO_ACTIONS` of the same videos.
        counts: `tables.STATE_COUNTS`.

    Returns:
        A table of `tables.PREDICTIONS`; a state's score is its share of the action's boxes of that part.
    """
    import pandas as pd

    known = counts.to_pandas().astype({"action": str, "part": str, "state": str})
    overall = known.groupby(["part", "state"], as_index=False).boxes.sum().assign(action="")
    shares = pd.concat([known, overall]).sort_values(["boxes", "state"], ascending=[False, True])
    shares["share"] = shares.boxes / shares.groupby(["action", "part"]).boxes.transform("sum")
    likeliest = {
        key: list(zip(rows.state, rows.share, strict=True))
        for key, rows in shares.groupby(["action", "part"]).head(LIKELIEST).groupby(["action", "part"])
    }
    rows = detections.to_pandas()
    actions = rows.video_id.astype(str).map(
        video_actions.to_pandas().astype({"video_id": str}).set_index("video_id").action
    )
    found = [
        likeliest.get((action, part)) or likeliest.get(("", part)) or UNKNOWN
        for action, part in zip(actions, rows.part, strict=True)
    ]
    return in_states(rows, found)
