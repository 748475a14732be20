"""What we claim, measured: every claim compares two ways of doing one thing on generated data, with several seeds.

`python -m benchmarks.claims` runs all of them and writes `docs/claims.md`; `--rows` and `--seeds` choose. A
seed draws the data and the weights. Seeds and subjects are measured in processes of one thread, one a core. What was
measured is kept (`--work`): the next run goes on from there, and each row says of which commits it is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from benchmarks.claims import few
from benchmarks.claims.claim import Result
from benchmarks.claims.subjects import CLAIMS, SUBJECTS, measure
from benchmarks.claims.world import ROOT
from tps_pipeline import recipe
from tps_pipeline.cpu import cores


def page(results: Sequence[Result], *, recipe_name: str, seeds: Mapping[str, Sequence[int]]) -> str:
    """The results as Markdown.

    Args:
        results: A row each.
        recipe_name: What networks were trained with.
        seeds: Each subject's.
    """
    of_subjects = (f"{', '.join(map(str, of_subject))} of {subject}" for subject, of_subject in seeds.items())
    lines = [
        "# Claims",
        "",
        "Written by `make bench-claims`; do not edit. Mean ± standard deviation over the seeds, which draw the data",
        "and the weights. A claim is held if every seed shows it and the mean difference is larger than its standard",
        "deviation, unsure if only the mean shows it. Detectors are scored on frames they have not seen; methods that",
        "name states are given the annotated boxes and actions of such videos, so that only the states are compared;",
        "only the row about a threshold is on detected boxes.",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- recipe: `{recipe_name}`, digest {recipe.load(recipe_name).digest_of([recipe.WHOLE])};",
        f"  `{few.RECIPE}` of whole runs (`all_x12`, `six_x8`)",
        f"- seeds: {'; '.join(of_subjects)}",
        "",
        "| claim | figure | ours | other | difference | | commits |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(result.cells())} |" for result in results),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [claim.name for claim in CLAIMS]
    parser.add_argument("--rows", nargs="*", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--seeds", nargs="*", type=int, help="in place of each subject's own")
    parser.add_argument("--recipe", default="bench")
    parser.add_argument("--work", type=Path, default=ROOT / "claims", help="keeps data, networks and figures")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "claims.md")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    seeds = {subject: given.seeds or make.seeds for subject, (make, _) in SUBJECTS.items()}
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(measure, subject, seed, given.rows, given.recipe, given.work)
            for subject, of_subject in seeds.items()
            for seed in of_subject
        ]
        figures = [job.result() for job in jobs]
    results = [
        Result(claim, [found[claim.name] for found in figures if claim.name in found])
        for claim in CLAIMS
        if claim.name in given.rows
    ]
    written = page(results, recipe_name=given.recipe, seeds=seeds)
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(written)
    print(written)


if __name__ == "__main__":
    main()
