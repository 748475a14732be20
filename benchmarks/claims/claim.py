"""What a claim is, and when it is held."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Claim:
    """A comparison and what is expected of it.

    Attributes:
        name: What `--rows` calls it.
        statement: In words.
        figure: What is compared.
        higher: Whether more is better.
        ways: The one that we claim is better, and the other.
        measure: Gives the figure of both ways in one seed's world.
    """

    name: str
    statement: str
    figure: str
    higher: bool
    ways: tuple[str, str]
    measure: Callable[[Any], tuple[float, float]]


class Pair(NamedTuple):
    """A claim's figure of both ways with one seed, and the commits of the code that they come from."""

    ours: float
    other: float
    commits: list[str]


@dataclass(frozen=True)
class Result:
    """A claim's figures, one pair a seed."""

    claim: Claim
    pairs: Sequence[Pair]

    @property
    def verdict(self) -> str:
        """Held: every seed shows it, and the mean difference is larger than its standard deviation."""
        gains = [ours - other if self.claim.higher else other - ours for ours, other, _ in self.pairs]
        if min(gains) > 0 and statistics.mean(gains) > _deviation(gains):
            return "held"
        return "unsure" if statistics.mean(gains) > 0 else "**not held**"

    def cells(self) -> list[str]:
        """A row of the page."""
        pairs = [(ours, other, ours - other) for ours, other, _ in self.pairs]
        ours, other, difference = map(_spread, zip(*pairs, strict=True))
        commits = sorted({commit for pair in self.pairs for commit in pair.commits})
        better = "higher" if self.claim.higher else "lower"
        return [
            f"{self.claim.statement} (`{self.claim.name}`)",
            f"{self.claim.figure}, {better} is better",
            f"{self.claim.ways[0]}: {ours}",
            f"{self.claim.ways[1]}: {other}",
            difference,
            self.verdict,
            " ".join(commits),
        ]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {_deviation(values):.4f}"


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
