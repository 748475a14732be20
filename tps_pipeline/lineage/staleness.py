"""What a run would make again, and why, as far as the records tell."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from tps_pipeline.lineage.records import Input, Key, Record, Work, name_of
from tps_pipeline.lineage.snapshot import Snapshot
from tps_pipeline.recipe import Recipe

KEPT = "checkpoints/"
"""Assets under this key stay when shards are added."""


def stale(latest: Snapshot, recipe: Recipe | None = None) -> Iterator[tuple[str, str]]:
    """List what a run would make again.

    Args:
        latest: The newest records.
        recipe: The recipe to compare with; None leaves recipe changes out.

    Yields:
        The output's name and the reason; what depends on a stale output is listed after it.
    """
    digest_of = functools.cache(recipe.digest_of) if recipe else None
    made = {key: record for key, record in latest.records.items() if not key[0].startswith("candidates/")}
    reasons: dict[Key, str] = dict.fromkeys(_missing_shards(latest), "never made")
    splits = _Splits(latest)
    reads = {key: splits.inputs(record) for key, record in made.items()}
    for key, record in made.items():
        now = tuple(made[i.key].as_input if i.key in made else i for i in reads[key])
        digest = digest_of(record.recipe_sections) if digest_of else record.recipe_digest
        work = Work(record.asset, record.partition, now, record.recipe_sections, digest, _keeps(key))
        if reason := latest.why_stale(work):
            reasons[key] = reason
    read_by: dict[Key, list[Key]] = {}
    for key, inputs in reads.items():
        for i in inputs:
            read_by.setdefault(i.key, []).append(key)
    yield from ((name_of(key), reason) for key, reason in reasons.items())
    todo = list(reasons)
    while todo:
        cause = todo.pop(0)
        for key in read_by.get(cause, ()):
            if key not in reasons:
                reasons[key] = f"{name_of(cause)} is stale"
                yield name_of(key), reasons[key]
                todo.append(key)


class _Splits:
    """What an output would read now: over whole splits it reads new shards, too."""

    def __init__(self, latest: Snapshot) -> None:
        self._latest = latest
        self._shards = functools.cache(latest.shards)

    def inputs(self, record: Record) -> tuple[Input, ...]:
        if record.partition or _keeps(record.key):
            return record.inputs
        read = {i.key for i in record.inputs}
        splits = {(i.asset, i.partition.partition("-")[0]): i for i in record.inputs if i.partition}
        new = ((asset, shard) for asset, split in splits for shard in self._shards(split))
        return (*record.inputs, *(Input(*key, "", "") for key in new if key not in read))


def _keeps(key: Key) -> bool:
    return key[0].startswith(KEPT)


def _missing_shards(latest: Snapshot) -> Iterator[Key]:
    """Shards that an asset has for its split, except for some."""
    made: dict[str, set[str]] = {}
    for asset, partition in latest.records:
        if partition:
            made.setdefault(asset, set()).add(partition)
    for asset, partitions in made.items():
        splits = sorted({partition.partition("-")[0] for partition in partitions})
        yield from ((asset, shard) for shard in latest.shards(*splits) if shard not in partitions)
