"""What we claim, measured: every claim compares two ways of doing one thing on generated data, with several seeds.

``python -m benchmarks.claims`` runs all of them and writes ``docs/claims.md``; ``--rows`` and ``--seeds`` choose. A
claim holds if the difference has the claimed sign with every seed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.claims.detection import Detectors
from tps_pipeline import recipe

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Claim:
    """A comparison and what is expected of it.

    Attributes:
        name: What ``--rows`` calls it.
        statement: In words.
        figure: What is compared.
        higher: Whether more is better.
        ways: The one that we claim is better, and the other.
        measure: Gives the figure of both ways.
    """

    name: str
    statement: str
    figure: str
    higher: bool
    ways: tuple[str, str]
    measure: Callable[[Detectors], tuple[float, float]]


CLAIMS = (
    Claim(
        "crowd_parts",
        "Among four people and more, two stages find parts better than a single stage",
        "part AP50",
        True,
        ("two stages", "single stage"),
        lambda d: (
            d.scores("two_stage", crowds=True)["parts_ap50"],
            d.scores("single_stage", crowds=True)["parts_ap50"],
        ),
    ),
    Claim(
        "crowd_people",
        "Among four people and more, two stages give fewer parts to the wrong person",
        "share on the wrong person",
        False,
        ("two stages", "single stage"),
        lambda d: (
            d.scores("two_stage", crowds=True)["wrong_person"],
            d.scores("single_stage", crowds=True)["wrong_person"],
        ),
    ),
    Claim(
        "label_swap_sides",
        "Exchanging left and right in mirrored images confuses sides less than mirroring alone",
        "share of sides confused",
        False,
        ("label swap", "plain flips"),
        lambda d: (d.scores("two_stage")["sides_confused"], d.scores("two_stage", flip="plain")["sides_confused"]),
    ),
    Claim(
        "label_swap_precision",
        "Mirrored images with exchanged labels make parts more precise than no mirrored images",
        "part AP",
        True,
        ("label swap", "no flips"),
        lambda d: (d.scores("two_stage")["parts_ap"], d.scores("two_stage", flip="none")["parts_ap"]),
    ),
)


@dataclass(frozen=True)
class Result:
    """A claim's figures, one pair a seed."""

    claim: Claim
    pairs: list[tuple[float, float]]

    @property
    def held(self) -> bool:
        """Whether every seed shows it."""
        return all((ours > other) == self.claim.higher and ours != other for ours, other in self.pairs)

    def cells(self) -> list[str]:
        """A row of the page."""
        differences = [ours - other for ours, other in self.pairs]
        columns = ([ours for ours, _ in self.pairs], [other for _, other in self.pairs], differences)
        figures = [_spread(values) for values in columns]
        ways = [f"{way}: {figure}" for way, figure in zip(self.claim.ways, figures, strict=False)]
        better = "higher" if self.claim.higher else "lower"
        verdict = "held" if self.held else "**not held**"
        return [f"{self.claim.statement} (`{self.claim.name}`)", f"{self.claim.figure}, {better} is better", *ways,
                figures[2], verdict]  # fmt: skip


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


def page(results: Sequence[Result], *, recipe_name: str, seeds: Sequence[int]) -> str:
    """The results as Markdown."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    settings = recipe.load(recipe_name)
    lines = [
        "# Claims",
        "",
        "Written by `make bench-claims`; do not edit. Mean ± standard deviation over the seeds, which draw the data",
        "and the weights; a claim is held if the difference has the claimed sign with every seed.",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- commit: {commit.stdout.strip() or 'unknown'}",
        f"- recipe: `{recipe_name}`, digest {settings.digest_of(list(type(settings).model_fields))}",
        f"- seeds: {', '.join(map(str, seeds))}",
        "",
        "| claim | figure | ours | other | difference | |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(result.cells())} |" for result in results),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [claim.name for claim in CLAIMS]
    parser.add_argument("--rows", nargs="*", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--recipe", default="bench")
    parser.add_argument("--videos", type=int, default=72, help="videos a seed")
    parser.add_argument("--work", type=Path, help="keeps data and detectors; a run cut off goes on from there")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "claims.md")
    given = parser.parse_args()
    chosen = [claim for claim in CLAIMS if claim.name in given.rows]
    pairs: dict[str, list[tuple[float, float]]] = {claim.name: [] for claim in chosen}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in given.seeds:
            folder = (given.work or Path(temporary)) / str(seed)
            detectors = Detectors(folder, recipe.load(given.recipe), seed=seed, videos=given.videos)
            for claim in chosen:
                begin = time.perf_counter()
                pair = claim.measure(detectors)
                pairs[claim.name].append(pair)
                seconds = time.perf_counter() - begin
                print(f"seed {seed}: {claim.name} {pair[0]:.4f} {pair[1]:.4f} ({seconds:.0f} s)", file=sys.stderr)
    written = page([Result(c, pairs[c.name]) for c in chosen], recipe_name=given.recipe, seeds=given.seeds)
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(written)
    print(written)


if __name__ == "__main__":
    main()
