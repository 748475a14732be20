"""A bundle: one file with all that a method needs for videos, to run where there is no store.

It is a ZIP whose members are stored as they are, so that what it says of their sizes can be believed::

    manifest.json   README.md   recipe.yaml   licences.json   store/checkpoints/...   store/ensemble/...

What is under `store/` is what the method's steps read of the store, and their figures. Nothing in a bundle is executed;
one that is not as its manifest says is refused, and leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, NoReturn
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tps_pipeline import __version__, recipe, tables
from tps_pipeline.errors import BundleError, RecipeError
from tps_pipeline.graph import Run, Step
from tps_pipeline.learners import pretrained
from tps_pipeline.lineage import Input
from tps_pipeline.outputs import CHECKPOINTS, LEADERBOARD, WEIGHTS
from tps_pipeline.plain_file import NotPlainError, descriptor
from tps_pipeline.predict.card import Network, card
from tps_pipeline.recipe.loading import LONGEST as LONGEST_RECIPE
from tps_pipeline.training.checkpoint import LOGS, metrics
from tps_pipeline.whole_file import whole_file

FORMAT = 1
"""Of what is written here; another one is refused."""

SUFFIX = ".tps"
"""What a bundle's name ends with."""

MANIFEST = "manifest.json"
"""What is in a bundle, and the digest of each."""
RECIPE = "recipe.yaml"
"""What the networks were made with."""
STORE = "store"
"""The folder that is a store's."""

LONGEST_MANIFEST = 10_000_000
"""Bytes of a manifest. A bundle of all methods has some 10,000."""

MOST_MEMBERS = 10_000
"""Members of a bundle. One of all methods has some fifty."""

_NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*", re.ASCII)
_LEFT_OUT = LOGS - {"metrics.json"}
_CHUNK = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Part):
    """A file in a bundle."""

    sha256: str
    """Of its content, in hexadecimal."""
    bytes: Annotated[int, Field(ge=0)]
    """Its size."""


class Read(_Part):
    """Something that the method's steps read of the store."""

    output: str
    """Its key."""
    path: str
    """Where it is, relative to `store/`."""
    data_version: str
    """As the store had recorded it."""


class Manifest(_Part):
    """What a bundle says of itself."""

    format: int
    """`FORMAT`."""
    tps_pipeline: str
    """The version that wrote it."""
    method: str
    """Whose states are given where no other method is named."""
    steps: dict[str, str]
    """The version of the code of each step that leads from a video to them."""
    reads: tuple[Read, ...]
    """What these steps read."""
    members: dict[str, Member]
    """Every other file in the bundle."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What there is to read."""
        return tuple(Input(read.output, None, read.data_version, read.path) for read in self.reads)

    def other_code(self, steps: Iterable[Step]) -> list[str]:
        """The steps whose code has come to give other results than when the bundle was written."""
        return [step.name for step in steps if self.steps.get(step.name, step.version) != step.version]


def is_bundle(path: str | Path) -> bool:
    """Whether a path means a bundle, be it there or not: a store is a folder or a URL."""
    return Path(path).is_file() or (str(path).endswith(SUFFIX) and "://" not in str(path) and not Path(path).is_dir())


