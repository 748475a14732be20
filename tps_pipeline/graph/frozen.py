"""Recipes as runs had them: `recipes/<digest>.yaml` in the store, written once and never changed.

A file whose name is not its content's digest is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tps_pipeline import recipe as recipes
from tps_pipeline.errors import RecipeError, StoreError
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.lineage.difference import Settings
from tps_pipeline.outputs import PREDICTIONS
from tps_pipeline.store import Store

FOLDER = "recipes"
"""Where a store keeps recipes, relative to its root."""

LAST = f"{FOLDER}/last.json"
"""What the last run's recipe is called; a file by its full path."""

_ANOTHER = "the next run keeps its own anew, or name one (`--recipe`, TPS_RECIPE)"


def freeze(store: Store, text: str, name: str) -> str:
    """Keep a recipe's text as that of a run that begins.

    Args:
        store: The store.
        text: The recipe's.
        name: What the user calls it: a name or a file.

    Returns:
        Its digest.
    """
    digest = _digest_of(text.encode())
    called = str(Path(name).resolve()) if Path(name).is_file() else name
    store.write_bytes(path_of(digest), text.encode())
    store.write_bytes(LAST, json.dumps({"recipe": called, "digest": digest}).encode())
    return digest


@cache
def text_of(root: str, digest: str) -> str:
    """The text of a recipe that was frozen in the store of a root.

    Raises:
        StoreError: It is gone, or is another than was frozen.
    """
    return _text(Store(root), digest)


def intact(store: Store, digest: str) -> Path:
    """A local file with a recipe, found to be the one that was frozen.

    Raises:
        StoreError: It is gone, or is another.
    """
    path = path_of(digest)
    if not store.exists(path):
        raise StoreError(f"{store.full(path)}, a run's recipe, is gone; {_ANOTHER}")
    file = store.local(path)
    if _digest_of(file.read_bytes()) != digest:
        what = "is not the recipe that a run has kept (damaged, or changed by hand)"
        raise StoreError(f"{store.full(path)} {what}: delete it; {_ANOTHER}")
    return file


def path_of(digest: str) -> str:
    """Where a recipe is, relative to the store's root."""
    return f"{FOLDER}/{digest}.yaml"


def names(store: Store) -> list[str]:
    """The digests of all recipes that a store has."""
    return [name.removesuffix(".yaml") for name in store.names(FOLDER) if name.endswith(".yaml")]


def last_name(store: Store) -> str | None:
    """What the last run's recipe is called; None if the store does not know (version 0.2, or the note is damaged)."""
    return _last(store).get("recipe")


def last(store: Store) -> str:
    """The text of the last run's recipe.

    Raises:
        StoreError: No run has frozen any, or it is gone, or another than was frozen.
    """
    digest = _last(store).get("digest")
    if not digest:  # it is the file that was written last: each run writes its own
        written = {name: store.fs.modified(store.full(path_of(name))) for name in names(store)}
        if not written:
            raise StoreError(f"{store.root} knows of no run's recipe; name one (`--recipe`, TPS_RECIPE)")
        digest = max(written, key=lambda name: written[name])
    return _text(store, digest)


def _text(store: Store, digest: str) -> str:
    return intact(store, digest).read_bytes().decode()


def _last(store: Store) -> dict[str, str]:
    """What the store says of the last run's recipe; nothing if its note is gone or damaged."""
    try:
        said = json.loads(store.local(LAST).read_bytes())
    except (StoreError, ValueError):
        return {}
    return {name: value for name, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def of_predictions(lineage: Lineage) -> recipes.Recipe:
    """The recipe that a store's newest predictions were made with, all that they descend from included.

    Raises:
        StoreError: No run has frozen any.
        RecipeError: It is no longer valid.
    """
    store, records = lineage.store, lineage.latest().records
    newest = recipes.parse(last(store), Path(FOLDER))
    made = [record for (asset, _), record in records.items() if asset.startswith(PREDICTIONS)]
    if not made:
        return newest
    key = max(made, key=lambda record: record.order).key
    trace = [record for _, record in lineage.trace(key) if record.recipe_sections]
    fits = (recipe for recipe in (newest, *_kept((store,))) if all(_made_with(recipe, record) for record in trace))
    return next(fits, newest)


def _made_with(recipe: recipes.Recipe, record: Record) -> bool:
    sections = record.recipe_sections
    return record.recipe_digest in (recipe.digest_of(sections), recipe.digest_of_0_1(sections))


def settings_in(*stores: Store) -> Settings:
    """Looks up what the recipes that some stores have kept say in a record's sections, with every default filled in."""
    kept = list(_kept(stores))

    @cache
    def of(sections: tuple[str, ...], digest: str) -> dict[str, str] | None:
        for recipe in kept:
            if digest in (recipe.digest_of(sections), recipe.digest_of_0_1(sections)):
                return dict(setting for name in sections for setting in _flat(name, _read(recipe, name)))
        return None

    return lambda record: of(record.recipe_sections, record.recipe_digest)


def _kept(stores: tuple[Store, ...]) -> Iterator[recipes.Recipe]:
    """The recipes that some stores have kept; one that is no longer valid, or another, tells nothing."""
    for store in stores:
        for name in names(store):
            with suppress(RecipeError, StoreError):
                yield recipes.parse(_text(store, name), Path(path_of(name)))


def _read(recipe: recipes.Recipe, section: str) -> Any:
    """The plain values of a section that its digest stands for."""
    return recipe.section(section) if section == recipes.WHOLE else recipe.learned(section)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Values by their dotted names, as a recipe writes them."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _flat(key if name == recipes.WHOLE else f"{name}.{key}", inside)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
