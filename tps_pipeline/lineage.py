"""What came from what: one record a write, kept as Parquet under ``lineage/`` in the store.

A record holds the content version of an output and of every input it was made from, the code's version and the digest
of its part of the recipe. From these alone follow whether an output is up to date, what it descends from, and why it
would be made again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tps_pipeline.errors import StoreError
from tps_pipeline.recipe import Recipe
from tps_pipeline.store import Store, Written
from tps_pipeline.versions import code_version

_INPUT = pa.struct([(name, pa.string()) for name in ("asset", "partition", "data_version", "path")])
_TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("record", pa.string()),
        ("asset", pa.string()),
        ("partition", pa.string()),
        ("run_id", pa.string()),
        ("data_version", pa.string()),
        ("code_version", pa.string()),
        ("recipe_sections", pa.list_(pa.string())),
        ("recipe_digest", pa.string()),
        ("git_sha", pa.string()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("started_at", _TIME),
        ("finished_at", _TIME),
        ("device", pa.string()),
        ("packages", pa.map_(pa.string(), pa.string())),
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("inputs", pa.list_(_INPUT)),
    ]
)

PACKAGES = ("tps-pipeline", "numpy", "pyarrow", "torch", "torchvision", "av", "opencv-python", "scipy")
"""Packages whose version can change a result."""

Key = tuple[str, str | None]
"""An output: its asset and its partition (None where the asset has none)."""


def name_of(key: Key) -> str:
    """An output as people write it: ``frames/train-000``, ``leaderboard``."""
    return "/".join(filter(None, key))


@dataclass(frozen=True)
class Input:
    """One version of something that an output was made from."""

    asset: str
    partition: str | None
    data_version: str
    path: str

    @property
    def key(self) -> Key:
        """Which output this is a version of."""
        return self.asset, self.partition


@dataclass(frozen=True)
class Record:
    """One write."""

    record: str
    asset: str
    partition: str | None
    run_id: str
    data_version: str
    code_version: str
    recipe_sections: tuple[str, ...]
    recipe_digest: str
    git_sha: str | None
    path: str
    rows: int | None
    bytes: int
    started_at: datetime
    finished_at: datetime
    device: str
    packages: dict[str, str]
    metrics: dict[str, float]
    inputs: tuple[Input, ...]

    @property
    def key(self) -> Key:
        """Which output this is a version of."""
        return self.asset, self.partition

    @property
    def as_input(self) -> Input:
        """This version, as what something else is made from."""
        return Input(self.asset, self.partition, self.data_version, self.path)

    @property
    def name(self) -> str:
        """The output as people write it, ``frames/train-000``."""
        return name_of(self.key)

    def to_dict(self) -> dict[str, Any]:
        """The record's fields as plain values."""
        return {**vars(self), "inputs": [vars(i) for i in self.inputs]}


@dataclass(frozen=True)
class Work:
    """One output about to be made: all that decides whether an existing one is up to date."""

    asset: str
    partition: str | None
    inputs: tuple[Input, ...]
    recipe_sections: tuple[str, ...]
    recipe_digest: str
    keeps_when_inputs_grow: bool = False
    """A checkpoint stays when shards are added; it is stale only if what it was made from changed."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> Key:
        """Which output this makes."""
        return self.asset, self.partition

    @property
    def digest(self) -> str:
        """A short hash of inputs, code and recipe: equal digest, equal result."""
        parts = [code_version(self.asset), self.recipe_digest, *sorted(i.data_version for i in self.inputs)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Snapshot:
    """The newest record of every output at one moment."""

    records: Mapping[Key, Record]
    store: Store

    def shards(self, *splits: str) -> list[str]:
        """The shards of some splits, in the order they were made."""
        known = sorted(partition for asset, partition in self.records if asset == "shards" and partition)
        return [shard for split in splits for shard in known if shard.startswith(f"{split}-")]

    def key_of(self, name: str) -> Key:
        """The output that people write as ``frames/train-000`` or ``leaderboard``.

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
            raise StoreError(f"not in the store yet: {', '.join(missing)}; materialize them first")
        return tuple(self.records[key].as_input for key in keys)

    def why_stale(self, work: Work) -> str | None:
        """Why an output would have to be made again, or None if the one in the store is up to date."""
        last = self.records.get(work.key)
        if last is None:
            return "never made"
        if not self.store.exists(last.path):
            return f"{last.path} is gone"
        if last.code_version != code_version(work.asset):
            return f"code version {last.code_version} is now {code_version(work.asset)}"
        if last.recipe_digest != work.recipe_digest:
            return f"the recipe changed in {', '.join(work.recipe_sections)}"
        return _changed_inputs(last.inputs, work.inputs, growth_counts=not work.keeps_when_inputs_grow)


