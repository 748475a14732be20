"""Few videos: whole runs of `small.yaml`, from a data folder to the leaderboard, beside what is asked of them.

The settings of `small.yaml` were found on the demo's data and on other seeds from 500 to 799; those of `Few` are for
measuring alone. A run begins with nothing and has all that a user's has. Figures are those of its test videos.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pyarrow as pa

from benchmarks.claims.claim import Claim
from benchmarks.claims.world import ROOT, World
from tps_pipeline import evaluation
from tps_pipeline.data.synthetic import generate
from tps_pipeline.data.synthetic.cast import ACTIONS
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.outputs import (
    ACTION_ACCURACY,
    FRAMES,
    LEADERBOARD,
    RANKING,
    SCORED_WITH,
    SHARDS,
    Output,
    average_precision,
    predictions,
)
from tps_pipeline.reading import InMemory
from tps_pipeline.recipe import load
from tps_pipeline.store import Store
from tps_pipeline.video.frames import FrameFile

RECIPE = "small"
"""Whatever recipe the other claims are measured with."""
MINUTES = 20
"""Of processor time that a run may take."""
HELD_OUT = 8
"""Test videos an action."""

Figure = Callable[["Few"], float]
"""A figure of a run."""


class Few(World):
    """A run on so many training videos an action, `val` included."""

    seeds = (600, 601, 602)
    """No setting was tried on these."""
    each: ClassVar[int]
    """Training videos an action."""
    size = (256, 192)
    frames = 60

    @classmethod
    def recipes(cls, named: str) -> tuple[str, ...]:
        """See `World`."""
        return (RECIPE,)

    @cached_property
    def data(self) -> Path:
        """See `World`; `HELD_OUT` videos an action are held out."""
        path = self.folder / "data"
        if not path.exists():
            every = self.each + HELD_OUT
            width, height = self.size
            generate(
                path, videos=every * len(self.actions), seed=self.seed, classes=self.actions, width=width,
                height=height, frames=self.frames, test_fraction=HELD_OUT / every, processes=os.cpu_count() or 1,
            )  # fmt: skip
        return path

    @cached_property
    def store(self) -> Store:
        """What the run left; the processor time that it took stands in a file beside it.

        One that was cut off begins anew: of its time only the rest would be known.
        """
        place = self.folder / "store"
        spent = self.folder / "seconds"
        if not spent.exists():
            home = self.folder / "home"
            for cut_off in (place, home):
                shutil.rmtree(cut_off, ignore_errors=True)
            home.mkdir(parents=True)
            shutil.copy(ROOT / "dagster.yaml", home)
            settings = {
                "TPS_DATA": str(self.data), "TPS_STORE": str(place), "TPS_RECIPE": RECIPE, "DAGSTER_HOME": str(home),
            }  # fmt: skip
            environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
            log = self.folder / "run.log"
            with log.open("w") as file:
                python = [sys.executable, "-m"]
                command = [*python, "benchmarks.spent", str(spent), *python, "assets.run"]
                subprocess.run(command, cwd=ROOT, env=environment | settings, check=True, stdout=file, stderr=file)
        return Store(place)

    @property
    def minutes(self) -> float:
        """Processor time of the whole run."""
        assert self.store
        return float((self.folder / "seconds").read_text()) / 60

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """The test split's rows by method."""
        rows = self.table(LEADERBOARD).to_pandas().astype({"method": str, "split": str})
        return rows[rows.split == "test"].set_index("method")

    @cached_property
    def methods(self) -> list[str]:
        """The recipe's methods; the others are ensembles."""
        return list(load(RECIPE).methods)

    @cached_property
    def log_odds(self) -> float:
        """Mean PSC of the methods' vote by log-odds."""
        methods = load(RECIPE).voters
        voted = voting(
            {name: self.table(predictions(name)) for name in methods}, self.table(RANKING), weigh_by="log_odds"
        )
        known = InMemory(
            {output: self.table(output) for output in SCORED_WITH if output != FRAMES},
            files=[FrameFile(self.store.local(FRAMES.path(shard))) for shard in self.shards],
        )
        stride = load(RECIPE).frames.sample_stride
        scores = evaluation.score(known, voted, method="log_odds", split="test", stride=stride)
        return float(scores.to_pandas().psc.mean())

    @cached_property
    def shards(self) -> list[str]:
        """Those of the test split."""
        names = (file.partition(".")[0] for file in self.store.names(SHARDS.key))
        return sorted(name for name in names if name.startswith("test-"))

    def table(self, output: Output) -> pa.Table:
        """A table: of the test shards, or whole where it has none."""
        paths = [output.path(shard) for shard in self.shards] if output.sharded else [output.path()]
        return pa.concat_tables([self.store.read(path) for path in paths]).unify_dictionaries()

    def accuracy(self, member: str) -> float:
        """Of the video's action, by a member or by all together."""
        rows = self.table(ACTION_ACCURACY).to_pandas().astype({"member": str, "split": str})
        return float(rows[(rows.split == "test") & (rows.member == member)].accuracy.iloc[0])

    def ap50(self, people: bool) -> float:
        """Of people, or the mean over the parts."""
        rows = self.table(average_precision("two_stage")).to_pandas().astype({"split": str, "label": str})
        rows = rows[rows.split == "test"]
        return float(rows[(rows.label == "person") == people].ap50.mean())


