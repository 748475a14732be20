"""Why two results differ: what of their inputs, recipe, code and packages is not the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tps_pipeline.lineage.records import Record
from tps_pipeline.outputs import SHARDS, Key, name_of
from tps_pipeline.recipe import WHOLE

Settings = Callable[[Record], Mapping[str, str] | None]
"""What the recipe of a record says in the record's sections, by dotted name; None if that recipe was not kept."""

NOT_KEPT = "differs, but the values are not known: no recipe of the {side} one was kept"
"""Said instead of values where a record's recipe is not in the store."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        kind: `input` (other content that nothing in the store was made from, or there on one side only), `recipe`,
            `code`, `package`, or `result` (only what it was made from differs).
        name: The output.
        what: The setting of the recipe (its sections, where its values are not known), or the package.
        before: On the one side; None if it is not there.
        after: On the other side.
        note: Said instead of what cannot be told.
    """

    kind: str
    name: str
    what: str
    before: str | None
    after: str | None
    note: str = ""


def differences(
    before: Iterable[Record], after: Iterable[Record], settings: Settings = lambda _: None
) -> Iterator[Difference]:
    """Compare what two results were made from, causes first.

    Args:
        before: The records of one trace (`Lineage.trace`).
        after: Those of the other, of the same store or of another one.
        settings: Looks recipes up.

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
        causes = list(_causes(a, b, settings))
        yield from causes
        if a.data_version != b.data_version and not causes:
            follows = a.inputs and a.asset != SHARDS.key  # what is in the folder is made from nothing
            found = Difference("result" if follows else "input", a.name, "", a.data_version, b.data_version)
            follow += [found] if follows else []
            yield from [] if follows else [found]
    yield from _packages(old.values(), new.values())
    yield from follow


def _causes(a: Record, b: Record, settings: Settings) -> Iterator[Difference]:
    if a.code_version != b.code_version:
        yield Difference("code", a.name, "code version", a.code_version, b.code_version)
    if a.recipe_digest != b.recipe_digest:
        yield from _settings(a, b, settings(a), settings(b))


def _settings(
    a: Record, b: Record, old: Mapping[str, str] | None, new: Mapping[str, str] | None
) -> Iterator[Difference]:
    """The settings whose values differ; nothing where two versions merely write the same settings otherwise."""
    if old is None or new is None:
        names = dict.fromkeys((*a.recipe_sections, *b.recipe_sections))
        sections = "the whole recipe" if WHOLE in names else ", ".join(names)
        side = "first" if new is not None else "second" if old is not None else "first and second"
        yield Difference("recipe", a.name, sections, None, None, NOT_KEPT.format(side=side))
        return
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Difference("recipe", a.name, name, old.get(name), new.get(name))


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
    return {record.key: record for record in sorted(records, key=lambda record: record.order)}