def write(path: Path, run: Run, steps: Sequence[Step], inputs: Sequence[Input], method: str) -> list[Network]:
    """Write a bundle, whole or not at all; equal networks and settings are equal bundles.

    Args:
        path: The file; one that is there is replaced.
        run: Its store has the networks, its recipe is theirs.
        steps: What leads from a video to the method's predictions.
        inputs: What these read of the store.
        method: Whose states are given.

    Returns:
        The networks in it.

    Raises:
        BundleError: It cannot be written, or the store has files that no bundle can have.
        StoreError: Something in the store is not what was recorded.
    """
    files = dict(_files(run, inputs))
    networks = [_network(run, each, files) for each in inputs if each.asset.startswith((CHECKPOINTS, WEIGHTS))]
    scored = _scored(run, method)
    reads = [Read(output=each.asset, path=each.path, data_version=each.data_version) for each in inputs]
    begun_with = [network.weights | {"network": network.name} for network in networks if network.weights]
    made: dict[str, bytes | Path] = {
        RECIPE: yaml.safe_dump(run.recipe.model_dump(mode="json"), sort_keys=False).encode(),
        "licences.json": json.dumps(begun_with, indent=1).encode(),
        "README.md": card(method, networks, scored.to_pylist()).encode(),
        f"{STORE}/{LEADERBOARD.path()}": _parquet(scored),
    }
    try:
        with whole_file(path) as partial, ZipFile(partial, "w", ZIP_STORED) as archive:
            members = {name: _add(archive, name, source) for name, source in (made | files).items()}
            about = Manifest(
                format=FORMAT, tps_pipeline=__version__, method=method, steps={s.name: s.version for s in steps},
                reads=tuple(reads), members=members,
            )  # fmt: skip
            _add(archive, MANIFEST, about.model_dump_json(indent=1).encode())
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror})") from error
    return networks


