"""Ensembles: the state that most methods give a part, and the method that is best in a video's action."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import psc, tables
from tps_pipeline.boxes import paired_iou
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import Floats, Integers, Parsing, predicted, translate

NO_VOTE = -1
"""In place of a state where a method has no vote."""


def ranking(scored: pa.Table, methods: Sequence[str], *, split: str) -> pa.Table:
    """Order methods by the challenge's score.

    Args:
        scored: `tables.PSC` of the methods.
        methods: Who is ranked; of methods with equal scores the earlier one is better.
        split: The split whose videos count.

    Returns:
        `tables.RANKING`; without a scored video the methods as they were given.
    """
    rows = scored.to_pandas().astype({"method": str})
    videos = dict(iter(rows[rows.split == split].groupby("method")))
    ranked = [{"method": name, "split": split, "videos": 0, "score": np.nan, "mean_psc": np.nan} for name in methods]
    for row in ranked:
        if row["method"] in videos:
            of_method = videos[row["method"]]
            score = psc.score(of_method.psc.to_numpy(), of_method.action_correct.to_numpy())
            row.update(videos=len(of_method), score=score, mean_psc=float(of_method.psc.mean()))
    columns = pd.DataFrame(ranked, columns=tables.RANKING.names)
    return tables.conform(columns.sort_values("score", ascending=False, kind="stable"), tables.RANKING)


def voting(
    predictions: Mapping[str, pa.Table],
    ranking: pa.Table,
    *,
    iou: float = 0.8,
    weigh_by: Literal["psc", "state_score"] | None = None,
) -> pa.Table:
    """Give each part of the best method's people the state that most methods give it.

    Every method has one vote on a part: the state that it gives the part of the same person, if it has both. In each
    frame, people of the best and of another method are the same person if their boxes overlap enough, the pair that
    overlaps most first, and each person in one pair only (of pairs that overlap equally, the one of the best method's
    first person, then of the other's). Of states with equal votes that of the better method wins.

    Args:
        predictions: `tables.PREDICTIONS` of each method, in any order.
        ranking: `tables.RANKING` of them.
        iou: The overlap that the same person's boxes exceed (paper: 0.8).
        weigh_by: What a vote counts: its method's mean PSC in the ranking, or its state's score; by default one, as in
            the paper.

    Returns:
        `tables.PREDICTIONS`: the best method's rows. `state_scores` holds each state's share of the votes on the
        part, the largest first; `state_score` is the winner's.
    """
    names: list[str] = [row["method"] for row in ranking.select(["method"]).to_pylist()]
    best = predictions[names[0]]
    people, *others = (predicted(predictions[name], predictions[name]) for name in names)
    states = sorted(set(people.states).union(*(other.states for other in others)))
    rows = [np.arange(len(people.part))] + [_same_parts(people, other, iou) for other in others]
    votes = np.stack([
        np.append(translate(voter.states, states)[voter.state], NO_VOTE)[at].astype(np.int16)
        for voter, at in zip([people, *others], rows, strict=True)
    ])  # fmt: skip
    match weigh_by:
        case "psc":
            weights = np.nan_to_num(ranking["mean_psc"].to_numpy(), nan=1.0)[:, None]
        case "state_score":
            of_state = [np.append(predictions[name]["state_score"].to_numpy(), 0.0) for name in names]
            weights = np.stack([scores[at] for scores, at in zip(of_state, rows, strict=True)], dtype=np.float64)
        case None:
            weights = np.ones((len(names), 1), np.int16)
    return _with_states(best, _count(votes, weights), states)


def method_by_category(scored: pa.Table, candidates: Sequence[str], *, split: str, min_videos: int = 5) -> pa.Table:
    """Find the method that is best in each action.

    Args:
        scored: `tables.PSC` of the candidates; an action is a video's true one.
        candidates: What is chosen from. Of candidates with equal PSC in an action the one that is better over all
            videos is chosen, and of those that are equal there, too, the earlier one.
        split: The split whose videos count.
        min_videos: An action with fewer videos gets the candidate that is best over all videos.

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


def _same_parts(people: Parsing, others: Parsing, iou: float) -> Integers:
    """For each part of some people the same person's same part among others' parts, or -1.

    Of several proposals of a part the first is taken.
    """
    partner = _same_people(people, others, iou)
    row = np.full((len(others.person_box) + 1, len(PARTS)), -1)  # the last row is that of nobody
    row[others.part_person[::-1], others.part[::-1]] = np.arange(len(others.part))[::-1]
    return row[partner[people.part_person], people.part]


def _same_people(people: Parsing, others: Parsing, iou: float) -> Integers:
    """For each person the same one among others, or -1; see `voting`."""
    frame = people.frames_in(others)[people.person_frame]
    shared = np.flatnonzero(frame >= 0)
    people_in_frame = np.bincount(others.person_frame, minlength=len(others.frame))
    first, count = (np.cumsum(people_in_frame) - people_in_frame)[frame[shared]], people_in_frame[frame[shared]]
    person = np.repeat(shared, count)
    candidate = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(person))
    overlap = paired_iou(people.person_box[person], others.person_box[candidate])
    close = overlap > iou
    return _pair_off(person[close], candidate[close], overlap[close], len(people.person_box), len(others.person_box))


