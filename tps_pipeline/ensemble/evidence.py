"""What several methods say of the same parts, as log-odds of every state: what a soft vote and the stack add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline.ensemble.people import same_parts, same_people
from tps_pipeline.ensemble.states import entries
from tps_pipeline.labels import without_side
from tps_pipeline.parsing import Floats, Integers, Parsing, predicted

SUREST = 1e-4
"""Scores are taken to be so far from 0 and 1 at least: no method is sure beyond what its training could teach it."""


@dataclass(frozen=True)
class Voters:
    """Several methods on the parts of the best one's people.

    Attributes:
        predictions: `tables.PREDICTIONS` of each, the best first.
        parsed: The same, laid out.
        partners: For each of them its person for each of the best's people, or -1.
        rows: For each of them its row on each of the best's, or -1.
    """

    predictions: Sequence[pa.Table]
    parsed: Sequence[Parsing]
    partners: Sequence[Integers]
    rows: Sequence[Integers]

    @property
    def people(self) -> Parsing:
        """The best's people and parts."""
        return self.parsed[0]

    @classmethod
    def of(cls, predictions: Mapping[str, pa.Table], names: Sequence[str], iou: float) -> Voters:
        """Find the best method's parts among the others'.

        Args:
            predictions: `tables.PREDICTIONS` by method.
            names: The methods, the best first.
            iou: The overlap that the same person's boxes exceed.
        """
        found = [predictions[name] for name in names]
        parsed = [predicted(table, table) for table in found]
        people, *others = parsed
        partners = [np.arange(len(people.person_box)), *(same_people(people, other, iou) for other in others)]
        of_others = (same_parts(people, *other) for other in zip(others, partners[1:], strict=True))
        return cls(found, parsed, partners, [np.arange(len(people.part)), *of_others])

    def states(self, at: Integers) -> list[str]:
        """The states that any method names for some of the best's parts, sorted."""
        named: set[str] = set()
        for table, rows in zip(self.predictions, self.rows, strict=True):
            scores: Any = table["state_scores"].combine_chunks()
            entry, _ = entries(scores, rows[at][rows[at] >= 0])
            named.update(scores.keys.take(pa.array(entry)).unique().to_pylist())
        return sorted(named)

    def log_odds(self, at: Integers, states: Sequence[str]) -> Floats:
        """What each method says of some of the best's parts.

        Args:
            at: `(n,)` rows of the best method.
            states: S names.

        Returns:
            `(methods, n, S)` log-odds; 0 where a method has nothing to say.
        """
        of_methods = zip(self.predictions, self.rows, strict=True)
        return np.stack([_log_odds(table["state_scores"], rows[at], states) for table, rows in of_methods])


@dataclass(frozen=True)
class Evidence:
    """What methods, and last the video's action, say of the parts of the best method's people.

    Attributes:
        voters: The methods.
        states: The states that training videos have, for each kind of part (`labels.without_side`): left and
            right are mirror images, and learn together.
        of_part: Which of its kind's states a part has itself, by the part.
        expected: For each kind the log-odds of its states that the actions let expect in each of the people's videos,
            `(videos, S)`; 0 where no action is predicted.
    """

    voters: Voters
    states: dict[str, list[str]]
    of_part: dict[str, NDArray[np.bool_]]
    expected: dict[str, Floats]

    @classmethod
    def of(cls, voters: Voters, video_actions: pa.Table, counts: pa.Table) -> Evidence:
        """Put together what the members go by.

        Args:
            voters: The methods.
            video_actions: `tables.VIDEO_ACTIONS`.
            counts: `tables.STATE_COUNTS` of the training videos.
        """
        rows = counts.to_pandas().astype({"action": str, "part": str, "state": str})
        rows["kind"] = rows["part"].map(without_side)
        probabilities = {row["video_id"]: dict(row["probabilities"]) for row in video_actions.to_pylist()}
        states: dict[str, list[str]] = {}
        expected: dict[str, Floats] = {}
        for kind, of_kind in rows.groupby("kind"):
            boxes = of_kind.pivot_table(index="action", columns="state", values="boxes", aggfunc="sum", fill_value=0)
            shares = (boxes + 0.5).div((boxes + 0.5).sum(axis=1), axis=0)  # half a box: what is not seen may be
            states[str(kind)] = [str(name) for name in shares.columns]
            expected[str(kind)] = np.stack([
                _expected(probabilities.get(video, {}), list(shares.index), shares.to_numpy())
                for video in voters.people.videos
            ]) if voters.people.videos else np.empty((0, shares.shape[1]))  # fmt: skip
        own = {str(part): of_own for part, of_own in rows.groupby("part")["state"].agg(set).items()}
        of_part = {part: np.isin(states[without_side(part)], list(of_own)) for part, of_own in own.items()}
        return cls(voters, states, of_part, expected)

    def on(self, at: Integers, kind: str) -> Floats:
        """What the members say of some of the best method's parts, all of one kind.

        Args:
            at: `(n,)` rows of the best method.
            kind: Theirs.

        Returns:
            `(methods + 1, n, S)` log-odds; 0 where a member has nothing to say.
        """
        return np.concatenate([self.voters.log_odds(at, self.states[kind]), self.expected[kind][self.video(at)][None]])

    def video(self, at: Integers) -> Integers:
        """The video of some of the best method's parts, as an index into the people's videos."""
        people = self.voters.people
        return people.frame_video[people.person_frame[people.part_person[at]]]


def _expected(probabilities: Mapping[str, float], actions: Sequence[str], shares: Floats) -> Floats:
    """The log-odds of states, `(S,)`, by their shares in each action, `(actions, S)`."""
    weights = np.array([probabilities.get(action, 0.0) for action in actions])
    return log_odds(weights @ shares / weights.sum()) if weights.sum() > 0 else np.zeros(shares.shape[1])


def log_odds(scores: Floats) -> Floats:
    """The log-odds of scores from 0 to 1."""
    sure = scores.clip(SUREST, 1 - SUREST)
    return np.log(sure) - np.log1p(-sure)


def likelihoods(logits: Floats) -> Floats:
    """Logits of states, `(n, S)`, as log-probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _log_odds(column: pa.ChunkedArray[Any], rows: Integers, states: Sequence[str]) -> Floats:
    """The log-odds of every state in some rows of a column of `state_scores`; 0 in row -1.

    What a row does not name shares the rest of its probability, and is no likelier than what it names.
    """
    scores: Any = column.combine_chunks()
    present = np.flatnonzero(rows >= 0)
    entry, owner = entries(scores, rows[present])
    names: Any = scores.keys.dictionary_encode()
    index = {name: at for at, name in enumerate(states)}
    state = np.array([index.get(name, -1) for name in names.dictionary.to_pylist()], np.int64)
    state = state[np.asarray(names.indices, np.int64)[entry]] if len(entry) else entry
    score = np.asarray(scores.items, np.float64)[entry]
    named = np.full((len(present), len(states)), np.nan)
    known = state >= 0
    named[owner[known], state[known]] = score[known]
    missing = np.isnan(named)
    rest = (1 - np.bincount(owner, score, minlength=len(present))).clip(SUREST) / missing.sum(axis=1).clip(1)
    lowest = np.where(missing, 1.0, named).min(axis=1, initial=1.0)
    filled = np.where(missing, np.minimum(rest, lowest)[:, None], named)
    found = np.zeros((len(rows), len(states)))
    heard = ~missing.all(axis=1)
    found[present[heard]] = log_odds(filled[heard])
    return found