def unpack(path: Path, folder: Path) -> tuple[Manifest, recipe.Recipe]:
    """Copy what is in a bundle, every member found to be what the manifest says.

    Args:
        path: The bundle.
        folder: An empty folder; of a bundle that is refused it may hold a part.

    Returns:
        What the bundle says of itself, and the recipe of its networks.

    Raises:
        BundleError: It is none, is cut short, of another format, or is not what its manifest says.
        RecipeError: Its recipe has an unknown key or a bad value.
        UnreachableError: It cannot be read now.
    """
    try:
        with os.fdopen(descriptor(path), "rb") as file, ZipFile(file) as archive:
            listed = _listed(path, archive, os.fstat(file.fileno()).st_size)
            manifest = _manifest(path, archive, listed)
            _compare(path, manifest, listed)
            for name, member in manifest.members.items():
                _extract(path, archive, name, member, folder / name)
    except NotPlainError as error:
        raise BundleError(f"{path}: {error}") from error
    except (BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise BundleError(f"{path}: is no bundle, or is damaged or cut short ({error}); copy it again") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be unpacked ({error.strerror})") from error
    return manifest, _recipe(path, folder / RECIPE)


def _files(run: Run, inputs: Sequence[Input]) -> Iterator[tuple[str, Path]]:
    """What is read of the store, by its names in a bundle, with the figures of networks and without their logs."""
    for each in inputs:
        local = run.store.local(run.store.intact(each, unversioned=LOGS))
        for file in sorted(local.rglob("*")) if local.is_dir() else [local]:
            within = file.relative_to(local)
            if file.is_file() and not _LEFT_OUT.intersection(within.parts[:1]):
                name = "/".join((STORE, each.path, *within.parts))
                if not _NAME.fullmatch(name):
                    raise BundleError(f"{file}: no bundle can have a file of this name; rename it, and train again")
                yield name, file


def _network(run: Run, checkpoint: Input, files: Mapping[str, Path]) -> Network:
    """What there is to say of a network, trained or imported."""
    own = [file for name, file in files.items() if name.startswith(f"{STORE}/{checkpoint.path}/")]
    size = sum(file.stat().st_size for file in own)
    if checkpoint.asset.startswith(WEIGHTS):
        about = pretrained.metadata_of(checkpoint.asset.removeprefix(WEIGHTS), run.store)
        return Network(checkpoint.asset, size, about, {})
    begun = next((file for file in own if file.name == "weights.json"), None)
    weights = json.loads(begun.read_text()) if begun else None
    return Network(checkpoint.asset, size, weights, metrics(run.store.local(checkpoint.path)))


def _scored(run: Run, method: str) -> pa.Table:
    """The method's rows of the leaderboard; none if it was never scored."""
    record = run.lineage.latest().records.get(LEADERBOARD.at())
    if record is None or not run.store.exists(record.path):
        return tables.empty(tables.LEADERBOARD)
    table = run.store.read(run.store.intact(record))
    return table.filter(pc.field("method").cast(pa.string()) == method)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _add(archive: ZipFile, name: str, source: bytes | Path) -> Member:
    """Write a member: a file, or its content."""
    entry = ZipInfo(name)  # of 1980, so that equal content is an equal file
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    if isinstance(source, bytes):
        archive.writestr(entry, source)
        return Member(sha256=hashlib.sha256(source).hexdigest(), bytes=len(source))
    entry.file_size = source.stat().st_size  # whether it needs 64 bits has to be known before
    with source.open("rb") as file, archive.open(entry, "w") as target:
        return _copy(file, target)


def _copy(source: IO[bytes], target: IO[bytes]) -> Member:
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += target.write(chunk)
    return Member(sha256=digest.hexdigest(), bytes=size)


def _listed(path: Path, archive: ZipFile, size: int) -> set[str]:
    """The names of a bundle's members; nothing of them is read before all are found to be as a bundle's."""
    names: dict[str, str] = {}
    for entry in archive.infolist():
        name = entry.orig_filename
        if not _NAME.fullmatch(name):
            _refuse(path, f"{name!r} is no name of a bundle's member: it may lead outside")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            _refuse(path, f"{name} is no file but a link or the like")
        if entry.compress_type != ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            _refuse(path, f"{name} is compressed or encrypted, and no bundle's member is")
        if name.casefold() in names:
            _refuse(path, f"{name} is in it twice")
        names[name.casefold()] = name
    total = sum(entry.file_size for entry in archive.infolist())
    if total > size or len(names) > MOST_MEMBERS:
        _refuse(path, f"its {len(names):,} members say that they have {total:,} bytes, and it has {size:,}")
    return set(names.values())


def _manifest(path: Path, archive: ZipFile, listed: set[str]) -> Manifest:
    if MANIFEST not in listed:
        _refuse(path, f"it has no {MANIFEST}")
    if archive.getinfo(MANIFEST).file_size > LONGEST_MANIFEST:
        _refuse(path, f"{MANIFEST} is larger than {LONGEST_MANIFEST:,} bytes")
    content = archive.read(MANIFEST)
    try:
        said = json.loads(content)
        version = said["format"]
        if version != FORMAT:
            raise BundleError(
                f"{path}: is a bundle of format {str(version)[:20]}, and this version of tps_pipeline ({__version__}) "
                f"reads format {FORMAT}; use the version that wrote it, or bundle the store again"
            )
        return Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        _refuse(path, f"{MANIFEST}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except (ValueError, TypeError, KeyError, RecursionError):
        _refuse(path, f"{MANIFEST} is none: it is not JSON, or has no format")


def _compare(path: Path, manifest: Manifest, listed: set[str]) -> None:
    """Make sure that a bundle has what its manifest names, and nothing else."""
    named = manifest.members.keys() | {MANIFEST}
    if unnamed := sorted(listed - named):
        _refuse(path, f"{unnamed[0]} is in it, and not in {MANIFEST}")
    if missing := sorted({*named, RECIPE} - listed):
        _refuse(path, f"{missing[0]} is missing")
    for read in manifest.reads:
        place = f"{STORE}/{read.path}"
        if not any(name == place or name.startswith(f"{place}/") for name in listed):
            _refuse(path, f"{read.output} is said to be {read.path!r}, which is not in it")


def _extract(path: Path, archive: ZipFile, name: str, member: Member, target: Path) -> None:
    if archive.getinfo(name).file_size != member.bytes:
        _refuse(path, f"{name} has {archive.getinfo(name).file_size:,} bytes, not {member.bytes:,}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, target.open("xb") as file:
        if _copy(source, file) != member:
            _refuse(path, f"{name} is not what {MANIFEST} says (another SHA-256)")


def _recipe(path: Path, file: Path) -> recipe.Recipe:
    try:
        if file.stat().st_size > LONGEST_RECIPE:
            _refuse(path, f"{RECIPE} is longer than {LONGEST_RECIPE:,} bytes")
        return recipe.parse(file.read_text(encoding="utf-8"), Path(RECIPE))
    except RecipeError as error:
        raise RecipeError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: {RECIPE} is not UTF-8 text") from error


def _refuse(path: Path, reason: str) -> NoReturn:
    raise BundleError(f"{path}: is refused: {reason}")
