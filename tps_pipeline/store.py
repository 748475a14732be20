"""Where results live: `<root>/<asset key>/<partition>.parquet`, each file whole or not there at all.

The root is a folder or any fsspec URL. Tables are readable with pandas alone. On a disk, writes go to a temporary name
beside their place and are renamed; an object store shows an object when all of it is there, so it is written in place.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from tps_pipeline import lease
from tps_pipeline.errors import StoreError
from tps_pipeline.plain_file import unreachable
from tps_pipeline.whole_file import move_whole


@dataclass(frozen=True)
class Written:
    """A file that is now in the store."""

    path: str
    """Relative to the store's root."""
    data_version: str
    """SHA-256 of its content: equal content, equal version."""
    bytes: int
    """Its size."""
    rows: int | None = None
    """Of a table; None for other files."""


class Version(Protocol):
    """Something that was written, as its record or who reads it names it."""

    @property
    def path(self) -> str:
        """Relative to the store's root."""
        ...

    @property
    def data_version(self) -> str:
        """SHA-256 of its content."""
        ...


class Store:
    """Reads and writes the files of one store."""

    def __init__(self, root: str | Path) -> None:
        # Other processes write as well: a listing is only true when it is made.
        self.fs: Any
        if not str(root).strip():
            raise StoreError("the store's name is empty; name a folder or a URL")
        if "://" in str(root):
            self.fs, self.root = fsspec.core.url_to_fs(str(root), use_listings_cache=False)
        else:  # a folder, also where its name holds "::", with which fsspec joins URLs
            self.fs, self.root = LocalFileSystem(use_listings_cache=False), str(Path(root).expanduser().absolute())
        self.root = self.root.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether files can be opened by their path, memory-mapped for instance."""
        return isinstance(self.fs, LocalFileSystem)

    def full(self, path: str) -> str:
        """A relative path's place on the file system."""
        return f"{self.root}/{path}"

    def exists(self, path: str) -> bool:
        """Whether a relative path is there."""
        return self.fs.exists(self.full(path))

    def names(self, folder: str) -> list[str]:
        """The names in a folder, finished files only; none if it is not there."""
        try:
            listed = self.fs.ls(self.full(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(n for n in (path.rpartition("/")[2] for path in listed) if not n.startswith("."))

    def remove(self, path: str, *, missing_ok: bool = False) -> None:
        """Delete a file."""
        try:
            self.fs.rm(self.full(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def read(self, path: str, *, columns: list[str] | None = None) -> pa.Table:
        """Read one table.

        Raises:
            StoreError: It is not there, or is not a Parquet file.
            UnreachableError: The disk does not let it be read.
        """
        try:
            # No thread may hold what is Python's: one that lets go of it while the interpreter ends aborts the process
            # (on a busy machine half of all short ones; apache/arrow 34314). `pre_buffer` reads in a thread of its own.
            content = pa.BufferReader(self.fs.cat_file(self.full(path)))
            file = pq.ParquetFile(content, pre_buffer=False)
            return file.read(columns=columns, use_threads=False)
        except FileNotFoundError as error:
            raise StoreError(f"{self.full(path)} is not in the store; materialize it first") from error
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # pyarrow's, of damaged content, has no number
                raise unreachable(self.full(path), error) from error
            what = next(iter(str(error).splitlines()), "")
            raise StoreError(f"{self.full(path)} is damaged ({what}); delete it and materialize it again") from error

    def head(self, path: str, rows: int) -> pa.Table:
        """The first rows of a table, without reading the others."""
        with self.fs.open(self.full(path), "rb") as file:
            table = pq.ParquetFile(file, pre_buffer=False)  # as in `read`
            return pa.Table.from_batches(
                itertools.islice(table.iter_batches(rows, use_threads=False), 1), table.schema_arrow
            )

    def read_all(self, paths: Iterable[str], schema: pa.Schema) -> pa.Table:
        """Read tables of one schema into one; no paths give an empty table."""
        tables = [self.read(path).cast(schema) for path in paths]
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

    def write(self, path: str, table: pa.Table) -> Written:
        """Write one table; an existing file is replaced in one step."""
        content = parquet(table)
        self._replace(path, content)
        return Written(path, hashlib.sha256(content).hexdigest(), len(content), table.num_rows)

    def write_bytes(self, path: str, content: bytes | pa.Buffer) -> Written:
        """Write a file that is no table."""
        self._replace(path, content)
        return Written(path, hashlib.sha256(content).hexdigest(), len(content))

    def keep(self, local: Path, path: str, *, unversioned: Collection[str] = ()) -> Written:
        """Move a finished local file or folder into the store.

        Args:
            local: The file or folder; it is gone afterwards.
            path: Where it goes; what is there is replaced whole.
            unversioned: Names in a folder that its version does not cover (logs). The version covers all other files'
                names and content.
        """
        version = _version(_hashes(local), unversioned)
        size = sum(file.stat().st_size for file in _files(local))
        self._place(local, path) if self.is_local else self._upload(local, path)
        return Written(path, version, size)

    def verify(self, path: str, data_version: str, *, unversioned: Collection[str] = ()) -> None:
        """Make sure that a stored file or folder is what was recorded when it was written.

        A process hashes each once, and again where size, time or place of a file in it differ from then. An object
        store keeps its objects whole by itself: nothing is done there, nor with `TPS_VERIFY=off` in the environment
        (stores of terabytes).

        Args:
            path: Relative to the store's root.
            data_version: The recorded one.
            unversioned: As of `keep`.

        Raises:
            StoreError: It is not there, or is other than recorded.
            UnreachableError: The disk does not let it be read.
        """
        if not self.is_local or os.environ.get("TPS_VERIFY") == "off":
            return
        local = self.local(path)
        try:
            state = tuple((s.st_size, s.st_mtime_ns, s.st_ino) for s in (file.stat() for file in _files(local)))
            if _verified.get((str(local), data_version)) == state:
                return
            hashes = _hashes(local)
        except OSError as error:
            raise unreachable(local, error) from error
        same = {_version(hashes, unversioned), _version(hashes, ()), *(hashes.values() if not local.is_dir() else ())}
        if data_version not in same:
            raise StoreError(
                f"{local} is not what was recorded (damaged, or changed by hand): put it back as it was, or delete it "
                "and run again: what a step made is made again; `tps store check` looks at everything"
            )
        _verified[str(local), data_version] = state

    def intact(self, version: Version, *, unversioned: Collection[str] = ()) -> str:
        """The path of a recorded version, found to be what was recorded; see `verify`.

        Raises:
            StoreError: It is not there, or is other than recorded.
        """
        self.verify(version.path, version.data_version, unversioned=unversioned)
        return version.path

    def local(self, path: str) -> Path:
        """A local path with a stored file's or folder's content; fetched into a cache if the store is remote.

        Raises:
            StoreError: It is not there.
        """
        if not self.exists(path):
            raise StoreError(f"{self.full(path)} is not in the store; materialize it first")
        if self.is_local:
            return Path(self.full(path))
        version = hashlib.sha256(f"{self.full(path)} {self._state(path)}".encode()).hexdigest()[:16]
        target = Path(tempfile.gettempdir()) / "tps_store" / version / Path(path).name
        if not target.exists():
            partial = target.parent / uuid.uuid4().hex
            self.fs.get(self.full(path), str(partial), recursive=self.fs.isdir(self.full(path)))
            try:
                partial.rename(target)
            except OSError:  # another process has fetched the same folder meanwhile
                shutil.rmtree(partial)
        return target

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary local folder, on the store's own disk where it is local so that `keep` only renames.

        It is locked as long as its process lives; what killed processes have left is removed first.
        """
        parent = Path(self.root) / ".scratch" if self.is_local else Path(tempfile.gettempdir()) / "tps_scratch"
        parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with FileLock(parent / ".lock"):  # a folder that is just being made has no lock yet
                _remove_abandoned(parent)
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True))
                stack.enter_context(FileLock(Path(folder) / ".lock"))
            yield Path(folder)

    def workspace(self, name: str) -> Path:
        """A local folder that outlasts a failed run: where a training keeps what it resumes from."""
        folder = self.workspace_path(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def workspace_path(self, name: str) -> Path:
        """Where such a folder is, or would be."""
        parent = Path(self.root) if self.is_local else Path(tempfile.gettempdir()) / "tps_store"
        return parent / ".work" / name

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Do something that one process at a time may do, of whatever machine; others wait. One that dies lets go."""
        name = name.replace("/", ".")
        far = None if self.is_local else lease.held(self.fs, self.full(f".work/locks/{name}"))
        with far or FileLock(self.workspace("locks") / f"{name}.lock"):
            yield

    def _replace(self, path: str, content: bytes | pa.Buffer) -> None:
        if not self.is_local:
            self.fs.pipe_file(self.full(path), bytes(content))
            return
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.scratch() as folder:
            (folder / "complete").write_bytes(content)
            move_whole(folder / "complete", target)

    def _place(self, local: Path, path: str) -> None:
        """Move a local file or folder to its place on the same machine."""
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.scratch() as folder:
            complete = Path(shutil.move(local, folder / "complete"))  # it may come from another disk, in pieces
            if target.is_dir():
                shutil.rmtree(target)
            move_whole(complete, target)

    def _upload(self, local: Path, path: str) -> None:
        """Move a local file or folder into an object store, file by file, and remove what a former folder had more.

        Readers go by the lineage record, which is written afterwards.
        """
        if local.is_file():
            self.fs.put_file(str(local), self.full(path))
            local.unlink()
            return
        new = {self.full(f"{path}/{file.relative_to(local)}"): file for file in local.rglob("*") if file.is_file()}
        for target, file in new.items():
            self.fs.put_file(str(file), target)
        for old in set(self.fs.find(self.full(path))) - set(new):
            self.fs.rm_file(old)
        shutil.rmtree(local)

    def _state(self, path: str) -> str:
        """What changes with the content of a stored file or folder (size, time, ETag)."""
        return str(sorted(self.fs.find(self.full(path), detail=True).items()))


def parquet(table: pa.Table) -> pa.Buffer:
    """A table as the content of a file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=262_144)
    return sink.getvalue()


_verified: dict[tuple[str, str], tuple[tuple[int, int, int], ...]] = {}
"""What this process has found to be as recorded, by place and version: the state of its files then."""


def _files(local: Path) -> list[Path]:
    return sorted(p for p in local.rglob("*") if p.is_file()) if local.is_dir() else [local]


def _hashes(local: Path) -> dict[str, str]:
    """The SHA-256 of a file, or of each file in a folder, by its place there."""
    hashes = {}
    for file in _files(local):
        with file.open("rb") as stream:
            hashes[str(file.relative_to(local))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def _version(hashes: Mapping[str, str], unversioned: Collection[str]) -> str:
    """The version of what was kept: of the names and content of its files, without those that it does not cover."""
    total = hashlib.sha256()
    for name, digest in hashes.items():
        if name.partition("/")[0] not in unversioned:
            total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def _remove_abandoned(parent: Path) -> None:
    """Remove the scratch folders that no living process holds."""
    for folder in parent.iterdir():
        if folder.is_dir():
            with suppress(Timeout), FileLock(folder / ".lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
