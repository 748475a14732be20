"""Why two results differ: what of their inputs, recipe, code and packages is not the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tps_pipeline.lineage.records import Record
from tps_pipeline.outputs import SHARDS, Key, name_of


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        kind: `input` (other content that nothing in the store was made from, or there on one side only), `recipe`,
            `code`, `package`, or `result` (only what it was made from differs).
        name: The output.
        what: The recipe's sections, or the package.
        before: On the one side; None if it is not there.
        after: On the other side.
    """

    kind: str
    name: str
    what: str
    before: str | None
    after: str | None


def differences(before: Iterable[Record], after: Iterable[Record]) -> Iterator[Difference]:
    """Compare what two results were made from, causes first.

    Args:
        before: The records of one trace (`Lineage.trace`).
        after: Those of the other, of the same store or of another one.

    Yields:
        Each difference once: in the order of the outputs' names, results that merely follow last.
    """
    old, new = _newest(before), _newest(after)
    follow = []
    for key in sorted(old.keys() | new.keys(), key=name_of):
        a, b = old.get(key), new.get(key)
        if a is None or b is None:
            yield Difference("input", name_of(key), "", a and a.data_version, b and b.data_version)
            continue
        causes = list(_causes(a, b))
        yield from causes
        if a.data_version != b.data_version and not causes:
            follows = a.inputs and a.asset != SHARDS.key  # what is in the folder is made from nothing
            found = Difference("result" if follows else "input", a.name, "", a.data_version, b.data_version)
            follow += [found] if follows else []
            yield from [] if follows else [found]
    yield from _packages(old.values(), new.values())
    yield from follow


def _causes(a: Record, b: Record) -> Iterator[Difference]:
    if a.code_version != b.code_version:
        yield Difference("code", a.name, "code version", a.code_version, b.code_version)
    if a.recipe_digest != b.recipe_digest:
        sections = ", ".join(dict.fromkeys((*a.recipe_sections, *b.recipe_sections)))
        yield Difference("recipe", a.name, sections, a.recipe_digest, b.recipe_digest)


def _packages(old: Iterable[Record], new: Iterable[Record]) -> Iterator[Difference]:
    """Packages and commits that only one side was made with; a side may know several versions of one."""
    sides = []
    for records in (old, new):
        used: dict[str, set[str]] = {}
        for record in records:
            for package, version in (*record.packages.items(), ("commit", record.git_sha or "none")):
                used.setdefault(package, set()).add(version)
        sides.append({package: ", ".join(sorted(versions)) for package, versions in used.items()})
    a, b = sides
    for package in sorted(a.keys() | b.keys()):
        if a.get(package) != b.get(package):
            yield Difference("package", package, "version", a.get(package), b.get(package))


def _newest(records: Iterable[Record]) -> dict[Key, Record]:
    """One record an output: a result may rest on an older version of something beside the newest."""
    return {record.key: record for record in sorted(records, key=lambda record: record.finished_at)}
