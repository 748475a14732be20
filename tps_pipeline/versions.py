"""Code versions: a stage's number is bumped when it gives other results for the same inputs and recipe.

What was made by an older version is stale and is made again; whatever is not listed is at version 1.
"""

from __future__ import annotations

CODE_VERSIONS: dict[str, str] = {"report": "3"}


def code_version(asset: str) -> str:
    """The version of the code that makes an asset (``frames``, ``checkpoints/person_detector``)."""
    return CODE_VERSIONS.get(asset, "1")
