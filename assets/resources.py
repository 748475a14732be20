"""What every asset works with: the data folder, the store, and the recipe as it was when the run began."""

import functools
from pathlib import Path

import dagster as dg
import pyarrow as pa
from pydantic import PrivateAttr

from assets import environment
from assets.dead_runs import end_dead_runs, end_with_run
from tps_pipeline import recipe as recipes
from tps_pipeline.graph import Run, frozen
from tps_pipeline.lineage import Lineage
from tps_pipeline.outputs import Output
from tps_pipeline.store import Store

RECIPE = "tps/recipe"
"""The tag of a run that names its recipe: the text is `recipes/<this>.yaml` in the store."""

FROZEN_IN = "tps/recipe_frozen_in"
"""The tag that says which run froze it."""

RETRAINING = "tps/retraining"
"""The tag of runs in which new shards are a reason to train again, and the current networks are defended."""


class Pipeline(dg.ConfigurableResource["Pipeline"]):
    """One store, filled from one data folder by one recipe.

    Outside of a run the recipe is what its file says now. A run freezes it when its first step begins; all its steps,
    in whatever process, then have the same text. `recipe_digest` names one that was frozen before (`make run`).
    """

    data: str
    recipe_name: str
    store_root: str
    recipe_digest: str = ""
    _frozen: str = PrivateAttr("")

    @classmethod
    def from_environment(cls) -> "Pipeline":
        """The pipeline that `TPS_DATA`, `TPS_RECIPE` and `TPS_STORE` name; the demo's where one is not set."""
        return cls(
            data=environment.text("TPS_DATA", "demo/data"),
            recipe_name=environment.text("TPS_RECIPE", "demo"),
            store_root=environment.text("TPS_STORE", "demo/store"),
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Begin each run, and each step that has its own process, with the run's recipe and free of dead ones."""
        if context.instance and context.run:
            self._frozen = self._of_run(context.instance, context.run.run_id)
            end_with_run(context.instance, context.run.run_id)
            end_dead_runs(context.instance)

    @property
    def data_folder(self) -> Path:
        """The folder in the Kinetics-TPS layout."""
        return Path(self.data)

    @property
    def recipe(self) -> recipes.Recipe:
        """The recipe in force."""
        return recipes.parse(self.recipe_text, recipes.path_of(self.recipe_name))

    @property
    def recipe_text(self) -> str:
        """Its text."""
        digest = self._frozen or self.recipe_digest
        return frozen.text_of(self.store_root, digest) if digest else recipes.read_text(self.recipe_name)

    @property
    def frozen_recipe(self) -> Path:
        """A local file with the recipe of a run."""
        return frozen.intact(self.store, self._frozen or self.recipe_digest)

    def freeze(self) -> "Pipeline":
        """The same with the recipe as it is now, whatever becomes of its file; the text is kept in the store.

        Raises:
            RecipeError: It is not a valid recipe.
        """
        text = self.recipe_text
        recipes.parse(text, recipes.path_of(self.recipe_name))
        digest = frozen.freeze(self.store, text, self.recipe_name)
        return Pipeline(data=self.data, recipe_name=self.recipe_name, store_root=self.store_root, recipe_digest=digest)

    @property
    def store(self) -> Store:
        """The store that results go to."""
        return self.lineage.store

    @property
    def lineage(self) -> Lineage:
        """The store's lineage; one for the process, so that records are read once."""
        return _lineage(self.store_root)

    def shards(self, *splits: str) -> list[str]:
        """The shards of some splits, in the order they were made."""
        return self.lineage.latest().shards(*splits)

    def read(self, output: Output, shard: str | None = None) -> pa.Table:
        """A table as it was recorded, for people; what makes something reads by its `Reader`.

        Raises:
            StoreError: It was never made, or is not what was recorded.
        """
        (version,) = self.lineage.latest().inputs([output.at(shard)])
        return self.store.read(self.store.intact(version))

    def run(self, run_id: str = "local") -> Run:
        """What steps work with, outside of Dagster as well."""
        return Run(
            self.recipe,
            self.data_folder,
            self.lineage,
            recipe_name=self.recipe_name,
            store_name=self.store_root,
            id=run_id,
        )

    def _of_run(self, instance: dg.DagsterInstance, run_id: str) -> str:
        """The digest of a run's recipe; the first of its steps that asks freezes it."""
        with self.store.lock("recipe"):
            run = instance.get_run_by_id(run_id)
            tags = run.tags if run else {}
            if tags.get(FROZEN_IN) == run_id:  # a run that is launched again has its parent's tags, and the file anew
                return tags[RECIPE]
            digest = self.recipe_digest or self.freeze().recipe_digest
            if run:
                instance.add_run_tags(run_id, {RECIPE: digest, FROZEN_IN: run_id})
            return digest


@functools.cache
def _lineage(root: str) -> Lineage:
    return Lineage(Store(root))
