"""Recipes as runs had them: `recipes/<digest>.yaml` in the store, written once and never changed."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from tps_pipeline.errors import StoreError
from tps_pipeline.store import Store

FOLDER = "recipes"
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
    store.write_bytes(LAST, json.dumps({"recipe": called}).encode())
    store.write_bytes(path_of(digest), text.encode())  # also where it is there: the newest file is the last run's
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
    paths = [f"{FOLDER}/{name}" for name in store.names(FOLDER) if name.endswith(".yaml")]
    if not paths:
        raise StoreError(f"{store.root} knows of no run's recipe; name one (`--recipe`, TPS_RECIPE)")
    return store.local(max(paths, key=lambda path: store.fs.modified(store.full(path)))).read_text()
