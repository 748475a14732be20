"""A run: one recipe, as it was when the run began, over one data folder into one store."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.outputs import Output, resolved
from tps_pipeline.recipe import Recipe
from tps_pipeline.store import Store

log = logging.getLogger(__name__)


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
        train: Has a learner learn with a reader, where that is not for this process to do (`train_here`).
        warn: Tells people.
    """

    recipe: Recipe
    data: Path
    lineage: Lineage
    recipe_name: str = "recipe"
    store_name: str = "store"
    id: str = "local"
    retraining: bool = False
    train: Callable[..., dict[str, float]] | None = None
    warn: Callable[[str], object] = log.warning

    @property
    def store(self) -> Store:
        """The store that results go to."""
        return self.lineage.store

    def meant(self, output: Output) -> Output:
        """What an output stands for in this run: `DETECTIONS` for those of the way that the recipe names."""
        return resolved(output, self.recipe.detections)

    @functools.cached_property
    def digest_of(self) -> Callable[[tuple[str, ...]], str]:
        """Gives the digest of some parts of the recipe (`Recipe.digest_of`)."""
        return functools.cache(self.recipe.digest_of)

    @functools.cached_property
    def _digest_0_1(self) -> Callable[[tuple[str, ...]], str]:
        return functools.cache(self.recipe.digest_of_0_1)

    def means_the_same(self, sections: tuple[str, ...], record: Record) -> bool:
        """Whether a record of version 0.1 was made with the settings in force.

        A section that it did not depend on must be at its defaults, for what it was made with is not known.
        """
        if record.recipe_digest != self._digest_0_1(record.recipe_sections):
            return False
        covered = record.recipe_sections
        new = [s for s in sections if not any(s == old or s.startswith(f"{old}.") for old in covered)]
        return all(self.recipe.is_default(section) for section in new)
