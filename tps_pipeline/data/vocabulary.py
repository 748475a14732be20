"""The label spaces, derived from the training labels: actions, and (part, state) pairs with left and right apart."""

from __future__ import annotations

import pyarrow as pa

from tps_pipeline import tables

_PAIR = ["part", "state"]


def action_names(actions: pa.Table) -> pa.Table:
    """List the actions of the training videos, sorted (`tables.ACTION_NAMES`).

    Args:
        actions: `tables.ACTIONS` of all training shards, in any order.
    """
    names = tables.distinct(actions["action"])
    return tables.conform(pa.table({"action": pa.array(names, pa.string())}), tables.ACTION_NAMES)


def state_labels(parts: pa.Table) -> pa.Table:
    """List all (part, state) pairs of the training boxes, sorted (`tables.STATE_LABELS`).

    `most_frequent` marks the pairs that are some video's most frequent state of a part; of equally frequent ones the
    first by name.

    Args:
        parts: `tables.PARTS` of all training shards, in any order.
    """
    counts = (
        parts.select(["video_id", *_PAIR])
        .unify_dictionaries()
        .group_by(["video_id", *_PAIR], use_threads=False)
        .aggregate([([], "count_all")])
        .to_pandas()
        .astype({"video_id": str, "part": str, "state": str})
        .sort_values(["video_id", "part", "count_all", "state"], ascending=[True, True, False, True])
    )
    most_frequent = counts.drop_duplicates(["video_id", "part"])[_PAIR].drop_duplicates()
    pairs = counts[_PAIR].drop_duplicates().sort_values(_PAIR)
    marked = pairs.merge(most_frequent, how="left", on=_PAIR, indicator=True)
    marked["most_frequent"] = marked["_merge"] == "both"
    return tables.conform(marked, tables.STATE_LABELS)


def state_counts(actions: pa.Table, parts: pa.Table) -> pa.Table:
    """How many boxes of each action's part are in each state.

    Args:
        actions: `tables.ACTIONS`.
        parts: `tables.PARTS` of the same videos.

    Returns:
        A table of `tables.STATE_COUNTS`, sorted by action and part, the most frequent state first (ties by name).
    """
    joined = parts.select(["video_id", "part", "state"]).to_pandas().astype(str)
    joined["action"] = joined.video_id.map(actions.to_pandas().astype(str).set_index("video_id").action)
    counts = joined.groupby(["action", "part", "state"]).size().rename("boxes").reset_index()
    counts = counts.sort_values(["action", "part", "boxes", "state"], ascending=[True, True, False, True])
    return tables.conform(counts, tables.STATE_COUNTS)
