"""A record: one write, and all that decides whether it would be made again."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tps_pipeline.outputs import Key, name_of

_INPUT = pa.struct([(name, pa.string()) for name in ("asset", "partition", "data_version", "path")])
TIMES = ("started_at", "finished_at")
"""The columns of `SCHEMA` that are moments."""

_EPOCH, _TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
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
        ("sequence", pa.int64()),
    ]
)
"""A column for each field of `Record`."""

Order = tuple[int, int, str]
"""Of records of one store; newer ones are greater. Those without a number (before version 0.3) come first, by time."""

PACKAGES = ("tps-pipeline", "numpy", "pyarrow", "torch", "torchvision", "av", "opencv-python", "scipy")
"""Packages whose version can change a result."""


@dataclass(frozen=True)
class Input:
    """One version of something that an output was made from."""

    asset: str
    """The output's name without its shard."""
    partition: str | None
    """Its shard; None if it has none."""
    data_version: str
    """SHA-256 of its content."""
    path: str
    """Relative to the store's root."""

    @property
    def key(self) -> Key:
        """Which output this is a version of."""
        return self.asset, self.partition


@dataclass(frozen=True)
class Record:
    """One write."""

    record: str
    """Its own identifier."""
    asset: str
    """The output's name without its shard."""
    partition: str | None
    """Its shard; None if it has none."""
    run_id: str
    """The run that wrote it."""
    data_version: str
    """SHA-256 of its content."""
    code_version: str
    """Of the code that made it."""
    recipe_sections: tuple[str, ...]
    """The sections of the recipe that it depends on."""
    recipe_digest: str
    """A hash of what these sections say."""
    git_sha: str | None
    """The commit of the code; None outside a checkout."""
    path: str
    """Relative to the store's root."""
    rows: int | None
    """Of a table; None for other files."""
    bytes: int
    """Its size."""
    started_at: datetime
    """When the work on it began (UTC)."""
    finished_at: datetime
    """When it was in the store (UTC)."""
    device: str
    """What it was computed on."""
    packages: dict[str, str]
    """Versions of `PACKAGES`, by name."""
    metrics: dict[str, float]
    """Figures that were measured while it was made, by name."""
    inputs: tuple[Input, ...]
    """What it was made from."""
    sequence: int | None = None
    """Its number among the store's records, in the order in which they were written; None before version 0.3."""

    @property
    def key(self) -> Key:
        """Which output this is a version of."""
        return self.asset, self.partition

    @property
    def order(self) -> Order:
        """Its place among the store's records: number, time (µs), identifier."""
        return self.sequence or 0, (self.finished_at - _EPOCH) // _TICK, self.record

    @property
    def could_read(self) -> Order:
        """The place of the last record that it may have been made from: without numbers, before its work began."""
        return self.order if self.sequence else (0, (self.started_at - _EPOCH) // _TICK, "~")

    @property
    def as_input(self) -> Input:
        """This version, as what something else is made from."""
        return Input(self.asset, self.partition, self.data_version, self.path)

    @property
    def name(self) -> str:
        """The output as people write it, `frames/train-000`."""
        return name_of(self.key)

    def to_dict(self) -> dict[str, Any]:
        """The record's fields as plain values."""
        return {**vars(self), "inputs": [vars(i) for i in self.inputs]}


def _never(_: Record) -> bool:
    return False


@dataclass(frozen=True)
class Work:
    """One output about to be made: all that decides whether an existing one is up to date."""

    asset: str
    """The output's name without its shard."""
    partition: str | None
    """Its shard; None if it has none."""
    inputs: tuple[Input, ...]
    """What it is made from."""
    recipe_sections: tuple[str, ...]
    """The sections of the recipe that it depends on."""
    recipe_digest: str
    """A hash of what these sections say."""
    code_version: str = "1"
    """Of the code that makes it: bumped when results differ."""
    keeps_when_inputs_grow: bool = False
    """A checkpoint stays when shards are added; it is stale only if what it was made from changed."""
    means_the_same: Callable[[Record], bool] = _never
    """Whether a record was made with these settings though its digest is another (version 0.1 wrote others)."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the work began (UTC)."""

    @property
    def key(self) -> Key:
        """Which output this makes."""
        return self.asset, self.partition

    @property
    def digest(self) -> str:
        """A short hash of inputs, code and recipe: equal digest, equal result."""
        parts = [self.code_version, self.recipe_digest, *sorted(i.data_version for i in self.inputs)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def to_table(records: Sequence[Record]) -> pa.Table:
    """Records as rows of `SCHEMA`."""
    rows = [{**r.to_dict(), "packages": list(r.packages.items()), "metrics": list(r.metrics.items())} for r in records]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def from_row(row: dict[str, Any]) -> Record:
    """One row of `SCHEMA` as a record; times are microseconds of 1970's, of which Arrow would make pandas' first."""
    values: dict[str, Any] = {**row, "inputs": tuple(Input(**i) for i in row["inputs"])}
    values |= {name: _EPOCH + row[name] * _TICK for name in TIMES}
    values["recipe_sections"] = tuple(row["recipe_sections"])
    values |= {"packages": dict(row["packages"]), "metrics": dict(row["metrics"])}
    return Record(**values)


@functools.cache
def packages() -> dict[str, str]:
    """The installed versions of `PACKAGES`."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def git_sha() -> str | None:
    """The checkout's commit, with `+` if files differ from it; outside of one `TPS_COMMIT` (images), or None."""
    git = functools.partial(subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    try:
        sha = git(["git", "rev-parse", "HEAD"]).stdout
        changed = git(["git", "status", "--porcelain", "-uno"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("TPS_COMMIT") or None
    return sha.strip() + ("+" if changed else "")
