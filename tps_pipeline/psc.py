"""Part State Correctness (PSC), the metric of the Kinetics-TPS challenge.

The definition is the challenge's published evaluator (DeeperAction, 2021), whose rules are these:

- People of a frame: pairwise IoU in float32 on inclusive pixels, -1 for a pair that shares none. The matrix is padded
  with zeros to a square, the Hungarian algorithm minimises `1 - IoU`, and pairs with IoU > 0.5 are matched.
- A part of a matched person: if any of the N proposals for it has IoU >= 0.3 (float64) and the annotated state, it
  earns 1/N, once. Otherwise, and for the parts of unmatched people, it earns 0. Extra people and parts cost nothing.
- A frame: what its parts earn over how many are annotated, all people together.
- A video: the mean of its frames. A frame without people is dropped. A frame that the submission lacks counts 0. A
  frame with people but no parts is dropped if the submission has it. A video without a countable frame has PSC 1.
- The score: the sum over t = 1..9999 of 1e-4 times the share of videos with the right action and PSC >= t / 10000.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import boxes, tables
from tps_pipeline.parsing import Floats, Integers, Parsing, translate

PERSON_IOU = 0.5
"""A matched pair of people must overlap more than this (evaluator, official setting)."""

PART_IOU = 0.3
"""A part's proposal must overlap at least this much (evaluator, official setting)."""

_TRIALS = 720
"""So many assignments of a frame's people are tried one by one."""

_TIE = 1e-6
"""Sums of costs that are closer than this may be equal but for rounding."""

_DISJOINT = -1.0
_STEPS = 10_000

_BLOCK = 16_384
"""Parts overlapped at once: their temporaries stay in the processor's cache, and in the process once freed."""


def evaluate(
    truth: Parsing, parsed: Parsing, *, actions: pa.Table, video_actions: pa.Table, method: str, split: str
) -> pa.Table:
    """Evaluate one method's predictions of some videos.

    Args:
        truth: The annotations (`parsing.annotated`).
        parsed: The predictions (`parsing.predicted`).
        actions: `tables.ACTIONS` with every annotated video.
        video_actions: `tables.VIDEO_ACTIONS`; the action of a video that is not in it counts as wrong.
        method: Name of the method.
        split: Name of the split.

    Returns:
        `tables.PSC`, a row an annotated video.
    """
    psc = part_state_correctness(truth, parsed)
    action = dict(zip(actions["video_id"].to_pylist(), actions["action"].to_pylist(), strict=True))
    guess = dict(zip(video_actions["video_id"].to_pylist(), video_actions["action"].to_pylist(), strict=True))
    rows = {
        "video_id": list(psc),
        "method": [method] * len(psc),
        "split": [split] * len(psc),
        "action": [action[video] for video in psc],
        "psc": list(psc.values()),
        "action_correct": [guess.get(video) == action[video] for video in psc],
    }
    return tables.conform(rows, tables.PSC) if psc else tables.empty(tables.PSC)


def part_state_correctness(truth: Parsing, parsed: Parsing) -> dict[str, float]:
    """Compute the PSC of every annotated video.

    Args:
        truth: The annotations.
        parsed: The predictions; videos and frames that are not annotated are ignored.

    Returns:
        PSC in [0, 1] by video, in the order of `truth.videos`.
    """
    n_frames, n_videos = len(truth.frame), len(truth.videos)
    submitted = np.zeros(n_frames, dtype=bool)
    frame = parsed.frames_in(truth)
    submitted[frame[frame >= 0]] = True

    credit = part_credit(truth, parsed)
    counted = ~np.isnan(credit)
    part_frame = truth.person_frame[truth.part_person[counted]]
    n_people = np.bincount(truth.person_frame, minlength=n_frames)
    n_parts = np.bincount(part_frame, minlength=n_frames)
    # bincount adds row by row, as the evaluator does: the last digit decides a PSC that lies on one of the thresholds.
    earned = np.bincount(part_frame, weights=credit[counted], minlength=n_frames)
    correctness = earned / np.maximum(n_parts, 1)

    countable = (n_people > 0) & ((n_parts > 0) | ~submitted)
    video = truth.frame_video[countable]
    total = np.bincount(video, weights=correctness[countable], minlength=n_videos)
    n_countable = np.bincount(video, minlength=n_videos)
    psc = np.where(n_countable > 0, total / np.maximum(n_countable, 1), 1.0)
    return dict(zip(truth.videos, psc.tolist(), strict=True))


