"""The choice by category: every video from the method that is best in its action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import tables


def method_by_category(
    scored: pa.Table, candidates: Sequence[str], *, split: str, min_videos: int = 5, shrink: bool = False
) -> pa.Table:
    """Find the method that is best in each action.

    Args:
        scored: `tables.PSC` of the candidates; an action is a video's true one.
        candidates: What is chosen from. Of candidates with equal PSC in an action the one that is better over all
            videos is chosen, and of those that are equal there, too, the earlier one.
        split: The split whose videos count.
        min_videos: An action with fewer videos gets the candidate that is best over all videos.
        shrink: So does an action in which the mean gain of its best over that one is not above its standard error.

    Returns:
        `tables.METHOD_BY_CATEGORY`. Gains are measured on the very videos that the choice is made on, and so too
        high by what is chance in it.
    """
    rows = scored.to_pandas().astype({"method": str, "action": str, "video_id": str})
    rows = rows[(rows.split == split) & rows.method.isin(candidates)]
    of_video = rows.pivot(index=["action", "video_id"], columns="method", values="psc").reindex(columns=[*candidates])
    of_video = of_video[of_video.mean().sort_values(ascending=False, kind="stable").index]
    made = []
    for action, videos in of_video.groupby("action"):
        means = videos.mean()
        chosen = means.idxmax() if len(videos) >= min_videos else of_video.columns[0]
        gains = videos[chosen] - videos[of_video.columns[0]]
        if shrink and not float(gains.mean()) > float(gains.sem()):
            chosen, gains = of_video.columns[0], gains * 0
        for method in candidates:
            row = {"action": action, "method": method, "split": split, "n_videos": len(videos), "psc": means[method]}
            of_chosen = {"chosen": True, "gain": gains.mean(), "gain_error": gains.sem()}
            made.append(row | (of_chosen if method == chosen else {"chosen": False, "gain": None, "gain_error": None}))
    columns = pd.DataFrame(made, columns=tables.METHOD_BY_CATEGORY.names)
    return tables.conform(columns.astype({"gain": float, "gain_error": float}), tables.METHOD_BY_CATEGORY)


def gain(choice: pa.Table) -> dict[str, float]:
    """Sum up what the choice by category gains.

    Args:
        choice: `tables.METHOD_BY_CATEGORY`.

    Returns:
        `gain`, the mean gain of a video in PSC over the candidate that is best over all videos, and `gain_error`,
        its standard error (actions with a single video add nothing to it); nothing without videos.
    """
    rows = choice.to_pandas().query("chosen")
    if rows.empty:
        return {}
    share = rows.n_videos / rows.n_videos.sum()
    return {
        "gain": float((share * rows.gain).sum()),
        "gain_error": float(np.sqrt(((share * rows.gain_error) ** 2).sum())),
    }


def by_category(predictions: Mapping[str, pa.Table], video_actions: pa.Table, choice: pa.Table) -> pa.Table:
    """Take every video from the method that is best in the action predicted for it.

    Args:
        predictions: `tables.PREDICTIONS` of each candidate.
        video_actions: `tables.VIDEO_ACTIONS` of the same videos.
        choice: `tables.METHOD_BY_CATEGORY`. A video of an action that it lacks is taken from the candidate that is
            best over all its videos; if it has none, from the first in `predictions`.

    Returns:
        `tables.PREDICTIONS`.
    """
    rows = choice.to_pandas().astype({"action": str, "method": str})
    overall = (rows.psc * rows.n_videos).groupby(rows.method).sum().reindex([*predictions])
    method_of = dict(rows.loc[rows.chosen, ["action", "method"]].itertuples(index=False))
    default = overall.idxmax() if len(rows) else next(iter(predictions))
    actions = video_actions.select(["video_id", "action"]).to_pandas().astype(str)
    methods = np.array([method_of.get(action, default) for action in actions.action], object)
    taken = [
        table.filter(pa.array(table["video_id"].to_pandas().isin(actions.video_id[methods == name])))
        for name, table in predictions.items()
    ]
    return tables.conform(pa.concat_tables(taken), tables.PREDICTIONS)
