"""The stack: the best method's people in the states that all methods and the video's action make likeliest together.

Their boxes are the best method's, or those of several (`fused_boxes.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from tps_pipeline import tables
from tps_pipeline.ensemble import conditional_logit, fused_boxes, stacking
from tps_pipeline.ensemble.evidence import Evidence, Voters, likelihoods
from tps_pipeline.ensemble.fused_boxes import BOXES, with_fused
from tps_pipeline.ensemble.stacking import ACTION, LOG_ODDS, Stacking, fold_of
from tps_pipeline.ensemble.states import Scores, with_likeliest
from tps_pipeline.labels import parts_of, without_side
from tps_pipeline.parsing import Floats, Integers, Parsing

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
    fuse: Collection[str] = (),
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
        fuse: Methods that have boxes of their own, which are to be fused with the others'; none keeps the best's.
    """
    names = _names(ranking)
    evidence = Evidence.of(Voters.of(predictions, names, iou), video_actions, counts)
    with threadpool_limits(1, user_api="blas"):  # arrays so small make BLAS wait for its threads, not compute
        lessons, parts = stacking.lessons(evidence, truth), parts_of(evidence.of_part)
        learned = stacking.learn(lessons, evidence.states, names, parts=parts, split=split)
    if not fuse:
        return learned
    of_boxes = pd.DataFrame(fused_boxes.learn(evidence.voters, names, fuse, truth), columns=tables.STACKING.names)
    weights = pd.concat([learned.weights.to_pandas(), of_boxes.astype({"fold": "Int16"})])
    return replace(learned, weights=tables.conform(weights.astype({"fold": "Int16"}), tables.STACKING))


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
        `tables.PREDICTIONS`: the best method's rows, with other boxes if the weights say so. `state_scores` holds the
        likeliest states' probabilities; a part that no member with a weight knows of keeps the best method's states.
    """
    names = _names(ranking)
    evidence = Evidence.of(Voters.of(predictions, names, iou), video_actions, counts)
    rows = weights.to_pandas().astype({"part": str, "member": object, "feature": str})
    rows["fold"] = rows["fold"].fillna(EVERY_VIDEO).astype(int)
    of_boxes, of_states = (rows[chosen] for chosen in (rows["feature"] == BOXES, rows["feature"] != BOXES))
    for_states, for_boxes = (_folds(evidence, each, learned_from=learned_from) for each in (of_states, of_boxes))
    given = with_likeliest(predictions[names[0]], _scored(evidence, of_states, names, for_states))
    return with_fused(given, evidence.voters, names, of_boxes, for_boxes)


def _folds(evidence: Evidence, weights: pd.DataFrame, *, learned_from: bool) -> Integers:
    """For each video the fold that it was held out with from some weights, or `EVERY_VIDEO`."""
    held_out = set(weights["fold"]) if learned_from else set()
    folds = [fold if (fold := fold_of(video)) in held_out else EVERY_VIDEO for video in evidence.voters.people.videos]
    return np.array(folds, np.int64)


def _scored(evidence: Evidence, weights: pd.DataFrame, methods: Sequence[str], folds: Integers) -> Iterator[Scores]:
    """The probabilities of the states of all parts that something is known of, a part and a fold at a time."""
    people = evidence.voters.people
    of_part = folds[evidence.video(np.arange(len(people.part)))]
    learned = dict(iter(weights.groupby(["fold", "part"])))
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