def part_credit(truth: Parsing, parsed: Parsing) -> Floats:
    """Compute what each annotated part earns.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        `(Q,)` for the rows of `truth`: 1/N where one of N proposals is right, else 0. A part with several states
        counts once: its further rows are NaN.
    """
    n_slots = len(truth.person_frame) * len(truth.parts)
    person, part = match_people(truth, parsed)[parsed.part_person], parsed.part_in(truth.parts)
    slot = np.where((person >= 0) & (part >= 0), person * len(truth.parts) + part, n_slots)  # the last slot is nobody's
    n_proposals = np.bincount(slot, minlength=n_slots + 1)
    state_in_truth = translate(parsed.states, truth.states)

    right = np.zeros(n_slots + 1, dtype=bool)
    credit = np.full(len(truth.part), np.nan)
    first = None
    for row_of in _alternatives(truth.part_person * len(truth.parts) + truth.part, n_slots + 1):
        first = row_of if first is None else first
        for start in range(0, len(slot), _BLOCK):
            block = slice(start, start + _BLOCK)
            row = row_of[slot[block]]
            same = np.flatnonzero((row >= 0) & (truth.state[row] == state_in_truth[parsed.state[block]]))
            truth_box, parsed_box = truth.part_box.take(row[same], axis=0), parsed.part_box[block].take(same, axis=0)
            overlap = boxes.paired_iou(truth_box, parsed_box, disjoint=_DISJOINT)
            right[slot[block][same[overlap >= PART_IOU]]] = True
    if first is not None:
        annotated = np.flatnonzero(first >= 0)
        credit[first[annotated]] = right[annotated] / np.maximum(n_proposals[annotated], 1)
    return credit


def credit_by_state(truth: Parsing, parsed: Parsing) -> pa.Table:
    """Break the credit down by part and annotated state.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        Columns `part`, `state`, `boxes` (how many are annotated) and `correctness` (their mean credit).
    """
    credit = part_credit(truth, parsed)
    counted = ~np.isnan(credit)
    label = (truth.part * len(truth.states) + truth.state)[counted]
    number = np.bincount(label)
    found = np.flatnonzero(number)
    part, state = np.divmod(found, max(len(truth.states), 1))
    return pa.table(
        {
            "part": pa.array([truth.parts[i] for i in part], pa.string()),
            "state": pa.array([truth.states[i] for i in state], pa.string()),
            "boxes": pa.array(number[found]),
            "correctness": pa.array(np.bincount(label, weights=credit[counted])[found] / number[found]),
        }
    )


def match_people(truth: Parsing, parsed: Parsing) -> Integers:
    """Match predicted people to annotated ones, frame by frame.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        For each predicted person the annotated one, or -1.
    """
    match = np.full(len(parsed.person_frame), -1)
    n_frames = len(truth.frame)
    frame_of = parsed.frames_in(truth)[parsed.person_frame]
    ours = np.argsort(frame_of, kind="stable")
    ours = ours[frame_of[ours] >= 0]
    theirs = np.argsort(truth.person_frame, kind="stable")
    n = np.bincount(truth.person_frame, minlength=n_frames)
    m = np.bincount(frame_of[ours], minlength=n_frames)
    their_start, our_start = np.cumsum(n) - n, np.cumsum(m) - m
    truth_box, parsed_box = truth.person_box.astype(np.float32), parsed.person_box.astype(np.float32)
    # Frames with the same numbers of people are overlapped and assigned together.
    shapes = np.unique((n * (m.max(initial=0) + 1) + m)[(n > 0) & (m > 0)])
    for rows, columns in zip(*np.divmod(shapes, m.max(initial=0) + 1), strict=True):
        frames = np.flatnonzero((n == rows) & (m == columns))
        truth_person = theirs[their_start[frames, None] + np.arange(rows)]
        parsed_person = ours[our_start[frames, None] + np.arange(columns)]
        iou = boxes.iou(truth_box[truth_person], parsed_box[parsed_person], disjoint=_DISJOINT)
        frame, row, column = np.nonzero(_assign(iou) & (iou > PERSON_IOU))
        match[parsed_person[frame, column]] = truth_person[frame, row]
    return match


