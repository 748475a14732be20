"""Ensembles: what is made of several methods' predictions."""

from __future__ import annotations

from typing import Literal

from tps_pipeline.recipe.section import Fraction, Name, Positive, Section


class Voting(Section):
    """The boxes of the best method; the state of each part by vote."""

    methods: tuple[Name, ...] | None = None
    """Who votes (null: all of the recipe's methods)."""
    iou: Fraction = 0.8
    """People of two methods whose boxes overlap more are the same person."""
    weigh_by: Literal["psc", "state_score", "log_odds"] | None = None
    """What a vote counts: its method's mean PSC on `choose_on`, or the score of its state (null: each the same). By
    `log_odds` methods vote on every state, by how likely they think it."""


class Stacked(Section):
    """The people of the best method; the state of each part by regression on what all that vote say."""

    fit_on: Literal["train", "val"] | None = None
    """The split that it learns from (null: `val` where it is predicted, else `choose_on`). On `train` methods are
    flattered: they are sure of the videos that they have learned."""
    boxes: Literal["best", "fused"] = "best"
    """Of people and parts: the best method's, or those of all that have boxes of their own `fused` (weighted boxes
    fusion), as far as that brings them nearer to the annotated ones of `fit_on`."""


class ByCategory(Section):
    """Every video by the method that is best in its predicted action."""

    candidates: tuple[Name, ...] | None = None
    """What is chosen from (null: `voting`, `stacked` and all of the recipe's methods)."""
    min_videos: Positive = 5
    """An action with fewer videos in `choose_on` gets the method that is best over all actions."""
    shrink: bool = False
    """An action gets another method than that only if its mean gain exceeds the mean's standard error."""


class Ensemble(Section):
    """How methods are ranked, and what is made of them."""

    choose_on: Literal["train", "val"] = "val"
    """The split whose scores rank the methods; on `val` no method is judged on what it was fitted to."""
    voting: Voting = Voting()
    """Ensembles in which methods vote on each part's state."""
    stacked: Stacked = Stacked()
    """The ensemble that learns what each method's word counts."""
    by_category: ByCategory = ByCategory()
    """The ensemble that chooses a method for each action."""
