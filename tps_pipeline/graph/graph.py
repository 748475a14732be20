"""The steps of a recipe as a graph: who makes what, in which order, and which shards a whole run is about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tps_pipeline.graph.step import Step
from tps_pipeline.outputs import SPLITS, Output


class Graph:
    """Steps in an order in which they can be made.

    Args:
        steps: All steps of a recipe, in any order.
        scored: The splits that the recipe predicts.

    Attributes:
        steps: The same; each comes after what it reads.
    """

    def __init__(self, steps: Sequence[Step], scored: Sequence[str] = SPLITS) -> None:
        self.scored = scored
        self.maker: dict[Output, Step] = {output: step for step in steps for output in step.makes}
        ordered: dict[str, Step] = {}
        for step in steps:
            self._add(step, ordered)
        self.steps = list(ordered.values())

    def _add(self, step: Step, ordered: dict[str, Step]) -> None:
        if step.name in ordered:
            return
        for output in step.reads:
            if output in self.maker:
                self._add(self.maker[output], ordered)
        ordered[step.name] = step

    def step(self, name: str) -> Step:
        """A step by its name."""
        return next(step for step in self.steps if step.name == name)

    def before(self, step: Step) -> list[Step]:
        """The steps that make what a step reads; imported weights and shards are made by none."""
        return list(dict.fromkeys(self.maker[output] for output in step.reads if output in self.maker))

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The splits whose shards a whole run makes, by the name of the step.

        What a step without shards reads is wanted, and what that is made from. What nobody reads (tracks, with methods
        that need none) is there for people and for the next method: it is made of what is scored.
        """
        wanted: dict[str, set[str]] = {step.name: set() for step in self.steps}
        for step in reversed(self.steps):
            if step.sharded and not wanted[step.name]:
                wanted[step.name] = set(self.scored)
            over = wanted[step.name] if step.sharded else set(step.splits)
            for read in self.before(step):
                wanted[read.name] |= over
        return {name: tuple(split for split in SPLITS if split in over) for name, over in wanted.items()}

    @cached_property
    def descends_from_training(self) -> set[str]:
        """The names of the steps that make what is trained, or need it."""
        found: set[str] = set()
        for step in self.steps:
            if step.learner or any(read.name in found for read in self.before(step)):
                found.add(step.name)
        return found

    @cached_property
    def urgency(self) -> dict[str, int]:
        """By name; what most trainings wait for has the most, then what stands first in the recipe."""
        waiting: dict[str, set[str]] = {step.name: set() for step in self.steps}
        for step in reversed(self.steps):
            for read in self.before(step):
                waiting[read.name] |= waiting[step.name] | ({step.name} if step.learner else set())
        behind = range(len(self.steps), 0, -1)
        return {
            step.name: len(waiting[step.name]) * len(self.steps) + left
            for step, left in zip(self.steps, behind, strict=True)
        }

    def at_once(self, step: Step) -> int:
        """How many steps run at once, at most, when a step does: all of its stage."""
        return next(len(stage) for stage in self.stages if step in stage)

    @cached_property
    def stages(self) -> list[list[Step]]:
        """The steps in groups that can run as one, in order: all over the same splits, without shards, or training.

        A training that starts from another is in a later group: only then is it known what it starts from.
        """
        number: dict[str, int] = {}
        kind = {step.name: self._kind(step) for step in self.steps}
        for step in self.steps:
            parents = [read.name for read in self.before(step)]
            later = [number[p] + (kind[p] != kind[step.name] or step.learner is not None) for p in parents]
            number[step.name] = max(later, default=0)
        groups: dict[tuple[Any, ...], list[Step]] = {}
        for step in sorted(self.steps, key=lambda step: number[step.name]):
            groups.setdefault((number[step.name], *kind[step.name]), []).append(step)
        return list(groups.values())

    def _kind(self, step: Step) -> tuple[bool, tuple[str, ...], bool]:
        return step.sharded, self.splits[step.name] if step.sharded else (), step.learner is not None
