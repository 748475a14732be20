"""What every asset works with: the data folder, the recipe and the store."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from assets.dead_runs import end_dead_runs, end_with_run
from tps_pipeline import recipe as recipes
from tps_pipeline import tables
from tps_pipeline.lineage import Lineage
from tps_pipeline.methods import Sources
from tps_pipeline.store import Store, table_path

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile

SPLITS = ("train", "val", "test")


class Pipeline(dg.ConfigurableResource):
    """One store, filled from one data folder by one recipe."""

    data: str
    recipe_name: str
    store_root: str

    @classmethod
    def from_environment(cls) -> "Pipeline":
        """The pipeline that `TPS_DATA`, `TPS_RECIPE` and `TPS_STORE` name; the demo's without them."""
        return cls(
            data=os.environ.get("TPS_DATA", "demo/data"),
            recipe_name=os.environ.get("TPS_RECIPE", "demo"),
            store_root=os.environ.get("TPS_STORE", "demo/store"),
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Begin each run, and each step that has a process of its own, free of what killed ones have left."""
        if context.instance and context.run:
            end_with_run(context.instance, context.run.run_id)
            end_dead_runs(context.instance)

    @property
    def data_folder(self) -> Path:
        """The folder in the Kinetics-TPS layout."""
        return Path(self.data)

    @property
    def recipe(self) -> recipes.Recipe:
        """The recipe in force."""
        return recipes.load(self.recipe_name)

    @property
    def store(self) -> Store:
        """The store that results go to."""
        return self.lineage.store

    @property
    def lineage(self) -> Lineage:
        """The store's lineage; one for the process, so that records are read once."""
        return _lineage(self.store_root)

    def read(self, asset: str, shard: str | None = None) -> pa.Table:
        """An asset's table, of one shard or whole."""
        return self.store.read(table_path(asset, shard))

    def read_splits(self, asset: str, splits: tuple[str, ...], schema: pa.Schema) -> pa.Table:
        """A table over all shards of some splits that have it."""
        return self.store.read_all([table_path(asset, shard) for shard in self.shards(*splits)], schema)

    def scored(self, names: Iterable[str], *splits: str) -> pa.Table:
        """The scores of methods and ensembles on some splits (`tables.PSC`)."""
        of_each = [self.read_splits(f"psc/{name}", splits, tables.PSC) for name in names]
        return pa.concat_tables(of_each).unify_dictionaries()

    def frame_index(self, split: str) -> pa.Table:
        """Which frames of a split were extracted."""
        columns = [column for column in tables.FRAMES if column.name != "jpeg"]
        none = pa.schema(columns).empty_table()
        return pa.concat_tables(
            [none, *(self.frames(shard).index for shard in self.shards(split))]
        ).unify_dictionaries()

    def sources(self, *shards: str) -> Sources:
        """What a method reads from, over some shards."""
        latest = self.lineage.latest()

        def table(asset: str) -> pa.Table:
            if (asset, None) in latest.records:
                return self.read(asset)
            # Without a shard (no validation videos, say) a shard of another split still tells the columns.
            of_shards = [self.read(asset, shard) for shard in shards] or [
                self.read(asset, shard).slice(0, 0) for shard in latest.shards(*SPLITS)[:1]
            ]
            return pa.concat_tables(of_shards).unify_dictionaries()

        return Sources(table, lambda: [self.frames(shard) for shard in shards], self.data_folder)

    def shards(self, *splits: str) -> list[str]:
        """The shards of some splits, in the order they were made."""
        return self.lineage.latest().shards(*splits)

    def frames(self, shard: str) -> "FrameFile":
        """A shard's extracted frames, memory-mapped."""
        from tps_pipeline.video.frames import FrameFile

        return FrameFile(self.store.local(table_path("frames", shard, ".arrow")))

    def checkpoint(self, name: str) -> Path:
        """A local folder with the newest checkpoint of a network."""
        (latest,) = self.lineage.latest().inputs([(f"checkpoints/{name}", None)])
        return self.store.local(latest.path)


@functools.cache
def _lineage(root: str) -> Lineage:
    return Lineage(Store(root))
