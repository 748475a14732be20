"""The stack: the best method's people in the states that all methods and the video's action make likeliest together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from tps_pipeline.ensemble import conditional_logit, stacking
from tps_pipeline.ensemble.evidence import Evidence, Voters, likelihoods
from tps_pipeline.ensemble.stacking import ACTION, LOG_ODDS, Stacking, fold_of
from tps_pipeline.ensemble.states import Scores, with_likeliest
from tps_pipeline.labels import parts_of, without_side
from tps_pipeline.parsing import Floats, Parsing

EVERY_VIDEO = -1
"""In the place of a fold: what was learned from all videos."""


def fit(
    predictions: Mapping[str, pa.Table],
    ranking: pa.Table,
    video_actions: pa.Table,
    counts: pa.Table,
    truth: Parsing,
    *,
    iou: float = 0.8,
    split: str,
) -> Stacking:
    """Learn how much each method's word counts.

    Args:
        predictions: `tables.PREDICTIONS` of each method on annotated videos that no method was fitted to, in any order.
        ranking: `tables.RANKING` of them.
        video_actions: `tables.VIDEO_ACTIONS` of the videos.
        counts: `tables.STATE_COUNTS` of the training videos.
        truth: The videos' annotations.
        iou: The overlap that the same person's boxes exceed, as in `voting`.
        split: The videos' split.
    """
    names = _names(ranking)
    evidence = Evidence.of(Voters.of(predictions, names, iou), video_actions, counts)
    with threadpool_limits(1, user_api="blas"):  # arrays so small make BLAS wait for its threads, not compute
        lessons, parts = stacking.lessons(evidence, truth), parts_of(evidence.of_part)
        return stacking.learn(lessons, evidence.states, names, parts=parts, split=split)


def stacked(
    predictions: Mapping[str, pa.Table],
    ranking: pa.Table,
    video_actions: pa.Table,
    counts: pa.Table,
    weights: pa.Table,
    *,
    iou: float = 0.8,
    learned_from: bool = False,
) -> pa.Table:
    """Give each part of the best method's people its likeliest state.

    Args:
        predictions: `tables.PREDICTIONS` of each method, in any order.
        ranking: `tables.RANKING` of them.
        video_actions: `tables.VIDEO_ACTIONS` of the videos.
        counts: `tables.STATE_COUNTS` of the training videos.
        weights: `tables.STACKING`.
        iou: The overlap that the same person's boxes exceed, as in `voting`.
        learned_from: The weights were fitted to these videos: each is taken by those fitted without its fold.

    Returns:
        `tables.PREDICTIONS`: the best method's rows. `state_scores` holds the likeliest states' probabilities; a part
        that no member with a weight knows of keeps the best method's states.
    """
    names = _names(ranking)
    evidence = Evidence.of(Voters.of(predictions, names, iou), video_actions, counts)
    return with_likeliest(predictions[names[0]], _scored(evidence, weights, names, learned_from=learned_from))


def _scored(evidence: Evidence, weights: pa.Table, methods: Sequence[str], *, learned_from: bool) -> Iterator[Scores]:
    """The probabilities of the states of all parts that something is known of, a part and a fold at a time."""
    people = evidence.voters.people
    rows = weights.to_pandas().astype({"part": str, "member": object, "feature": str})
    rows["fold"] = rows["fold"].fillna(EVERY_VIDEO).astype(int)
    held_out = set(rows["fold"]) if learned_from else set()
    fold = np.array([f if (f := fold_of(video)) in held_out else EVERY_VIDEO for video in people.videos], np.int64)
    of_part = fold[evidence.video(np.arange(len(people.part)))]
    learned = dict(iter(rows.groupby(["fold", "part"])))
    for place, part in enumerate(people.parts):
        kind = without_side(part)
        for number in np.unique(of_part[people.part == place]).tolist():
            if (number, part) in learned and part in evidence.of_part:
                at = np.flatnonzero((people.part == place) & (of_part == number))
                features, states, own = evidence.on(at, kind), evidence.states[kind], evidence.of_part[part]
                weight, bias = _learned(learned[number, part], [*methods, ACTION], states)
                heard = (features[weight != 0] != 0).any(axis=(0, 2))
                logits = conditional_logit.logits(features[:, heard], weight, bias)
                yield at[heard], [*compress(states, own)], np.exp(likelihoods(logits[:, own]))


def _learned(rows: pd.DataFrame, members: Sequence[str], states: Sequence[str]) -> tuple[Floats, Floats]:
    """The members' weights, `(members,)`, and the states' biases, `(S,)`, of one part."""
    of_members = rows[rows["feature"] == LOG_ODDS].set_index("member")["weight"].reindex([*members]).fillna(0.0)
    of_states = rows[rows["member"].isna()].set_index("feature")["weight"].reindex([*states]).fillna(0.0)
    return of_members.to_numpy(np.float64), of_states.to_numpy(np.float64)


def _names(ranking: pa.Table) -> list[str]:
    return [row["method"] for row in ranking.select(["method"]).to_pylist()]