class AllActions(Few):
    """Every action of the generator, 12 training videos each."""

    actions = tuple(ACTIONS)
    each = 12


class SixActions(Few):
    """Six actions, 8 training videos each; few of them were ever looked at."""

    actions = (
        "hopscotch",
        "throwing_discus",
        "riding_mechanical_bull",
        "hitting_baseball",
        "clean_and_jerk",
        "pull_ups",
    )
    each = 8


def _together(world: Few) -> float:
    return world.accuracy("together")


def _swin(world: Few) -> float:
    return world.accuracy("swin")


def _people(world: Few) -> float:
    return world.ap50(people=True)


def _parts(world: Few) -> float:
    return world.ap50(people=False)


def _best(world: Few) -> float:
    return float(world.leaderboard.mean_psc[world.methods].max())


def _log_odds(world: Few) -> float:
    return world.log_odds


def _minutes(world: Few) -> float:
    return world.minutes


def _of(method: str) -> Figure:
    """The mean PSC of a method or an ensemble."""

    def figure(world: Few) -> float:
        return float(world.leaderboard.mean_psc[method])

    return figure


def _asked(value: float) -> Figure:
    def figure(_: Few) -> float:
        return value

    return figure


def _claims(setting: str, what: str, *, accuracy: float) -> tuple[Claim, ...]:
    def claim(
        name: str, statement: str, figure: str, ways: tuple[str, str], ours: Figure, other: Figure, higher: bool = True
    ) -> Claim:
        def measure(world: Few) -> tuple[float, float]:
            return ours(world), other(world)

        return Claim(f"{setting}_{name}", f"{what}: {statement}", figure, higher, ways, measure)

    asked = (f"`{RECIPE}`", "asked for")
    best = "best single method"
    return (
        claim("action", "the video's action is named rightly", "accuracy", asked, _together, _asked(accuracy)),
        claim("members", "all members name it better than Swin alone", "accuracy", ("all", "Swin"), _together, _swin),
        claim("people", "people are found", "AP50", asked, _people, _asked(0.85)),
        claim("parts", "parts are found", "AP50", asked, _parts, _asked(0.45)),
        claim("stacked", "the stack beats the best method", "mean PSC", ("stacked", best), _of("stacked"), _best),
        claim(
            "by_category", "the choice by category beats the plain vote", "mean PSC",
            ("by_category", "voting"), _of("by_category"), _of("voting"),
        ),
        claim("voting", "the plain vote beats the best method", "mean PSC", ("voting", best), _of("voting"), _best),
        claim(
            "log_odds", "the vote by log-odds beats the best method", "mean PSC", ("log-odds", best), _log_odds, _best
        ),
        claim(
            "minutes", "the whole run is short", "minutes of processor time", asked, _minutes, _asked(MINUTES), False
        ),
    )  # fmt: skip


ALL_ACTIONS = _claims("all_x12", "19 actions, 12 training videos each", accuracy=0.80)
"""What is claimed of `AllActions`."""
SIX_ACTIONS = _claims("six_x8", "6 actions, 8 training videos each", accuracy=0.90)
"""What is claimed of `SixActions`."""
