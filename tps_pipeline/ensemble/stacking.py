"""What the stack learns: which members count, how much on each part, and whether they gain over the best method.

Members are the methods and the video's action. Those that count are found by forward selection with replacement
(Caruana et al., 2004): one after the other joins with whom the members' mean log-odds are likeliest. One who says
nothing can join, too: a method that is too sure is calmed by that, and not by another's opinion. The regression begins
with their shares in that and departs from them as far as the videos bear out. This is done on all videos, and
without each fold of them: the folds say how strong the penalty is to be, whether there is a gain, and what the stack
makes of videos that it has learned from. How what is learned is used stands in `stacked.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.ensemble import conditional_logit
from tps_pipeline.ensemble.evidence import Evidence, likelihoods
from tps_pipeline.labels import PARTS, without_side
from tps_pipeline.parsing import Floats, Integers, Parsing
from tps_pipeline.psc import matched_parts

ACTION = "video's action"
"""The member that is no method, and what it is called beside them."""

LOG_ODDS = "log_odds"
"""The feature that a member's weight is of; that of a bias is the state."""

FOLDS = 8
"""A video is held out with an eighth of them."""

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Penalties that are tried."""

STEPS = (1.0, 0.75, 0.5)
"""How far the stack is gone towards, from the best method alone: where few videos tell, half-way is safer."""

PICKS = 20
"""So often a member is picked; the first so many picks count that are likeliest together."""


@dataclass(frozen=True)
class Lesson:
    """Annotated parts of a kind: what the members say of them, and what is true.

    Attributes:
        features: `(members, n, S)` log-odds.
        labels: `(n,)` true states; -1 where training videos have no such state.
        fold: `(n,)` the folds of their videos.
    """

    features: Floats
    labels: Integers
    fold: Integers

    def among(self, rows: Integers) -> Lesson:
        """Some of the parts."""
        return Lesson(self.features[:, rows], self.labels[rows], self.fold[rows])


@dataclass(frozen=True)
class Fit:
    """What is learned of each kind of part.

    Attributes:
        weights: The members', `(members,)`.
        biases: The states', `(S,)`.
    """

    weights: dict[str, Floats]
    biases: dict[str, Floats]

    def towards(self, step: float, single: int) -> Fit:
        """The fit between a method alone (0) and this (1)."""
        alone = np.eye(len(next(iter(self.weights.values()))))[single] if self.weights else 0.0
        weights = {kind: step * each + (1 - step) * alone for kind, each in self.weights.items()}
        return Fit(weights, {kind: step * each for kind, each in self.biases.items()})


@dataclass(frozen=True)
class Stacking:
    """What the stack has learned.

    Attributes:
        weights: `tables.STACKING`.
        members: `tables.STACKING_MEMBERS`.
        gain: `tables.STACKING_GAIN`.
    """

    weights: pa.Table
    members: pa.Table
    gain: pa.Table


Lessons = Mapping[str, Lesson]
"""By kind of part."""


def fold_of(video: str) -> int:
    """The fold that a video is held out with: told by its name, whatever other videos there are."""
    return zlib.crc32(video.encode()) % FOLDS


def lessons(evidence: Evidence, truth: Parsing) -> Lessons:
    """The best method's parts that lie on the same part of an annotated person, with the (first) annotated state.

    Args:
        evidence: What the members say.
        truth: The annotations.
    """
    people = evidence.voters.people
    rows, annotated = matched_parts(truth, people)
    kinds = np.array([*map(without_side, people.parts)])[people.part[rows]]
    folds = np.array([fold_of(name) for name in people.videos], np.int64)
    found: dict[str, Lesson] = {}
    for kind, states in evidence.states.items():
        at, truly = rows[kinds == kind], truth.state[annotated[kinds == kind]]
        label = np.array([states.index(name) if name in states else -1 for name in truth.states], np.int64)
        found[kind] = Lesson(evidence.on(at, kind), label[truly], folds[evidence.video(at)])
    return found


def learn(
    lessons: Lessons,
    states: Mapping[str, Sequence[str]],
    methods: Sequence[str],
    *,
    parts: Sequence[str] = PARTS,
    split: str,
) -> Stacking:
    """Learn from annotated videos.

    Args:
        lessons: Their parts.
        states: The states of each kind of part.
        methods: The members but for the last, which is the action; the best first.
        parts: All parts that there are.
        split: The videos' split.

    Returns:
        What was learned: with the penalty, and as far from the best single method, as makes the states of videos held
        out likeliest among those that make more of them right than that method does. If none does, or there is one
        method only, the best single method is all that counts.
    """
    named, boxes = [*methods, ACTION], sum(len(lesson.labels) for lesson in lessons.values())
    shares = _share(*pick(lessons), len(named))
    of_methods = [_right(lessons, [place]) for place in range(len(methods))]
    single = int(np.argmax(of_methods))
    held_out = _without_folds(lessons, len(named), STRENGTHS)
    tried = {choice: _judge(lessons, held_out, choice, single) for choice in product(STRENGTHS, STEPS)}
    gaining = [choice for choice, (right, _) in tried.items() if right > of_methods[single] and len(methods) > 1]
    gain = {"split": split, "parts": boxes, "method": methods[single], "used": bool(gaining)}
    gain |= {"right_of_method": of_methods[single] / max(1, boxes)}
    fits: dict[int | None, Fit]
    if gaining:
        strength, step = best = min(gaining, key=lambda choice: tried[choice][1])
        everything = _fit(lessons, shares, strength)
        fits = {None: everything} | {fold: of_fold[strength] for fold, of_fold in held_out.items()}
        fits = {fold: fit.towards(step, single) for fold, fit in fits.items()}
        gain |= {"right": tried[best][0] / boxes, "strength": strength, "step": step}
    else:
        strength = min(STRENGTHS, key=lambda each: tried[each, 1.0][1])
        none = {kind: np.zeros(len(named)) for kind in states}
        fits = {None: Fit(none, {kind: np.zeros(len(of)) for kind, of in states.items()}).towards(0, single)}
        gain |= {"right": gain["right_of_method"], "strength": None, "step": 0.0}
    weights = pd.DataFrame(_rows(fits, states, named, parts), columns=tables.STACKING.names)
    return Stacking(
        weights=tables.conform(weights.astype({"fold": "Int16"}), tables.STACKING),
        members=_members(lessons, shares, named, strength, tried[strength, 1.0]),
        gain=tables.conform(pd.DataFrame([gain]).astype({"strength": float}), tables.STACKING_GAIN),
    )


def pick(lessons: Lessons) -> tuple[list[int], list[float]]:
    """Pick members one after the other, each time the one with whom the mean log-odds are likeliest.

    Returns:
        The picks, of which one that comes after all members says nothing, and after each the loss: the mean of minus
        the log-probability of the true state.
    """
    known = [lesson.among(np.flatnonzero(lesson.labels >= 0)) for lesson in lessons.values()]
    parts = max(1, sum(len(lesson.labels) for lesson in known))
    totals = [np.zeros(lesson.features.shape[1:]) for lesson in known]
    said = [[*lesson.features, np.zeros_like(total)] for lesson, total in zip(known, totals, strict=True)]
    picks: list[int] = []
    losses: list[float] = []
    for place in range(1, PICKS + 1):
        loss = np.sum(
            [
                [_loss((total + feature) / place, lesson.labels) for feature in features]
                for total, features, lesson in zip(totals, said, known, strict=True)
            ],
            axis=0,
        )
        picks.append(int(np.argmin(loss)))
        losses.append(float(np.min(loss)) / parts)
        totals = [total + features[picks[-1]] for total, features in zip(totals, said, strict=True)]
    return picks, losses


def _share(picks: Sequence[int], losses: Sequence[float], members: int) -> Floats:
    """How often each member is among the picks that count, as a share of them."""
    kept = picks[: 1 + int(np.argmin(losses))]
    return np.bincount(kept, minlength=members + 1)[:members] / len(kept)


def _fit(lessons: Lessons, shares: Floats, strength: float) -> Fit:
    """Weights that begin with the members' shares; who has none is left out."""
    counts = np.flatnonzero(shares)
    weights: dict[str, Floats] = {}
    biases: dict[str, Floats] = {}
    for kind, lesson in lessons.items():
        known = lesson.among(np.flatnonzero(lesson.labels >= 0))
        fitted, biases[kind] = conditional_logit.fit(
            known.features[counts], known.labels, prior=shares[counts], strength=strength
        )
        weights[kind] = np.zeros(len(shares))
        weights[kind][counts] = fitted
    return Fit(weights, biases)


