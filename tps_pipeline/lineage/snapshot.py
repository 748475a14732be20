"""The newest record of every output at one moment, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tps_pipeline.errors import StoreError
from tps_pipeline.lineage.records import Input, Record, Work
from tps_pipeline.outputs import SHARDS, WEIGHTS, Key, name_of
from tps_pipeline.recipe import WHOLE
from tps_pipeline.store import Store


@dataclass(frozen=True)
class Snapshot:
    """The newest record of every output at one moment."""

    records: Mapping[Key, Record]
    store: Store

    def shards(self, *splits: str) -> list[str]:
        """The shards of some splits, in the order they were made."""
        known = sorted(partition for asset, partition in self.records if asset == SHARDS.key and partition)
        return [shard for split in splits for shard in known if shard.startswith(f"{split}-")]

    def key_of(self, name: str) -> Key:
        """The output that people write as `frames/train-000` or `leaderboard`.

        Raises:
            StoreError: There is no such output.
        """
        asset, _, partition = name.rpartition("/")
        for key in ((name, None), (asset, partition)):
            if key in self.records:
                return key
        raise StoreError(f"{name} is not in the store; materialize it first")

    def inputs(self, keys: Sequence[Key]) -> tuple[Input, ...]:
        """The versions of some outputs, to be recorded when work on them starts.

        Raises:
            StoreError: One of them was never made.
        """
        missing = [name_of(key) for key in keys if key not in self.records]
        if missing:
            imported = all(name.startswith(WEIGHTS) for name in missing)
            first = "import them first, see `tps weights list`" if imported else "materialize them first"
            raise StoreError(f"not in the store yet: {', '.join(missing)}; {first}")
        return tuple(self.records[key].as_input for key in keys)

    def why_stale(self, work: Work) -> str | None:
        """Why an output would have to be made again, or None if the one in the store is up to date."""
        last = self.records.get(work.key)
        if last is None:
            return "never made"
        if not self.store.exists(last.path):
            return f"{last.path} is gone"
        if last.code_version != work.code_version:
            return f"code version {last.code_version} is now {work.code_version}"
        if last.recipe_digest != work.recipe_digest and not work.means_the_same(last):
            return f"the recipe changed in {', '.join(work.recipe_sections)}".removesuffix(f" in {WHOLE}")
        return _changed_inputs(last.inputs, work.inputs, growth_counts=not work.keeps_when_inputs_grow)


def _changed_inputs(made_from: Sequence[Input], now: Sequence[Input], *, growth_counts: bool) -> str | None:
    """The first difference between the inputs something was made from and those it would be made from now."""
    before = {i.key: i.data_version for i in made_from}
    after = {i.key: i.data_version for i in now}
    for key, version in after.items():
        name = name_of(key)
        if key not in before:
            if growth_counts:
                return f"{name} is new"
        elif before[key] != version:
            return f"{name} changed"
    gone = [key for key in before if key not in after]
    return f"{name_of(gone[0])} is no longer used" if gone else None
