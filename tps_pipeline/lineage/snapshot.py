"""The newest record of every output at one moment, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from tps_pipeline.errors import StoreError
from tps_pipeline.lineage.records import Input, Record, Work
from tps_pipeline.outputs import (
    CHECKS,
    REMOVED,
    SHARDS,
    TRACKS,
    TWO_STAGE,
    WAYS,
    WEIGHTS,
    Key,
    Output,
    allowance,
    name_of,
)
from tps_pipeline.recipe import WHOLE
from tps_pipeline.store import Store


@dataclass(frozen=True)
class Snapshot:
    """The newest record of every output at one moment."""

    records: Mapping[Key, Record]
    """By output and shard."""
    store: Store
    """Where the records were read."""

    def shards(self, *splits: str) -> list[str]:
        """The shards of some splits, in the order they were made, without those that were taken out."""
        known = sorted(p for a, p in self.records if a == SHARDS.key and p and p not in self.removals)
        return [shard for split in splits for shard in known if shard.startswith(f"{split}-")]

    def of(self, asset: str) -> dict[str, Record]:
        """The records of an output that has shards, by shard."""
        return {p: self.records[a, p] for a, p in self.records if a == asset and p}

    def detections(self, shard: str) -> Output:
        """The detections that a shard's tracks are of, and its methods' states."""
        tracks = self.records.get(TRACKS.at(shard))
        read = {each.asset for each in tracks.inputs} if tracks else set[str]()
        return next((way for way in WAYS.values() if way.key in read), TWO_STAGE)

    @cached_property
    def removals(self) -> list[str]:
        """The shards that were taken out, and not put in again."""
        out, made = self.of(REMOVED.key), self.of(SHARDS.key)
        return [s for s in out if s in made and out[s].rows and out[s].order > made[s].order]

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
        changed = _changed_inputs(last.inputs, work.inputs, growth_counts=not work.keeps_when_inputs_grow)
        if changed is None and (verdict := self.failed(work.key)):
            return self.refusal(verdict)
        return changed

    def failed(self, key: Key) -> Record | None:
        """The verdict of a blocking check that an output, as it is now, has failed, unless somebody has allowed it."""
        asset, _ = key
        for place in dict.fromkeys([key, (asset, None)]):  # of shards together there is one verdict, too
            for verdict in map(self.records.__getitem__, self._verdicts.get(place, ())):
                if self.forbids(verdict) and (place == key or key in {i.key for i in verdict.inputs}):
                    return verdict
        return None

    def forbids(self, verdict: Record) -> bool:
        """Whether a verdict is about what there is now, and nothing may be built on that."""
        asset = _judged(verdict.asset)
        about = [i for i in verdict.inputs if i.asset == asset]
        allowed = self.records.get(allowance(asset).at(verdict.partition))
        return (
            bool(verdict.rows and verdict.metrics["blocking"])
            and all(self._is_now(i) for i in about)
            and not (allowed and {verdict.as_input, *about} <= set(allowed.inputs))
        )

    def refusals(self) -> list[str]:
        """What of all that there is must not be read, and why."""
        verdicts = [self.records[key] for keys in self._verdicts.values() for key in keys]
        return [self.refusal(verdict) for verdict in verdicts if self.forbids(verdict)]

    def refusal(self, verdict: Record) -> str:
        """What failed which check, what was found, and what to do, in one line."""
        asset, _, check = verdict.asset.removeprefix(CHECKS).rpartition("/")
        name = name_of((asset, verdict.partition))
        try:
            first, *more = map(str, self.store.read(self.store.intact(verdict))["problem"].to_pylist())
            found = first + (f" (and {len(more)} more)" if more else "")
        except StoreError as error:  # it has failed, whatever it was; its check looks again
            found = str(error)
        fix = "mend what is named and run again, `tps store remove` its video"
        return f"{name} failed {check}: {found}; {fix}, or `tps store allow {name}` as it is"

    def _is_now(self, version: Input) -> bool:
        """Whether a version of something is the newest."""
        now = self.records.get(version.key)
        return now is not None and now.data_version == version.data_version

    @cached_property
    def _verdicts(self) -> dict[Key, list[Key]]:
        """The verdicts that there are on each output."""
        found: dict[Key, list[Key]] = {}
        for key in self.records:
            if about := _judged(key[0]):
                found.setdefault((about, key[1]), []).append(key)
        return found


@cache  # asked of every record there is, after each that is made
def _judged(asset: str) -> str:
    """The output that a verdict is about; nothing of what is no verdict."""
    return asset.removeprefix(CHECKS).rpartition("/")[0] if asset.startswith(CHECKS) else ""


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
