"""A checkpoint folder: the network, the settings it was trained with, its figures, and a card for people.

::

    model.safetensors (or what the method learned)   recipe.yaml   metrics.json   card.md   log.csv   tensorboard/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tps_pipeline.whole_file import remove_partial

WEIGHTS = "model.safetensors"
"""A network's weights, with its settings and labels as metadata."""

LOGS = frozenset({"metrics.json", "card.md", "log.csv", "tensorboard"})
"""Files about a checkpoint that its version does not cover: equal weights are equal checkpoints."""

DAMAGED = "resume.damaged"
"""What a file is called that a training should go on from and that cannot be read; nobody reads it again."""

_CARD = """# {name}

Trained on {inputs}.

| figure | value |
|---|---|
{figures}

Settings are in `recipe.yaml`, the course of the training in `log.csv` and `tensorboard/`.
"""


def describe(folder: Path, *, name: str, settings: Any, metrics: dict[str, float], inputs: Sequence[str]) -> None:
    """Write what people and later stages want to know beside a trained network.

    Args:
        folder: The checkpoint.
        name: The network's name.
        settings: The recipe's section it was trained with, as plain values.
        metrics: Its figures.
        inputs: The names of what it was made from.
    """
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
    figures = "\n".join(f"| {figure} | {value:.4g} |" for figure, value in metrics.items())
    (folder / "card.md").write_text(_CARD.format(name=name, inputs=", ".join(inputs), figures=figures))


def tidy(folder: Path) -> None:
    """Remove what is no part of a trained network: what trainings that were cut off left half-written or damaged."""
    remove_partial(folder)
    (folder / DAMAGED).unlink(missing_ok=True)


def metrics(folder: Path) -> dict[str, float]:
    """The figures that `describe` wrote; none for a folder or file that is no checkpoint, or whose log is damaged."""
    try:
        said = json.loads((folder / "metrics.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return (
        {name: value for name, value in said.items() if isinstance(value, float | int)}
        if isinstance(said, dict)
        else {}
    )
