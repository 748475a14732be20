"""What records say of each asset and file: how it was made, and why it might not come out the same again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tps_pipeline.lineage import Input, Record
from tps_pipeline.outputs import CHECKPOINTS, name_of

_Version = tuple[str, str | None, str]
"""An output's asset, partition and data version."""


@dataclass(frozen=True)
class Made:
    """One asset as it was made.

    Attributes:
        asset: Its name.
        outputs: The newest record of each version of each output; empty where something was made from the asset and no
            record of it is left.
        reads: The assets that its outputs were made from.
    """

    asset: str
    outputs: tuple[Record, ...]
    reads: tuple[str, ...]

    @property
    def rows(self) -> int | None:
        """Rows of all outputs; None where they are no tables."""
        rows = [record.rows for record in self.outputs if record.rows is not None]
        return sum(rows) if rows else None

    @property
    def seconds(self) -> float:
        """Computation of all outputs."""
        return sum((r.finished_at - r.started_at for r in self.outputs), timedelta()).total_seconds()

    @property
    def last_made(self) -> datetime | None:
        """When the newest output was finished."""
        return max((record.finished_at for record in self.outputs), default=None)

    def several(self, value: Callable[[Record], str]) -> list[str]:
        """The outputs' different values of something."""
        return sorted({value(record) for record in self.outputs})

    @property
    def codes(self) -> list[str]:
        """Code versions."""
        return self.several(lambda record: record.code_version)

    @property
    def recipes(self) -> list[str]:
        """The recipe's sections, each time with their digest."""
        return self.several(recipe)

    @property
    def commits(self) -> list[str]:
        """Commits, shortened."""
        return self.several(commit)

    @property
    def devices(self) -> list[str]:
        """Devices."""
        return self.several(lambda record: record.device)


@dataclass(frozen=True)
class File:
    """A network, or what is delivered.

    Attributes:
        record: This version of it.
        made_from: What it was made from, by asset: how many shards of each split, or which version.
        used_for: The delivered files that rest on it.
        packages: The versions of those packages that not everything was made with the same version of.
    """

    record: Record
    made_from: dict[str, str]
    used_for: tuple[str, ...]
    packages: dict[str, str]


def made(records: Iterable[Record]) -> dict[str, Made]:
    """Each asset among some records, by name."""
    newest: dict[_Version, Record] = {}
    for record in sorted(records, key=lambda record: record.order):
        newest[_version(record)] = record
    outputs: dict[str, list[Record]] = {}
    for _, record in sorted(newest.items(), key=lambda item: name_of(item[0][:2])):
        outputs.setdefault(record.asset, []).append(record)
    reads = {asset: sorted({i.asset for r in records for i in r.inputs}) for asset, records in outputs.items()}
    names = sorted({*reads, *(name for names in reads.values() for name in names)})
    return {name: Made(name, tuple(outputs.get(name, ())), tuple(reads.get(name, ()))) for name in names}


def packages(assets: Mapping[str, Made]) -> dict[str, list[str]]:
    """The versions of each package that something was made with."""
    versions: dict[str, set[str]] = {}
    for package, version in {item for m in assets.values() for r in m.outputs for item in r.packages.items()}:
        versions.setdefault(package, set()).add(version)
    return {package: sorted(versions[package]) for package in sorted(versions)}


def files(assets: Mapping[str, Made]) -> tuple[list[File], list[File]]:
    """What is delivered (outputs over all shards that nothing was made from), and the networks."""
    read = {name for m in assets.values() for name in m.reads}
    records = [r for m in assets.values() for r in m.outputs]
    networks = [r for r in records if r.asset.startswith(CHECKPOINTS)]
    delivered = [r for r in records if r.partition is None and r.asset not in read and r not in networks]
    known = {_version(r): r for r in records}
    behind: dict[_Version, list[str]] = {}
    for end in delivered:
        for version in _descent(end, known):
            behind.setdefault(version, []).append(end.name)
    differing = {package for package, versions in packages(assets).items() if len(versions) > 1}

    def file(record: Record) -> File:
        packages_apart = {package: version for package, version in record.packages.items() if package in differing}
        used_for = tuple(dict.fromkeys(behind.get(_version(record), ())))
        return File(record, made_from(record.inputs), used_for, packages_apart)

    return [file(r) for r in delivered], [file(r) for r in networks]


