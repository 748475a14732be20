"""Tables of predictions with the states that an ensemble gives; how it finds them is not known here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.parsing import Floats, Integers

LIKELIEST = 5
"""States kept in `state_scores`, as the methods keep them."""

Scores = tuple[Integers, list[str], Floats]
"""Of some rows, `(n,)`, and states, S names: the score of each, `(n, S)`."""


def with_states(rows: pa.Table, start: Integers, state: Integers, score: Floats, names: list[str]) -> pa.Table:
    """Rows of `tables.PREDICTIONS` with other states.

    Args:
        rows: The rows.
        start: `(rows + 1,)` where each row's states start.
        state: `(start[-1],)` indices into `names`, a row's likeliest first.
        score: `(start[-1],)`.
        names: Of the states.
    """
    given_names, scores = pa.array(names, pa.string()), pa.array(score, tables.SCORE)
    given_states, winner = given_names.take(pa.array(state, pa.int64())), pa.array(start[:-1], pa.int64())
    offsets: Any = pa.array(start, pa.int32())  # a map has 32 bits; the stubs say 64
    given: dict[str, Any] = {
        "state": given_states.take(winner).dictionary_encode(),
        "state_score": scores.take(winner),
        "state_scores": pa.MapArray.from_arrays(offsets, given_states, scores),
    }
    kept: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    return pa.table(kept | given).cast(tables.PREDICTIONS)


def with_likeliest(rows: pa.Table, scored: Iterable[Scores]) -> pa.Table:
    """Rows of `tables.PREDICTIONS` with the likeliest of some states; a row that has no scores keeps its own.

    Args:
        rows: The rows.
        scored: The scores of states, each row in one entry at most. Of states with equal scores the earlier is first.
    """
    own: Any = rows["state_scores"].combine_chunks()
    left = np.ones(len(rows), bool)
    at, named, score = [np.empty(0, np.int64)], [np.empty(0, object)], [np.empty(0)]
    for row, states, scores in scored:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :LIKELIEST]
        left[row] = False
        at.append(np.repeat(row, order.shape[1]))
        named.append(np.array(states, object)[order].ravel())
        score.append(np.take_along_axis(scores, order, axis=1).ravel())
    kept = np.flatnonzero(left)
    entry, owner = entries(own, kept)
    at.append(kept[owner])
    named.append(own.keys.take(pa.array(entry)).to_numpy(zero_copy_only=False))
    score.append(own.items.to_numpy(zero_copy_only=False)[entry])
    every = np.concatenate(at)
    order = np.argsort(every, kind="stable")
    names, state = np.unique(np.concatenate(named)[order].astype(str), return_inverse=True)
    start = np.concatenate([[0], np.cumsum(np.bincount(every, minlength=len(rows)))])
    return with_states(rows, start, state, np.concatenate(score)[order], names.tolist())


def entries(scores: Any, rows: Integers) -> tuple[Integers, Integers]:
    """Where some rows' entries are in a column of maps.

    Args:
        scores: A `pa.MapArray`.
        rows: `(n,)` indices of its rows.

    Returns:
        For each entry of these rows its index among the map's keys, and which of `rows` it belongs to.
    """
    offsets = np.asarray(scores.offsets, np.int64) if len(scores) else np.zeros(1, np.int64)
    first, count = offsets[rows], offsets[rows + 1] - offsets[rows] if len(rows) else np.empty(0, np.int64)
    owner = np.repeat(np.arange(len(rows)), count)
    return np.arange(len(owner)) + np.repeat(first - np.cumsum(count) + count, count), owner
