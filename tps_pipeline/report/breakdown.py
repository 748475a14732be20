"""Where methods are right, what they mix up, and where they disagree: by part and by state, on the annotated people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tps_pipeline.labels import parts_of
from tps_pipeline.parsing import Integers, Parsing
from tps_pipeline.psc import credit_by_state, match_people

NOT_FOUND = "not found"
"""In the place of a state that a method does not give: it missed the person, or that part of the person."""


@dataclass(frozen=True)
class Breakdown:
    """What several methods make of the same annotated parts.

    Attributes:
        correctness: One row a method, part and annotated state: `boxes` (how many are annotated) and `correctness`
            (their mean credit, see `psc.part_credit`).
        states: One row an annotated part: its `part`, its annotated `state`, and a column for each method with the
            state that it gives, or `NOT_FOUND`; all categorical.
    """

    correctness: pd.DataFrame
    states: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """The methods, in the order they were given in."""
        return [str(name) for name in self.states if name not in ("part", "state")]

    @property
    def parts(self) -> list[str]:
        """The parts that there are, in their usual order."""
        return [str(part) for part in self.states["part"].cat.categories]

    def mean_correctness(self, by: str) -> pd.DataFrame:
        """Mean credit of the annotated boxes of each part or state.

        Args:
            by: `part` or `state`.

        Returns:
            A column for each method and one `boxes`; parts in their usual order, or the most frequent state first.
        """
        rows = self.correctness.assign(earned=self.correctness.correctness * self.correctness.boxes)
        earned, boxes = (
            rows.pivot_table(index=by, columns="method", values=name, aggfunc="sum").reindex(columns=self.methods)
            for name in ("earned", "boxes")
        )
        means = (earned / boxes).assign(boxes=boxes.max(axis=1))
        if by == "part":
            return means.reindex([part for part in parts_of(means.index) if part in means.index])
        return means.sort_values("boxes", ascending=False, kind="stable")

    def agreement(self) -> pd.DataFrame:
        """Share of the parts that two methods give the same state to, of those that both give one to."""
        codes = self._codes()
        shares = np.full((len(self.methods), len(self.methods)), np.nan)
        for i, codes_a in enumerate(codes):
            for j, codes_b in enumerate(codes):
                given = (codes_a >= 0) & (codes_b >= 0)
                shares[i, j] = (codes_a == codes_b)[given].mean() if given.any() else np.nan
        return pd.DataFrame(shares, index=self.methods, columns=self.methods)

    def disagreement(self, *by: str) -> pd.DataFrame:
        """How often methods differ, most first.

        Args:
            by: `part`, `state` or both.

        Returns:
            By those: `boxes`, and the shares of them in which methods give different states (`differ`), in which
            some method gives the annotated one (`some_right`) and in which all methods do (`all_right`).
        """
        codes, truth = self._codes(), self.states["state"].cat.codes.to_numpy()
        highest = codes.max(axis=0, initial=-1)
        lowest = np.where(codes < 0, np.iinfo(codes.dtype).max, codes).min(axis=0, initial=np.iinfo(codes.dtype).max)
        right = codes == truth
        rows = self.states[list(by)].assign(
            boxes=1,
            differ=(highest >= 0) & (lowest != highest),
            some_right=right.any(axis=0),
            all_right=right.all(axis=0),
        )
        shares = rows.groupby(list(by), observed=True).agg(
            {"boxes": "sum", "differ": "mean", "some_right": "mean", "all_right": "mean"}
        )
        return shares.sort_values(["differ", "boxes"], ascending=False, kind="stable")

    def confusion(self, method: str, part: str, *, most: int = 8) -> pd.DataFrame:
        """Which states a method gives to a part, for each annotated one.

        Args:
            method: One of `methods`.
            part: One of `parts`.
            most: Name this many of the part's most frequent states; the others are `other`.

        Returns:
            Boxes: a row for each annotated state, the most frequent first, a column for each given one, and last
            `NOT_FOUND`.
        """
        rows = self.states.loc[self.states["part"] == part, ["state", method]].astype(str)
        named = rows["state"].value_counts().index[:most].tolist()
        kept = {"state": [*named, "other"], method: [*named, "other", NOT_FOUND]}
        true, given = (rows[name].where(rows[name].isin(kept[name]), "other") for name in ("state", method))
        counts = pd.crosstab(true, given)
        counts = counts.reindex(index=kept["state"], columns=kept[method], fill_value=0)
        return counts.loc[counts.sum(axis=1) > 0, (counts.sum() > 0) | counts.columns.isin(named)]

    def _codes(self) -> Integers:
        """`(methods, parts)` states as numbers, the same for every method; -1 where there is none."""
        shared = self.states["state"].cat.categories
        codes = [self.states[name].cat.set_categories(shared).cat.codes.to_numpy() for name in self.methods]
        return np.array(codes, dtype=np.int64).reshape(len(codes), len(self.states))


def break_down(truth: Parsing, parsed: Iterable[tuple[str, Parsing]]) -> Breakdown:
    """Break methods' states down.

    People are matched as the challenge's metric does it; of several proposals for a part the first counts, and of
    several annotated states. Whether the part's box is right matters to `correctness` only.

    Args:
        truth: The annotations.
        parsed: The name and the predictions of one method or more; read one by one, so that a generator needs memory
            for one only.
    """
    slot = truth.part_person * len(truth.parts) + truth.part
    _, first = np.unique(slot, return_index=True)
    correctness, given = [], {}
    for name, predictions in parsed:
        correctness.append(credit_by_state(truth, predictions).to_pandas().assign(method=name))
        given[name] = _given(truth, predictions, slot[first])
    names = sorted({state for states in given.values() for state in states.categories} - {NOT_FOUND} | {*truth.states})
    true = pd.Categorical.from_codes(truth.state[first], dtype=pd.CategoricalDtype(truth.states))
    states = pd.DataFrame(
        {
            "part": pd.Categorical.from_codes(truth.part[first], dtype=pd.CategoricalDtype([*truth.parts])),
            "state": true.set_categories(names),
            **{name: states.set_categories([*names, NOT_FOUND]) for name, states in given.items()},
        }
    )
    return Breakdown(pd.concat(correctness, ignore_index=True), states)


def _given(truth: Parsing, parsed: Parsing, slots: Integers) -> pd.Categorical[Any]:
    """The state that a method gives each of some annotated (person, part) slots."""
    person = match_people(truth, parsed)[parsed.part_person]
    part = parsed.part_in(truth.parts)
    found = np.flatnonzero((person >= 0) & (part >= 0))[::-1]
    row_of = np.full(len(truth.person_frame) * len(truth.parts), -1)
    row_of[person[found] * len(truth.parts) + part[found]] = found
    row = row_of[slots]
    codes = np.where(row >= 0, parsed.state[row], len(parsed.states)) if len(parsed.state) else np.zeros_like(row)
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype([*parsed.states, NOT_FOUND]))