def made_from(inputs: Sequence[Input]) -> dict[str, str]:
    """By asset: how many shards of each split (`5 train, 1 val`), or the version of what has no shards."""
    shards: dict[str, Counter[str]] = {}
    whole = {}
    for i in inputs:
        if i.partition is None:
            whole[i.asset] = f"version {i.data_version[:12]}"
        else:
            shards.setdefault(i.asset, Counter())[i.partition.partition("-")[0]] += 1
    counted = {
        asset: ", ".join(f"{count} {split}" for split, count in splits.items()) + f" shard{'s' * (splits.total() > 1)}"
        for asset, splits in shards.items()
    }
    return dict(sorted((whole | counted).items()))


def doubts(assets: Mapping[str, Made]) -> dict[str, list[str]]:
    """Why results might not come out the same again, in words.

    Returns:
        The assets that each sentence is true of.
    """
    found: dict[str, list[str]] = {}
    for name, m in assets.items():
        for sentence in (*mixed(m), *_unknown(m)):
            found.setdefault(sentence, []).append(name)
    return found


def mixed(m: Made) -> list[str]:
    """In what respects not all outputs of an asset were made alike, in words."""
    if not m.outputs:
        return []
    several = [name for name, count in Counter(record.name for record in m.outputs).items() if count > 1]
    said = [f"results rest on several versions of {', '.join(several)}"] if several else []
    used = sorted({package for record in m.outputs for package in record.packages})
    respects: list[tuple[str, Callable[[Record], str]]] = [
        ("by older code", lambda record: f"version {record.code_version}"),
        ("by an older recipe", recipe),
        ("at an older commit", commit),
        ("on another device", lambda record: record.device),
        *((f"with another {name}", lambda record, name=name: record.packages.get(name, "none")) for name in used),
    ]
    last = max(m.outputs, key=lambda record: record.order)
    for how, value in respects:
        others = [value(record) for record in m.outputs if value(record) != value(last)]
        if others:
            values = ", ".join(sorted(set(others)))
            said.append(f"{len(others)} of {len(m.outputs)} outputs {how} ({values}; the newest {value(last)})")
    return said


def commit(record: Record) -> str:
    """A record's commit, shortened; `+` where files differed from it, a dash where it is not known."""
    sha = record.git_sha
    return "–" if sha is None else sha[:8] + "+" * sha.endswith("+")


def recipe(record: Record) -> str:
    """The sections of the recipe that a record depends on, with their digest."""
    return f"{', '.join(record.recipe_sections)} {record.recipe_digest[:8]}" if record.recipe_sections else "none"


def _unknown(m: Made) -> Iterator[str]:
    """What is not known of how an asset was made."""
    if not m.outputs:
        yield "no record is left"
    commits = [record.git_sha for record in m.outputs]
    for how, count in (
        ("by code that was not committed", sum((sha or "").endswith("+") for sha in commits)),
        ("at a commit that is not known", commits.count(None)),
    ):
        if count:
            yield f"{'all' if count == len(m.outputs) else f'{count} of {len(m.outputs)}'} outputs {how}"


def _descent(record: Record, known: Mapping[_Version, Record]) -> set[_Version]:
    """All versions that a record's output rests on."""
    found: set[_Version] = set()
    todo = [_version(record)]
    while todo:
        version = todo.pop()
        for i in known[version].inputs if version in known else ():
            if _version(i) not in found:
                found.add(_version(i))
                todo.append(_version(i))
    return found


def _version(of: Record | Input) -> _Version:
    return of.asset, of.partition, of.data_version
