"""All records of one store: written, read, merged, and asked what came from what."""

from __future__ import annotations

import bisect
import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tps_pipeline import device as devices
from tps_pipeline.cpu import collection_paused
from tps_pipeline.errors import StoreError, TpsError
from tps_pipeline.lineage import openlineage_events
from tps_pipeline.lineage.records import TIMES, Order, Record, Work, from_row, git_sha, packages, to_table
from tps_pipeline.lineage.snapshot import Snapshot
from tps_pipeline.outputs import Key, name_of
from tps_pipeline.store import Store, Written, parquet

_DIGEST = hashlib.sha256().digest_size * 2

Place = tuple[Order, "_File", int]
"""Where a record is: its order, its file and row there."""


class Lineage:
    """The records of one store.

    Files are read once; a record becomes a Python object when somebody asks for it, so that questions about a few
    outputs stay quick among a hundred thousand records.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[str, _File] = {}
        self._places: dict[str, Place] = {}
        self._newest: dict[Key, Place] = {}
        self._made: dict[tuple[str, str | None, str], list[Place]] | None = None

    def records(self) -> list[Record]:
        """Every record, oldest first."""
        self._refresh()
        return [file.record(row) for _, file, row in sorted(self._places.values(), key=_order)]

    def latest(self) -> Snapshot:
        """The newest record of every output, as of now."""
        self._refresh()
        return Snapshot(_Records(dict(self._newest)), self.store)

    def record(
        self,
        work: Work,
        written: Written,
        *,
        run_id: str,
        device: str = devices.CPU,
        metrics: Mapping[str, float] | None = None,
    ) -> Record:
        """Record a write that has just happened.

        Records are numbered in their order under the store's lock: clocks are set back, and differ between machines.

        Args:
            work: What was made, of what.
            written: Where it is now.
            run_id: In which run.
            device: What computed it (`tps_pipeline.device`).
            metrics: Figures about it.
        """
        record = Record(
            record=uuid.uuid4().hex,
            asset=work.asset,
            partition=work.partition,
            run_id=run_id,
            data_version=written.data_version,
            code_version=work.code_version,
            recipe_sections=work.recipe_sections,
            recipe_digest=work.recipe_digest,
            git_sha=git_sha(),
            path=written.path,
            rows=written.rows,
            bytes=written.bytes,
            started_at=work.started_at,
            finished_at=max(work.started_at, datetime.now(UTC)),
            device=device,
            packages=packages(),
            metrics=dict(metrics or {}),
            inputs=work.inputs,
        )
        with self.store.lock("lineage"):
            self._refresh()
            last, *_ = max((order for order, _, _ in self._newest.values()), default=(0,))
            record = replace(record, sequence=last + 1)
            self._save(to_table([record]))
        openlineage_events.send(record, self.store.fs.unstrip_protocol(self.store.root))
        return record

    def compact(self) -> int:
        """Merge all record files into one; whoever reads or merges meanwhile sees every record once.

        Returns:
            How many files were merged.
        """
        self._refresh()
        old = list(self._files)
        if len(old) > 1:
            self._save(to_table(self.records()))
            for name in old:
                self.store.remove(f"lineage/{name}", missing_ok=True)
        return len(old)

    def trace(self, key: Key, version: str | None = None) -> Iterator[tuple[int, Record]]:
        """Walk an output back to what everything began with, depth first.

        Args:
            key: The output.
            version: Its data version, or the beginning of it; the newest without.

        Yields:
            The depth (0 for the output itself) and the record of the very version that was used; each version once.

        Raises:
            StoreError: The output, or this version of it, was never made.
        """
        self._refresh()
        made = self._by_version()
        seen: set[str] = set()
        stack = [(0, self._start(key, version))]
        while stack:
            depth, record = stack.pop()
            if record.record in seen:
                continue
            seen.add(record.record)
            yield depth, record
            for i in reversed(record.inputs):
                places = made.get((i.asset, i.partition, i.data_version))
                if places:  # of writes of equal content the last one before this
                    places.sort(key=_order)
                    after = bisect.bisect_right(places, record.could_read, key=_order)
                    _, file, row = places[max(0, after - 1)]
                    stack.append((depth + 1, file.record(row)))

    def versions(self, key: Key) -> list[Record]:
        """An output's records, newest first; of successive writes of equal content the first.

        Raises:
            StoreError: The output was never made.
        """
        self._refresh()
        self.latest().inputs([key])
        places = sorted((place for place in self._places.values() if place[1].keys[place[2]] == key), key=_order)
        made = [file.record(row) for _, file, row in places]
        changed = [r for before, r in zip([None, *made], made, strict=False) if not _same(before, r)]
        return changed[::-1]

    def version_before(self, key: Key, version: str | None = None) -> str:
        """The data version that an output had before a version of it (the newest without).

        Raises:
            StoreError: There was none before.
        """
        made = [record.data_version for record in self.versions(key)]
        at = next((i for i, known in enumerate(made) if known.startswith(version or "")), len(made))
        if at + 1 >= len(made):
            raise StoreError(f"{name_of(key)} has one version only; name another store to compare with")
        return made[at + 1]

    def _start(self, key: Key, version: str | None) -> Record:
        if version is None:
            self.latest().inputs([key])
            return self.latest().records[key]
        for record in self.versions(key):
            if record.data_version.startswith(version):
                return record
        known = ", ".join(record.data_version[:12] for record in self.versions(key))
        raise StoreError(f"{name_of(key)} has no version {version}; versions: {known}")

    def _by_version(self) -> dict[tuple[str, str | None, str], list[Place]]:
        """Where each version of each output was recorded."""
        if self._made is None:
            made: dict[tuple[str, str | None, str], list[Place]] = defaultdict(list)
            with collection_paused():
                for place in self._places.values():
                    _, file, row = place
                    made[*file.keys[row], file.data_versions[row]].append(place)
            self._made = dict(made)
        return self._made

    def _refresh(self) -> None:
        """Take up what others have written, and forget what is no longer there."""
        names = {name for name in self.store.names("lineage") if name.endswith(".parquet")}
        if self._files.keys() != names:
            self._made = None
        if self._files.keys() - names:
            self._places, self._newest = {}, {}
            self._files = {name: file for name, file in self._files.items() if name in names}
            for file in self._files.values():
                self._index(file)
        for name in sorted(names - self._files.keys()):
            try:
                with collection_paused():
                    file = self._read(f"lineage/{name}")
            except TpsError:
                if self.store.exists(f"lineage/{name}"):
                    raise
                return self._refresh()  # merged into another file meanwhile
            self._files[name] = file
            with collection_paused():
                self._index(file)
        return None

    def _index(self, file: _File) -> None:
        for row, (order, key) in enumerate(zip(file.orders, file.keys, strict=True)):
            *_, record = order
            if record in self._places:
                continue
            place = self._places[record] = (order, file, row)
            if key not in self._newest or _order(self._newest[key]) < _order(place):
                self._newest[key] = place

    def _read(self, path: str) -> _File:
        digest = path.rpartition("-")[2].removesuffix(".parquet")
        if len(digest) == _DIGEST:  # before version 0.4 names did not have it
            self.store.verify(path, digest)
        try:
            return _File(self.store.read(path))
        except KeyError as error:
            what = f"{self.store.full(path)} holds no records ({error}): delete it and run again"
            raise StoreError(f"{what}; what it should tell of is found or made again") from error

    def _save(self, table: pa.Table) -> None:
        """Write a file of records, which nothing else has the version of: its name has."""
        stamp, content = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f"), parquet(table)
        self.store.write_bytes(f"lineage/{stamp}-{hashlib.sha256(content).hexdigest()}.parquet", content)


_TOGETHER = 32
"""Rows that are made Python objects at once: a run's are neighbours, and each call costs as much as many rows."""


