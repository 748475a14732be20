"""Late fusion: what several members say of a video's action becomes one, and how often each of them is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.actions.probabilities import as_array, as_table, ids

TOGETHER = "together"
"""What the fusion is called beside the members."""
LEAST = 0.01
"""Probability that every action has at least by each member, so that none can rule out what the others see."""
USUAL = {"swin": 0.5, "trajectory": 0.5, "statistics": 1.5}
"""What a member's log probabilities count as long as no videos tell: trees are right more often than they say, networks
less often. After 48 training videos of six actions, fitted to 240 others, trees count 3.4, `trajectory` 0.4 to 0.6;
where boxes are poor, trees count less."""
CERTAINTY = 1.0
"""What a weight that is e times the usual one, or a share of 1/e of it, costs, in log loss of a video."""


def fitted_weights(members: Mapping[str, pa.Table], actions: pa.Table) -> pa.Table:
    """The weights under which the annotated actions are likeliest (least log loss), all of them positive.

    A member that is rightly surer than it says gets a weight above 1, one that is too sure or idle one near 0. Few
    videos hardly move the weights from the usual ones: those that fit ten videos best are as good as arbitrary.

    Args:
        members: `tables.VIDEO_ACTIONS` of the same held-out videos, by member.
        actions: `tables.ACTIONS` of those that are annotated; there may be none.

    Returns:
        `tables.ACTION_WEIGHTS`.
    """
    rows, usual = actions.to_pylist(), np.array([USUAL[name] for name in members])
    if not rows:
        return tables.conform({"member": list(members), "weight": usual}, tables.ACTION_WEIGHTS)
    from scipy.optimize import minimize

    names = _names(members)
    each = _logarithms(members, [row["video_id"] for row in rows], names)
    true = np.array([names.index(row["action"]) for row in rows])

    def loss(departure: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = usual * np.exp(departure)
        pooled = np.tensordot(weights, each, 1)
        pooled -= np.logaddexp.reduce(pooled, axis=1, keepdims=True)
        at = np.arange(len(true))
        slope = weights * ((np.exp(pooled) * each).sum(2) - each[:, at, true]).sum(1)
        cost = CERTAINTY * float(departure @ departure)
        return cost - float(pooled[at, true].sum()), slope + 2 * CERTAINTY * departure

    found = usual * np.exp(minimize(loss, np.zeros(len(members)), jac=True).x)
    return tables.conform({"member": list(members), "weight": found}, tables.ACTION_WEIGHTS)


def fuse(members: Mapping[str, pa.Table], weights: pa.Table | None = None) -> pa.Table:
    """Pool what members say: the mean of their log probabilities, or their weighted sum, made probabilities again.

    A logarithmic pool, as members differ in how sure they are: the mean of probabilities is mostly the surest one's.
    What a single member says stays as it is.

    Args:
        members: `tables.VIDEO_ACTIONS` of the same videos, by member.
        weights: `tables.ACTION_WEIGHTS`; None for the mean.

    Returns:
        `tables.VIDEO_ACTIONS`.
    """
    first, *others = members.values()
    if not others:
        return first
    videos, names = ids(first), _names(members)
    given = dict.fromkeys(members, 1 / len(members))
    given |= {row["member"]: row["weight"] for row in weights.to_pylist()} if weights else {}
    pooled = np.tensordot([given[name] for name in members], _logarithms(members, videos, names), 1)
    chances = np.exp(pooled - np.logaddexp.reduce(pooled, axis=1, keepdims=True))
    return as_table(videos, names, chances.tolist())


def _names(members: Mapping[str, pa.Table]) -> list[str]:
    """The actions that some member knows, in alphabetical order."""
    return sorted({name for said in members.values() for row in said.to_pylist() for name, _ in row["probabilities"]})


def _logarithms(members: Mapping[str, pa.Table], videos: list[str], names: list[str]) -> NDArray[np.float64]:
    """Log probabilities by each member of each action for each video, `(members, videos, actions)`."""
    each = [as_array(said, videos, names) for said in members.values()]
    return np.log(np.maximum(each, LEAST))


def accuracy(said: Mapping[str, pa.Table], actions: pa.Table, *, split: str) -> pa.Table:
    """How often each member, and all together, name the annotated action.

    Args:
        said: `tables.VIDEO_ACTIONS` by member, and by `TOGETHER`.
        actions: `tables.ACTIONS` of the videos that are annotated.
        split: The videos'.

    Returns:
        `tables.ACTION_ACCURACY`; empty if no video is annotated.
    """
    true = actions.select(["video_id", "action"]).to_pandas().astype(str).set_index("video_id")["action"]
    rows = []
    for member, table in said.items() if len(true) else ():
        named = table.select(["video_id", "action"]).to_pandas().astype(str).set_index("video_id")["action"]
        right = named.reindex(true.index) == true
        rows.append({"member": member, "split": split, "videos": len(true), "accuracy": float(right.mean())})
    columns = [field.name for field in tables.ACTION_ACCURACY]
    return tables.conform(pd.DataFrame(rows, columns=columns), tables.ACTION_ACCURACY)
