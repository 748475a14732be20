"""A run: one recipe, as it was when the run began, over one data folder into one store."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tps_pipeline import outputs
from tps_pipeline.graph.step import Step
from tps_pipeline.lineage import Lineage, Record, Snapshot, Work
from tps_pipeline.outputs import Key, Output
from tps_pipeline.recipe import Recipe
from tps_pipeline.store import Store

if TYPE_CHECKING:
    from tps_pipeline.graph.reader import Reader
    from tps_pipeline.learners import Learner

Train = Callable[["Learner", "Reader"], dict[str, float]]
"""Has a network learn in the reader's workspace, and gives figures about it."""

log = logging.getLogger(__name__)


def train_here(learner: Learner, read: Reader) -> dict[str, float]:
    """Have a network learn in this process, with the others if torchrun has started it, and leave it in the workspace.

    Returns:
        Figures about it.
    """
    from tps_pipeline.checkpoint import WEIGHTS
    from tps_pipeline.models import pretrained

    weights = None
    if learner.weights:
        store = read.run.store
        pretrained.check(read.run.recipe.section(learner.section), store, where=learner.section)
        about = pretrained.metadata_of(learner.weights, store)
        (read.workspace / "weights.json").write_text(json.dumps(about, indent=1))
        weights = read.path(outputs.weights(learner.weights)) / WEIGHTS
    seed = read.setting("seed")
    return learner.fit(read.of("train"), read.of("val"), read.workspace, seed=seed, weights=weights)


@dataclass(frozen=True)
class Run:
    """What every step of a run works with.

    Attributes:
        recipe: The recipe in force, the same for all of the run.
        data: The folder in the Kinetics-TPS layout.
        lineage: The store's records.
        recipe_name: What the user calls the recipe.
        store_name: What the user calls the store.
        id: The run's.
        retraining: New shards are a reason to train again, and a network that is worse does not take its place.
        train: Has a network learn, perhaps in several processes.
        warn: Tells people.
    """

    recipe: Recipe
    data: Path
    lineage: Lineage
    recipe_name: str = "recipe"
    store_name: str = "store"
    id: str = "local"
    retraining: bool = False
    train: Train = train_here
    warn: Callable[[str], object] = log.warning

    @property
    def store(self) -> Store:
        """The store that results go to."""
        return self.lineage.store

    def work(self, step: Step, output: Output, shard: str | None, latest: Snapshot) -> Work:
        """One output about to be made, with what there is to make it from.

        Raises:
            StoreError: Something that it reads was never made.
        """
        return self.work_on(step, output, shard, latest, keys_read(step, shard, latest))

    def work_on(self, step: Step, output: Output, shard: str | None, latest: Snapshot, keys: list[Key]) -> Work:
        """The same, of some of what it reads."""
        return Work(
            output.key,
            shard,
            latest.inputs(keys),
            step.sections,
            self._digest(step.sections),
            step.version,
            step.learner is not None and not self.retraining,
            functools.partial(self._means_the_same, step.sections),
        )

    @functools.cached_property
    def _digest(self) -> Callable[[tuple[str, ...]], str]:
        return functools.cache(self.recipe.digest_of)

    @functools.cached_property
    def _digest_0_1(self) -> Callable[[tuple[str, ...]], str]:
        return functools.cache(self.recipe.digest_of_0_1)

    def _means_the_same(self, sections: tuple[str, ...], record: Record) -> bool:
        """Whether a record of version 0.1 was made with the settings in force.

        A section that it did not depend on must be at its defaults, for what it was made with is not known.
        """
        if record.recipe_digest != self._digest_0_1(record.recipe_sections):
            return False
        covered = record.recipe_sections
        new = [s for s in sections if not any(s == old or s.startswith(f"{old}.") for old in covered)]
        return all(self.recipe.is_default(section) for section in new)


def keys_read(step: Step, shard: str | None, latest: Snapshot) -> list[Key]:
    """All that a step reads, for a shard or, without one, over all shards of its splits."""
    own = [shard] if shard else latest.shards(*step.splits)
    return [key for output in step.reads for key in ([output.at(s) for s in own] if output.sharded else [output.at()])]
