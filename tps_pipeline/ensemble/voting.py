"""The vote: the state that most methods give a part of the best method's people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline.ensemble.evidence import Voters, likelihoods
from tps_pipeline.ensemble.states import Scores, with_likeliest, with_states
from tps_pipeline.parsing import Floats, Integers, translate

NO_VOTE = -1
"""In place of a state where a method has no vote."""


def voting(
    predictions: Mapping[str, pa.Table],
    ranking: pa.Table,
    *,
    iou: float = 0.8,
    weigh_by: Literal["psc", "state_score", "log_odds"] | None = None,
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
            the paper. By `log_odds` methods vote on every state: the one with the highest mean log-odds wins.

    Returns:
        `tables.PREDICTIONS`: the best method's rows. `state_scores` holds each state's share of the votes on the
        part, the largest first (by `log_odds` the likeliest states' probabilities); `state_score` is the winner's.
    """
    names: list[str] = [row["method"] for row in ranking.select(["method"]).to_pylist()]
    voters = Voters.of(predictions, names, iou)
    if weigh_by == "log_odds":
        return with_likeliest(predictions[names[0]], _by_log_odds(voters))
    states, votes = _votes(voters)
    match weigh_by:
        case "psc":
            weights = np.nan_to_num(ranking["mean_psc"].to_numpy(), nan=1.0)[:, None]
        case "state_score":
            of_state = [np.append(predictions[name]["state_score"].to_numpy(), 0.0) for name in names]
            weights = np.stack([scores[at] for scores, at in zip(of_state, voters.rows, strict=True)], dtype=np.float64)
        case None:
            weights = np.ones((len(names), 1), np.int16)
    counted = _count(votes, weights)
    return with_states(predictions[names[0]], counted.start, counted.state, counted.share, states)


def _votes(voters: Voters) -> tuple[list[str], NDArray[np.int16]]:
    """The states that there are, and for each method and part the one that it votes for, or `NO_VOTE`."""
    states = sorted({state for parsed in voters.parsed for state in parsed.states})
    votes = [
        np.append(translate(parsed.states, states)[parsed.state], NO_VOTE)[at].astype(np.int16)
        for parsed, at in zip(voters.parsed, voters.rows, strict=True)
    ]
    return states, np.stack(votes)


def _by_log_odds(voters: Voters) -> Iterator[Scores]:
    """Each part's states by their mean log-odds, of the methods that know of the part."""
    for place in range(len(voters.people.parts)):
        at = np.flatnonzero(voters.people.part == place)
        if states := voters.states(at):
            said = voters.log_odds(at, states)
            voting = (said != 0).any(axis=2).sum(axis=0).clip(1)
            yield at, states, np.exp(likelihoods(said.sum(axis=0) / voting[:, None]))


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