def _pair_off(person: Integers, candidate: Integers, overlap: Floats, n_people: int, n_candidates: int) -> Integers:
    """Make pairs one after the other, the highest overlap first: for each of the people a partner, or -1."""
    partner, taken = np.full(n_people, -1), np.zeros(n_candidates, bool)
    order = np.lexsort((candidate, person, -overlap))
    person, candidate = person[order], candidate[order]
    while len(person):  # all pairs at once that are the first of both of theirs; hardly ever are any left
        agreed = _firsts(person, n_people) & _firsts(candidate, n_candidates)
        partner[person[agreed]] = candidate[agreed]
        taken[candidate[agreed]] = True
        free = (partner[person] < 0) & ~taken[candidate]
        person, candidate = person[free], candidate[free]
    return partner


def _firsts(values: Integers, size: int) -> NDArray[np.bool_]:
    """Which values are the first of their kind, of values below `size`."""
    at = np.empty(size, np.int64)
    at[values[::-1]] = np.arange(len(values))[::-1]
    return at[values] == np.arange(len(values))


@dataclass(frozen=True)
class _Count:
    """The states that have votes, row after row, the one with the most votes first.

    Attributes:
        start: `(rows + 1,)` where each row's states start.
        state: `(start[-1],)`.
        share: `(start[-1],)` of the row's votes.
    """

    start: Integers
    state: Integers
    share: Floats


def _count(votes: NDArray[np.int16], weights: NDArray[Any]) -> _Count:
    """Count votes.

    Args:
        votes: `(methods, rows)` index of a state, or `NO_VOTE`; the best method first, which always votes.
        weights: `(methods, rows)` or `(methods, 1)` what a vote counts.
    """
    weights = np.broadcast_to(weights, votes.shape)
    total, first = weights.copy(), votes != NO_VOTE
    cast = (weights * first).sum(axis=0)
    pairs = list(itertools.combinations(range(len(votes)), 2))
    for i, j in pairs:  # a state's votes go to the best of the methods that name it
        same = votes[i] == votes[j]
        total[i] += weights[j] * same
        first[j] &= ~same
    total[~first] = -1
    place = np.zeros(votes.shape, np.int16)
    for i, j in pairs:
        ahead = total[i] >= total[j]
        place[j] += ahead
        place[i] += ~ahead
    start = np.concatenate([[0], np.cumsum(first.sum(axis=0))])
    state, share = np.empty(start[-1], np.int64), np.empty(start[-1])
    for voted, sum_, at, named in zip(votes, total, place, first, strict=True):
        entry = (start[:-1] + at)[named]
        state[entry] = voted[named]
        share[entry] = np.divide(sum_, cast, out=np.zeros(len(cast)), where=cast > 0)[named]
    return _Count(start, state, share)


def _with_states(rows: pa.Table, counted: _Count, states: list[str]) -> pa.Table:
    """Rows of `tables.PREDICTIONS` with the states that were voted for."""
    names, shares = pa.array(states, pa.string()), pa.array(counted.share, tables.SCORE)
    voted, winner = names.take(pa.array(counted.state, pa.int64())), pa.array(counted.start[:-1], pa.int64())
    offsets: Any = pa.array(counted.start, pa.int32())  # a map has 32 bits; the stubs say 64
    given: dict[str, Any] = {
        "state": voted.take(winner).dictionary_encode(),
        "state_score": shares.take(winner),
        "state_scores": pa.MapArray.from_arrays(offsets, voted, shares),
    }
    kept: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    return pa.table(kept | given).cast(tables.PREDICTIONS)
