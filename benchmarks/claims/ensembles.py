"""Ensembles of the methods that name states, on one seed's generated data.

Half of the held-out videos, `val`, are what methods are ranked and chosen on; everything is scored on the other half,
`test`. For a choice on `train` the methods predict as many of the videos that they have learned from. Boxes and
actions are the annotated ones, as for the methods themselves; so the score is the mean PSC but for rounding.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.claims.claim import Claim
from benchmarks.claims.states import States
from tps_pipeline import outputs, psc, tables
from tps_pipeline.data.vocabulary import state_counts
from tps_pipeline.ensemble.by_category import by_category, method_by_category
from tps_pipeline.ensemble.ranking import ranking
from tps_pipeline.ensemble.stacked import fit, stacked
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.evaluation import sampled
from tps_pipeline.parsing import Parsing, annotated
from tps_pipeline.reading import Reads

REPORTED = ("video_category", "video_level", "segment_level", "instance_pcp", "instance_pp", "part_state_detector")
"""The paper's methods."""
ALL = (*REPORTED, "part_trajectory")
SOME = 6
"""Methods predict every so-manyth training video: as many as there are in `val`."""
Choice = Literal["train", "val"]


@cache
def scores(world: States, methods: tuple[str, ...], choose_on: Choice) -> dict[str, float]:
    """The challenge's score of methods, of their votes, of the stack and of the choice by category."""
    test = world.sources("test")
    names = tables.distinct(test(outputs.VIDEOS)["video_id"])
    found = {method: world.predictions(method) for method in methods}
    if choose_on == "val":
        shown, of, seen = names[::2], test, dict(found)
    else:
        of = world.sources("train", every=SOME)
        shown = tables.distinct(of(outputs.VIDEOS)["video_id"])
        seen = {method: world.predictions(method, "train", every=SOME) for method in methods}
    order = ranking(scored(world, seen, of, shown, choose_on), methods, split=choose_on)
    for predictions in (seen, found):
        predictions["voting"] = voting({method: predictions[method] for method in methods}, order)
    choice = method_by_category(scored(world, seen, of, shown, choose_on), [*seen], split=choose_on)
    found["by_category"] = by_category(found, test(outputs.VIDEO_ACTIONS), choice)
    of_methods = {method: found[method] for method in methods}
    found["log_odds"] = voting(of_methods, order, weigh_by="log_odds")
    counts = _counts(world)
    learned = fit(
        {method: _of(seen[method], shown) for method in methods},
        order,
        of(outputs.VIDEO_ACTIONS),
        counts,
        _annotated(world, of, shown),
        split=choose_on,
    )
    found["stacked"] = stacked(of_methods, order, test(outputs.VIDEO_ACTIONS), counts, learned.weights)
    rows = scored(world, found, test, names[1::2], "test").to_pandas().astype({"method": str})
    return {
        str(method): psc.score(own.psc.to_numpy(), own.action_correct.to_numpy())
        for method, own in rows.groupby("method")
    }


def _counts(world: States) -> pa.Table:
    """How often the training videos have each state."""
    train = world.sources("train", stride=world.settings.frames.train_stride)
    return state_counts(train(outputs.ACTIONS), train(outputs.PARTS))


def _annotated(world: States, of: Reads, videos: list[str]) -> Parsing:
    """What is annotated in some videos."""
    labelled = sampled(_of(of(outputs.LABELLED_FRAMES), videos), world.settings.frames.sample_stride)
    return annotated(labelled, of(outputs.PEOPLE), of(outputs.PARTS))


def _of(table: pa.Table, videos: list[str]) -> pa.Table:
    """The rows of some videos."""
    return table.filter(pc.field("video_id").cast(pa.string()).isin(videos))


def scored(world: States, predictions: dict[str, pa.Table], of: Reads, videos: list[str], split: str) -> pa.Table:
    """The score of each of some videos by each method (`tables.PSC`), under a split's name."""
    by_method = [world.psc(method, found, of, split=split) for method, found in predictions.items()]
    everything = pa.concat_tables(by_method).unify_dictionaries()
    return _of(everything, videos)


def _claim(
    name: str, statement: str, ours: str, other: str, *, methods: tuple[str, ...] = REPORTED, on: Choice = "val"
) -> Claim:
    def measure(world: States) -> tuple[float, float]:
        of_ours, of_other = scores(world, methods, "val"), scores(world, methods, on)
        best = max(of_other[method] for method in methods)
        return of_ours[ours], best if other == "best single method" else of_other[other]

    ways = (ours, other) if on == "val" else ("on val", "on train")
    return Claim(name, statement, "the challenge's score", True, ways, measure)


CLAIMS = (
    _claim("voting", "Voting over the paper's methods beats the best of them", "voting", "best single method"),
    _claim("by_category", "The choice by category beats voting over the paper's methods", "by_category", "voting"),
    _claim(
        "log_odds",
        "Voting by log-odds over the paper's methods beats their plain vote",
        "log_odds",
        "voting",
    ),
    _claim("stacked", "The stack of the paper's methods beats the best of them", "stacked", "best single method"),
    _claim(
        "choose_on_val",
        "The choice by category is better made on videos that no method has learned from",
        "by_category",
        "by_category",
        on="train",
    ),
    _claim(
        "voting_all",
        "Voting over these and `part_trajectory` beats the best of them",
        "voting",
        "best single method",
        methods=ALL,
    ),
    _claim(
        "log_odds_all",
        "Voting by log-odds over these and `part_trajectory` beats their plain vote",
        "log_odds",
        "voting",
        methods=ALL,
    ),
    _claim(
        "stacked_all",
        "The stack of these and `part_trajectory` beats the best of them",
        "stacked",
        "best single method",
        methods=ALL,
    ),
    _claim(
        "by_category_all",
        "The choice by category among all beats voting over all",
        "by_category",
        "voting",
        methods=ALL,
    ),
    _claim(
        "choose_on_val_all",
        "The choice among all is better made on videos that no method has learned from",
        "by_category",
        "by_category",
        methods=ALL,
        on="train",
    ),
)