class _File:
    """One file's records; columns that say which is which as Python lists, the rest as they were read."""

    def __init__(self, table: pa.Table) -> None:
        if "sequence" not in table.column_names:  # before version 0.3
            table = table.append_column("sequence", pa.nulls(table.num_rows, pa.int64()))
        for name in TIMES:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].cast(pa.int64()))
        names = ("record", "asset", "partition", "sequence")
        columns: dict[str, Any] = {name: table[name].to_pylist() for name in names}
        times: list[Any] = table["finished_at"].to_pylist()
        placed = zip(columns["sequence"], times, columns["record"], strict=True)
        self.orders: list[Order] = [(number or 0, time, record) for number, time, record in placed]
        self.keys: list[Key] = list(zip(columns["asset"], columns["partition"], strict=True))
        self.data_versions: list[Any] = table["data_version"].to_pylist()
        self._table = table
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._made: dict[int, Record] = {}

    def record(self, row: int) -> Record:
        if row not in self._made:
            start = row - row % _TOGETHER
            if start not in self._rows:
                self._rows[start] = self._table.slice(start, _TOGETHER).to_pylist()
            self._made[row] = from_row(self._rows[start][row - start])
        return self._made[row]


class _Records(Mapping[Key, Record]):
    """Records by their output, each made when it is asked for."""

    def __init__(self, places: dict[Key, Place]) -> None:
        self._places = places

    def __getitem__(self, key: Key) -> Record:
        _, file, row = self._places[key]
        return file.record(row)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[Key]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _order(place: Place) -> Order:
    return place[0]


def _same(before: Record | None, after: Record) -> bool:
    return before is not None and before.data_version == after.data_version
