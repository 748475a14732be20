"""What is scored, how predictions are scored, how methods rank, and what all of that had to do without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import outputs, psc, tables
from tps_pipeline.parsing import annotated, predicted
from tps_pipeline.reading import Reads, frame_index


def sampled(labelled_frames: pa.Table, stride: int) -> pa.Table:
    """The labelled frames that count: 1, 1 + stride, ... (test annotations have no others)."""
    return labelled_frames.filter(pa.array((labelled_frames["frame"].to_numpy() - 1) % stride == 0))


def score(read: Reads, predictions: pa.Table, *, method: str, split: str, stride: int) -> pa.Table:
    """Part state correctness of some shards' videos by some predictions.

    Args:
        read: `outputs.SCORED_WITH`, of the shards.
        predictions: `tables.PREDICTIONS` of the shards.
        method: Whose they are.
        split: The shards'.
        stride: Step between the frames that count.

    Returns:
        `tables.PSC`.
    """
    people, parts = read(outputs.PEOPLE), read(outputs.PARTS)
    return psc.evaluate(
        annotated(sampled(read(outputs.LABELLED_FRAMES), stride), people, parts),
        predicted(predictions, frame_index(read)),
        actions=read(outputs.ACTIONS),
        video_actions=read(outputs.VIDEO_ACTIONS),
        method=method,
        split=split,
    )


def figures(scores: pa.Table) -> dict[str, float]:
    """A table's fractions by name (`val_head_ap50`): a row's names, then the column's."""
    names = [f.name for f in scores.schema if pa.types.is_dictionary(f.type)]
    fractions = [f.name for f in scores.schema if pa.types.is_floating(f.type)]
    return {
        "_".join((*(row[name] for name in names), fraction)): row[fraction]
        for row in scores.to_pylist()
        for fraction in fractions
        if row[fraction] is not None
    }


def unreadable(videos: pa.Table) -> pa.Table:
    """The videos that could not be read, wholly or in part.

    Args:
        videos: `tables.VIDEOS` of all shards.

    Returns:
        `tables.UNREADABLE`.
    """
    rows = videos.to_pandas()
    rows["videos"] = rows.groupby("split", observed=True)["video_id"].transform("size")
    return tables.conform(rows.loc[(rows["status"] != "ok") | rows["error"].notna()], tables.UNREADABLE)


def leaderboard(
    scored: pa.Table,
    average_precision: Mapping[str, pa.Table],
    reported: Mapping[str, float] | None = None,
    *,
    macro_recall: Mapping[tuple[str, str], float | None] | None = None,
    unreadable: pa.Table | None = None,
) -> pa.Table:
    """Rank methods.

    Args:
        scored: `tables.PSC` of all methods.
        average_precision: `tables.AVERAGE_PRECISION` of each method's boxes, by method.
        reported: The challenge paper's score of each method that it has.
        macro_recall: `psc.macro_recall` by method and split, as far as it is known.
        unreadable: `tables.UNREADABLE`; None if every video could be read.

    Returns:
        `tables.LEADERBOARD`, best score first within each split.
    """
    ap50 = {
        (method, row["split"], row["label"]): row["ap50"]
        for method, table in average_precision.items()
        for row in table.to_pylist()
    }
    lost = Counter(unreadable["split"].to_pylist() if unreadable else ())
    rows = []
    for key, videos in scored.to_pandas().groupby(["method", "split"], observed=True):
        method, split = map(str, key)
        values, correct = videos.psc.to_numpy(), videos.action_correct.to_numpy()
        rows.append(
            {
                "method": method,
                "split": split,
                "videos": len(videos),
                "score": psc.score(values, correct),
                "mean_psc": float(np.mean(values)),
                "action_accuracy": float(np.mean(correct)),
                "macro_recall": (macro_recall or {}).get((method, split)),
                "person_ap50": ap50.get((method, split, "person")),
                "part_ap50": ap50.get((method, split, "parts")),
                "reported": (reported or {}).get(method),
                "not_read": lost[split],
            }
        )
    columns = [field.name for field in tables.LEADERBOARD]
    ranked = pd.DataFrame(rows, columns=columns).sort_values(
        ["split", "score", "method"], ascending=[True, False, True]
    )
    nullable = ("macro_recall", "person_ap50", "part_ap50", "reported")
    return tables.conform(ranked.astype(dict.fromkeys(nullable, float)), tables.LEADERBOARD)