def _without_folds(lessons: Lessons, members: int, strengths: Sequence[float]) -> dict[int, dict[float, Fit]]:
    """What is learned without each fold that has parts, with some penalties."""
    found: dict[int, dict[float, Fit]] = {}
    for fold in sorted({fold for lesson in lessons.values() for fold in lesson.fold.tolist()}):
        seen = {kind: lesson.among(np.flatnonzero(lesson.fold != fold)) for kind, lesson in lessons.items()}
        shares = _share(*pick(seen), members)
        found[fold] = {strength: _fit(seen, shares, strength) for strength in strengths}
    return found


def _judge(
    lessons: Lessons, held_out: Mapping[int, Mapping[float, Fit]], choice: tuple[float, float], single: int
) -> tuple[int, float]:
    """How many parts are right, and the loss, with a penalty and a step, each by what was learned without its fold."""
    (strength, step), right, loss = choice, 0, 0.0
    for fold, of_fold in held_out.items():
        fit = of_fold[strength].towards(step, single)
        for kind, lesson in lessons.items():
            held = lesson.among(np.flatnonzero(lesson.fold == fold))
            logits = conditional_logit.logits(held.features, fit.weights[kind], fit.biases[kind])
            known = held.labels >= 0
            right += int((logits.argmax(axis=1) == held.labels).sum())
            loss += _loss(logits[known], held.labels[known])
    return right, loss