class Lineage:
    """The records of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._read: dict[str, list[Record]] = {}

    def records(self) -> list[Record]:
        """Every record, oldest first."""
        current = {f"lineage/{name}" for name in self.store.names("lineage") if name.endswith(".parquet")}
        self._read = {name: self._read[name] if name in self._read else self._load(name) for name in sorted(current)}
        unique = {record.record: record for records in self._read.values() for record in records}
        return sorted(unique.values(), key=lambda record: (record.finished_at, record.record))

    def latest(self) -> Snapshot:
        """The newest record of every output, as of now."""
        return Snapshot({record.key: record for record in self.records()}, self.store)

    def record(
        self,
        work: Work,
        written: Written,
        *,
        run_id: str,
        device: str = "cpu",
        metrics: Mapping[str, float] | None = None,
    ) -> Record:
        """Record a write that has just happened."""
        record = Record(
            record=uuid.uuid4().hex,
            asset=work.asset,
            partition=work.partition,
            run_id=run_id,
            data_version=written.data_version,
            code_version=code_version(work.asset),
            recipe_sections=work.recipe_sections,
            recipe_digest=work.recipe_digest,
            git_sha=_git_sha(),
            path=written.path,
            rows=written.rows,
            bytes=written.bytes,
            started_at=work.started_at,
            finished_at=datetime.now(UTC),
            device=f"{device} ({platform.machine()})",
            packages=_packages(),
            metrics=dict(metrics or {}),
            inputs=work.inputs,
        )
        self._save([record])
        return record

    def compact(self) -> int:
        """Merge all record files into one; readers meanwhile see every record once.

        Returns:
            How many files were merged.
        """
        records = self.records()
        old = list(self._read)
        if len(old) > 1:
            self._save(records)
            for name in old:
                self.store.remove(name)
        return len(old)

    def trace(self, key: Key) -> Iterator[tuple[int, Record]]:
        """Walk an output back to what everything began with, depth first.

        Yields:
            The depth (0 for the output itself) and the record of the very version that was used; each version once.

        Raises:
            StoreError: The output was never made.
        """
        by_version = {(*record.key, record.data_version): record for record in self.records()}
        (newest,) = self.latest().inputs([key])
        start = by_version[*key, newest.data_version]
        seen: set[str] = set()
        stack = [(0, start)]
        while stack:
            depth, record = stack.pop()
            if record.record in seen:
                continue
            seen.add(record.record)
            yield depth, record
            parents = [by_version.get((*i.key, i.data_version)) for i in record.inputs]
            stack.extend((depth + 1, parent) for parent in reversed(parents) if parent is not None)

    def stale(self, recipe: Recipe | None = None) -> Iterator[tuple[str, str]]:
        """What a run would make again, and why, as far as the records tell.

        Args:
            recipe: The recipe to compare with; None leaves recipe changes out.

        Yields:
            The output's name and the reason; what depends on a stale output is listed after it.
        """
        latest = self.latest()
        reasons: dict[Key, str] = dict.fromkeys(_missing_partitions(latest), "never made")
        for key, record in latest.records.items():
            inputs = tuple(latest.records[i.key].as_input if i.key in latest.records else i for i in record.inputs)
            digest = recipe.digest_of(record.recipe_sections) if recipe else record.recipe_digest
            work = Work(record.asset, record.partition, inputs, record.recipe_sections, digest)
            if reason := latest.why_stale(work):
                reasons[key] = reason
        grown = True
        while grown:
            grown = False
            for key, record in latest.records.items():
                cause = next((i for i in record.inputs if i.key in reasons), None)
                if key not in reasons and cause is not None:
                    reasons[key] = f"{name_of(cause.key)} is stale"
                    grown = True
        for key, reason in reasons.items():
            yield name_of(key), reason

    def _load(self, name: str) -> list[Record]:
        return [_from_row(row) for row in self.store.read(name).to_pylist()]

    def _save(self, records: Sequence[Record]) -> None:
        rows = [{**vars(r), "inputs": [vars(i) for i in r.inputs], "packages": list(r.packages.items()),
                 "metrics": list(r.metrics.items())} for r in records]  # fmt: skip
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.store.write(f"lineage/{stamp}-{uuid.uuid4().hex[:8]}.parquet", pa.Table.from_pylist(rows, schema=SCHEMA))


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


def _missing_partitions(latest: Snapshot) -> Iterator[Key]:
    """Shards that an asset has for its split, except for some."""
    made: dict[str, set[str]] = {}
    for asset, partition in latest.records:
        if partition:
            made.setdefault(asset, set()).add(partition)
    for asset, partitions in made.items():
        splits = sorted({partition.partition("-")[0] for partition in partitions})
        yield from ((asset, shard) for shard in latest.shards(*splits) if shard not in partitions)


def _from_row(row: dict[str, Any]) -> Record:
    values = {**row, "inputs": tuple(Input(**i) for i in row["inputs"])}
    values["recipe_sections"] = tuple(row["recipe_sections"])
    return Record(**{**values, "packages": dict(row["packages"]), "metrics": dict(row["metrics"])})


@functools.cache
def _packages() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _git_sha() -> str | None:
    """The checkout's commit, with ``+`` if files differ from it; None outside a checkout."""
    git = functools.partial(subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    try:
        sha = git(["git", "rev-parse", "HEAD"]).stdout
        changed = git(["git", "status", "--porcelain", "-uno"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return sha.strip() + ("+" if changed else "")
