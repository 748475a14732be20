"""What a run would do with a store, and why, from the records and the recipe alone: nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tps_pipeline.graph.graph import Graph
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Step
from tps_pipeline.graph.work import keys_read, work_on
from tps_pipeline.lineage import Snapshot
from tps_pipeline.outputs import SHARDS, SPLITS, Key, Output, name_of


@dataclass
class Planned:
    """What is to become of one output.

    Attributes:
        step: What makes it.
        output: The output.
        make: Why it is made, by shard (None where it has none).
        follow: What it follows, alike: it is made if that turns out other than it was.
        keep: What is up to date, alike.
        settings: The digest of its parts of the recipe.
    """

    step: Step
    output: Output
    settings: str
    make: dict[str | None, str] = field(default_factory=dict)
    follow: dict[str | None, str] = field(default_factory=dict)
    keep: list[str | None] = field(default_factory=list)

    @property
    def due(self) -> dict[str, str]:
        """Why each part of it is made or may be, by the name that people call it."""
        return {name_of(self.output.at(shard)): reason for shard, reason in (self.make | self.follow).items()}


@dataclass
class Plan:
    """What a run would do.

    Attributes:
        outputs: All outputs of the recipe, in the order of their making.
        arrivals: Videos of the data folder that are new or changed; they are taken in first, and form new shards.
        missing: Videos of the store that are no longer in the folder, each with what to do.
        shards: How many shards there are.
    """

    outputs: list[Planned]
    arrivals: list[str]
    missing: list[str]
    shards: int

    @property
    def make(self) -> int:
        """How many outputs are made, each shard counted."""
        return sum(len(planned.make) for planned in self.outputs)

    @property
    def follow(self) -> int:
        """How many are made if what they follow turns out other than it was."""
        return sum(len(planned.follow) for planned in self.outputs)

    @property
    def keep(self) -> int:
        """How many are kept."""
        return sum(len(planned.keep) for planned in self.outputs)

    @property
    def due(self) -> dict[str, str]:
        """Why each output is made or may be, by the name that people call it."""
        arrived = [f"new or changed: {', '.join(self.arrivals)}"] if self.arrivals else []
        folder = {SHARDS.key: "; ".join([*arrived, *self.missing])} if arrived or self.missing else {}
        return folder | {name: reason for planned in self.outputs for name, reason in planned.due.items()}

    def networks(self, *, sure: bool = True) -> list[list[str]]:
        """The networks to train by name, those that share one together.

        Args:
            sure: Those that are trained; else those that are if what they follow turns out other than it was.
        """
        shared: dict[tuple[Any, ...], list[str]] = {}
        for planned in self.outputs:
            learner = planned.step.learner
            if learner and not learner.alone and (planned.make if sure else planned.follow):
                shared.setdefault((planned.settings, *planned.step.reads), []).append(learner.name)
        return list(shared.values())

    def summary(self) -> str:
        """The plan in one line."""
        names = ", ".join(" = ".join(names) for names in self.networks()) or "none"
        follow = f"{self.follow} more if what they follow changes, " if self.follow else ""
        return f"make {self.make}, {follow}keep {self.keep}; networks to train: {names}"

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "make": self.make,
            "follow": self.follow,
            "keep": self.keep,
            "networks": self.networks(),
            "networks_that_may_follow": self.networks(sure=False),
            "arrivals": self.arrivals,
            "missing": self.missing,
            "shards": self.shards,
            "outputs": [
                {
                    "output": planned.output.key,
                    "make": {name_of(planned.output.at(shard)): why for shard, why in planned.make.items()},
                    "follow": {name_of(planned.output.at(shard)): why for shard, why in planned.follow.items()},
                    "keep": len(planned.keep),
                }
                for planned in self.outputs
            ],
        }


def plan(
    run: Run,
    graph: Graph,
    *,
    arrivals: Sequence[str] = (),
    missing: Sequence[str] = (),
    only: Sequence[Step] | None = None,
) -> Plan:
    """Say what a run would make, keep and train, and why.

    Args:
        run: The run.
        graph: The steps of its recipe.
        arrivals: New and changed videos of the data folder (`ingestion.look`).
        missing: Videos that are no longer there, alike.
        only: These steps alone; what comes before them is made, or is among them.
    """
    latest, due = run.lineage.latest(), set()
    outputs = []
    for step in graph.steps if only is None else [step for step in graph.steps if step in only]:
        for output in step.makes:
            planned = Planned(step, output, run.digest_of(step.sections))
            for shard in latest.shards(*graph.splits[step.name]) if step.sharded else [None]:
                _decide(run, planned, shard, latest, due)
            outputs.append(planned)
    return Plan(outputs, list(arrivals), list(missing), len(latest.shards(*SPLITS)))


def _decide(run: Run, planned: Planned, shard: str | None, latest: Snapshot, due: set[Key]) -> None:
    """Plan one shard of an output, or one that has none."""
    step, key = planned.step, planned.output.at(shard)
    keys = keys_read(step, shard, latest)
    there = [read for read in keys if read in latest.records]
    last = latest.records.get(key)
    made_from = {i.key for i in last.inputs} if last else set()
    counts = made_from if step.learner and not run.retraining else set(keys)  # new shards alone do not count
    work = work_on(run, step, planned.output, shard, latest, there)
    if reason := latest.why_stale(work):
        planned.make[shard] = reason
    elif cause := next((read for read in keys if read in due and read in counts), None):
        planned.follow[shard] = f"{name_of(cause)} is stale"
    elif new := next((read for read in keys if read not in latest.records and read in counts), None):
        planned.make[shard] = f"{name_of(new)} is new"
    else:
        planned.keep.append(shard)
        return
    due.add(key)