def matched_parts(truth: Parsing, parsed: Parsing) -> tuple[Integers, Integers]:
    """Find the predicted parts that lie on the same part of the same person, whatever their states.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        Rows of `parsed`, ascending, and for each the row of `truth` (of several annotated states the first).
    """
    rows, annotated = parts_of_matched_people(truth, parsed)
    near = boxes.paired_iou(parsed.part_box[rows], truth.part_box[annotated]) >= PART_IOU
    return rows[near], annotated[near]


def parts_of_matched_people(truth: Parsing, parsed: Parsing) -> tuple[Integers, Integers]:
    """Find the predicted parts that are annotated of the same person, wherever they lie.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        As `matched_parts` does.
    """
    # The last row is that of nobody, the last column that of a part that is not annotated.
    row_of = np.full((len(truth.person_frame) + 1, len(truth.parts) + 1), -1)
    row_of[truth.part_person[::-1], truth.part[::-1]] = np.arange(len(truth.part))[::-1]
    annotated = row_of[match_people(truth, parsed)[parsed.part_person], parsed.part_in(truth.parts)]
    rows = np.flatnonzero(annotated >= 0)
    return rows, annotated[rows]


def macro_recall(truth: Parsing, parsed: Parsing) -> float | None:
    """Compute the mean over (part, state) pairs of the share of their matched parts that are given that state.

    A state that is rare counts as much as `none`. Of several proposals for a part the first that matches counts.

    Args:
        truth: The annotations.
        parsed: The predictions.

    Returns:
        The mean over the pairs that have a matched part (`matched_parts`); None if no part is matched.
    """
    rows, annotated = matched_parts(truth, parsed)
    annotated, first = np.unique(annotated, return_index=True)
    if not len(annotated):
        return None
    right = truth.state[annotated] == translate(parsed.states, truth.states)[parsed.state[rows[first]]]
    _, pair = np.unique(truth.part[annotated] * len(truth.states) + truth.state[annotated], return_inverse=True)
    return float(np.mean(np.bincount(pair, weights=right) / np.bincount(pair)))


def score(psc: NDArray[Any], correct: NDArray[Any]) -> float:
    """Compute the challenge's score.

    Args:
        psc: `(V,)` PSC of each video.
        correct: `(V,)` whether its predicted action is right.

    Returns:
        The area under the conditioned accuracy, at most 0.9999; 0 without videos.
    """
    # cumsum adds one by one, as the evaluator does; sum would add in pairs and differ in the last digits.
    return float(np.cumsum(_accuracy(psc, correct, np.arange(1, _STEPS) / _STEPS) / _STEPS)[-1])


def conditioned_accuracy(psc: NDArray[Any], correct: NDArray[Any]) -> dict[str, float]:
    """Compute the share of videos with the right action and at least a given PSC.

    Args:
        psc: `(V,)` PSC of each video.
        correct: `(V,)` whether its predicted action is right.

    Returns:
        The share by threshold, `"0.0"`, `"0.1"`, ... `"0.9"`.
    """
    thresholds = np.arange(10) / 10
    shares = _accuracy(psc, correct, thresholds)
    return {f"{threshold:.1f}": float(share) for threshold, share in zip(thresholds, shares, strict=True)}


def _accuracy(psc: NDArray[Any], correct: NDArray[Any], thresholds: Floats) -> Floats:
    psc, correct = np.asarray(psc, dtype=np.float64), np.asarray(correct, dtype=bool)
    passing = np.sort(psc[correct])
    return (len(passing) - np.searchsorted(passing, thresholds, side="left")) / max(len(psc), 1)


