"""Recipes as runs had them: `recipes/<digest>.yaml` in the store, written once and never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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


def freeze(store: Store, text: str, name: str) -> str:
    """Keep a recipe's text as that of a run that begins.

    Args:
        store: The store.
        text: The recipe's.
        name: What the user calls it: a name or a file.

    Returns:
        Its digest.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    called = str(Path(name).resolve()) if Path(name).is_file() else name
    store.write_bytes(path_of(digest), text.encode())
    store.write_bytes(LAST, json.dumps({"recipe": called, "digest": digest}).encode())
    return digest


@cache
def text_of(root: str, digest: str) -> str:
    """The text of a recipe that was frozen in the store of a root."""
    return Store(root).local(path_of(digest)).read_text()


def path_of(digest: str) -> str:
    """Where a recipe is, relative to the store's root."""
    return f"{FOLDER}/{digest}.yaml"


def last_name(store: Store) -> str | None:
    """What the last run's recipe is called; None if the store does not know (version 0.2)."""
    return json.loads(store.local(LAST).read_text())["recipe"] if store.exists(LAST) else None


def last(store: Store) -> str:
    """The text of the last run's recipe.

    Raises:
        StoreError: No run has frozen any.
    """
    if store.exists(LAST) and (digest := json.loads(store.local(LAST).read_text()).get("digest")):
        return store.local(path_of(digest)).read_text()
    # Stores of version 0.2 do not say: it is the file that was written last.
    paths = [f"{FOLDER}/{name}" for name in store.names(FOLDER) if name.endswith(".yaml")]
    if not paths:
        raise StoreError(f"{store.root} knows of no run's recipe; name one (`--recipe`, TPS_RECIPE)")
    return store.local(max(paths, key=lambda path: store.fs.modified(store.full(path)))).read_text()


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
    key = max(made, key=lambda record: record.finished_at).key
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
    """The recipes that some stores have kept; one that is no longer valid tells nothing."""
    for store in stores:
        for name in store.names(FOLDER):
            if not name.endswith(".yaml"):
                continue
            try:
                yield recipes.parse(store.local(f"{FOLDER}/{name}").read_text(), Path(name))
            except RecipeError:
                continue


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