def _loss(logits: Floats, labels: Integers) -> float:
    return -float(likelihoods(logits)[np.arange(len(labels)), labels].sum())


def _right(lessons: Lessons, picks: Sequence[int]) -> int:
    """How many parts are in the state that some members' log-odds together say is likeliest."""
    return sum(
        int((lesson.features[list(picks)].sum(axis=0).argmax(axis=1) == lesson.labels).sum())
        for lesson in lessons.values()
    )


def _rows(
    fits: Mapping[int | None, Fit],
    states: Mapping[str, Sequence[str]],
    members: Sequence[str],
    parts: Sequence[str],
) -> Iterable[tuple[int | None, str, str | None, str, float]]:
    """Rows of `tables.STACKING`."""
    for fold, fit in fits.items():
        for part, kind in zip(parts, map(without_side, parts), strict=True):
            if kind in states:
                yield from (
                    (fold, part, member, LOG_ODDS, weight)
                    for member, weight in zip(members, fit.weights[kind], strict=True)
                    if weight
                )
                yield from (
                    (fold, part, None, state, bias)
                    for state, bias in zip(states[kind], fit.biases[kind], strict=True)
                    if bias
                )


def _members(
    lessons: Lessons, shares: Floats, members: Sequence[str], strength: float, whole: tuple[int, float]
) -> pa.Table:
    """`tables.STACKING_MEMBERS`: what the whole stack would lose without each of those that have a share."""
    parts, rows = sum(len(lesson.labels) for lesson in lessons.values()), []
    for place in np.argsort(-shares, kind="stable"):
        if parts and shares[place] and len(members) > 1:
            others = {
                kind: Lesson(np.delete(lesson.features, place, axis=0), lesson.labels, lesson.fold)
                for kind, lesson in lessons.items()
            }
            held_out = _without_folds(others, len(members) - 1, [strength])
            right, loss = _judge(others, held_out, (strength, 1.0), 0)
            rows.append((members[place], shares[place], (whole[0] - right) / parts, (loss - whole[1]) / parts))
    return tables.conform(pd.DataFrame(rows, columns=tables.STACKING_MEMBERS.names), tables.STACKING_MEMBERS)
