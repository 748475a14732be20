"""The card of a bundle: what is in it, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tps_pipeline import __version__

PERMISSIVE = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT"})
"""Licences that ask for little more than to be named; of all others people are warned."""

_FIGURES = ("score", "mean_psc", "macro_recall", "action_accuracy", "person_ap50", "part_ap50")


class Network(NamedTuple):
    """A network in a bundle.

    Attributes:
        name: Its output's key.
        size: Bytes of its files.
        weights: What it says of the weights that it began with (`weights.json` of a checkpoint); None if it began with
            none.
        figures: Measured when it was trained.
    """

    name: str
    size: int
    weights: dict[str, Any] | None
    figures: Mapping[str, float]

    @property
    def origin(self) -> str:
        """What it began with, and the licence of that."""
        if self.weights is None:
            return "trained from scratch"
        return f"began with {self.weights.get('name', 'unknown weights')} ({self.licence})"

    @property
    def licence(self) -> str:
        """Of the weights that it began with; `none` if it began with none."""
        return "none" if self.weights is None else str(self.weights.get("licence", "unknown"))

    @property
    def is_permissive(self) -> bool:
        """Whether what it began with may be passed on freely."""
        return self.weights is None or self.licence in PERMISSIVE


def card(method: str, networks: Sequence[Network], figures: Sequence[Mapping[str, Any]]) -> str:
    """The text, as Markdown.

    Args:
        method: Whose states are given.
        networks: What is in the bundle.
        figures: The method's rows of the leaderboard.
    """
    return _CARD.format(
        method=method,
        version=__version__,
        networks="\n".join(f"| `{each.name}` | {each.size:,} | {each.origin} |" for each in networks),
        trained="\n".join(
            f"| `{each.name}` | {', '.join(f'{name} {value:.4g}' for name, value in each.figures.items()) or '-'} |"
            for each in networks
        ),
        columns=" | ".join(_FIGURES),
        rule="---|" * len(_FIGURES),
        scores="\n".join(map(_row, figures)) or "It was not scored.",
    )


def _row(row: Mapping[str, Any]) -> str:
    cells = ("-" if row.get(name) is None else f"{row[name]:.4f}" for name in _FIGURES)
    return f"| {row['split']} | {row['videos']} | {' | '.join(cells)} |"


_CARD = """# {method}

Finds the people in a video, their ten parts, the state of each part, and the video's action. Written by tps_pipeline
{version}, which runs it:

```
tps predict me.mp4 --bundle FILE
```

## Networks

| network | bytes | origin |
|---|---|---|
{networks}

`licences.json` has the licences of the weights that networks began with. What they learned from has terms, too.

## Figures

Of the method, on the data that its networks were made with:

| split | videos | {columns} |
|---|---|{rule}
{scores}

Of each network, when it was trained:

| network | figures |
|---|---|
{trained}

`recipe.yaml` has every setting, `manifest.json` every file with its SHA-256.
"""