def _alternatives(slot: Integers, n_slots: int) -> Iterator[Integers]:
    """Yield, for each slot, its first row (or -1), then its second, until every row was given once."""
    rows = np.arange(len(slot))
    while rows.size:
        row_of = np.full(n_slots, -1)
        row_of[slot[rows[::-1]]] = rows[::-1]
        yield row_of
        rows = rows[row_of[slot[rows]] != rows]


def _assign(iou: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark the pairs that the Hungarian algorithm chooses in each frame of `(F, n, m)` overlaps.

    Pairs that cannot exceed `PERSON_IOU` may be left unmarked.
    """
    _, n, m = iou.shape
    # The evaluator's matrix is float32 when square and float64 once padded; rounding decides ties.
    cost = 1 - (iou if n == m else iou.astype(np.float64))
    if n <= m:
        assigned, clear = _assign_undisputed(cost)
    else:
        assigned, clear = _assign_undisputed(cost.swapaxes(1, 2))
        assigned = assigned.swapaxes(1, 2)
    disputed = np.flatnonzero(~clear)
    assigned[disputed], clear = _assign_by_trying(cost[disputed])
    size = max(n, m)
    for frame in disputed[~clear]:
        from scipy.optimize import linear_sum_assignment  # half a second, which few evaluations need

        padded = np.ones((size, size), dtype=cost.dtype)
        padded[:n, :m] = cost[frame]
        chosen = np.zeros((size, size), dtype=bool)
        chosen[linear_sum_assignment(padded)] = True
        assigned[frame] = chosen[:n, :m]
    return assigned


def _assign_undisputed(cost: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Assign `(F, n, m)` costs, n <= m, where the best assignment needs no search.

    If everybody has one best partner and no two the same, that is the only optimum. Somebody who has at least n equally
    good partners (in practice: overlaps nobody) finds one left over whatever the others take; which one does not matter
    below `PERSON_IOU`.

    Returns:
        The assigned pairs, and `(F,)` for which frames they are valid.
    """
    n = cost.shape[1]
    lowest = cost.min(axis=2)
    ties = (cost == lowest[..., None]).sum(axis=2)
    indifferent = (ties > 1) & (ties >= n) & (lowest >= 1 - PERSON_IOU)
    best = cost.argmin(axis=2)
    distinct = np.sort(np.where(indifferent, -1 - np.arange(n), best), axis=1)
    clear = ((ties == 1) | indifferent).all(axis=1) & (np.diff(distinct, axis=1) != 0).all(axis=1)
    assigned = np.zeros(cost.shape, dtype=bool)
    np.put_along_axis(assigned, best[..., None], ~indifferent[..., None], axis=2)
    return assigned, clear


def _assign_by_trying(cost: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Assign `(F, n, m)` costs by trying every assignment, if they are few and the best one is beyond doubt.

    That is where all assignments within `_TIE` of the best agree on the pairs that may exceed `PERSON_IOU`.

    Returns:
        The assigned pairs that may exceed `PERSON_IOU`, and `(F,)` for which frames they are valid.
    """
    frames, n, m = cost.shape
    if n > m:
        assigned, clear = _assign_by_trying(cost.swapaxes(1, 2))
        return assigned.swapaxes(1, 2), clear
    assigned = np.zeros(cost.shape, dtype=bool)
    if not frames or math.perm(m, n) > _TRIALS:
        return assigned, np.zeros(frames, dtype=bool)
    trials = np.array([*itertools.permutations(range(m), n)])
    pairs = cost.astype(np.float64)[:, np.arange(n), trials]  # (F, T, n)
    near = pairs < 1 - PERSON_IOU + _TIE
    total = pairs.sum(axis=2)
    best = total.argmin(axis=1)
    frame = np.arange(frames)
    kept = near[frame, best]
    # Which pairs an assignment has, of those that are near, as one number: n x m is at most that of `_TRIALS`.
    which = (near * (1 << (np.arange(n) * m + trials))).sum(axis=2)
    tied = total <= total[frame, best][:, None] + _TIE
    clear = ((which == which[frame, best][:, None]) | ~tied).all(axis=1)
    assigned[frame[:, None], np.arange(n), trials[best]] = kept
    return assigned, clear
