"""What claims are about, and how a subject's are measured with one seed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import detection, end_to_end, ensembles, few, states
from benchmarks.claims.claim import Claim
from tps_pipeline import recipe

SUBJECTS = {
    "detection": (detection.Detectors, detection.CLAIMS),
    "states": (states.States, states.CLAIMS + ensembles.CLAIMS),
    "at_once": (end_to_end.AtOnce, end_to_end.CLAIMS),
    "all_x12": (few.AllActions, few.ALL_ACTIONS),
    "six_x8": (few.SixActions, few.SIX_ACTIONS),
}
"""What a seed's world is made of, and what is claimed of it; the longest first."""
CLAIMS: tuple[Claim, ...] = tuple(claim for _, claims in SUBJECTS.values() for claim in claims)


def measure(
    subject: str, seed: int, rows: Sequence[str], recipe_name: str, folder: Path
) -> dict[str, tuple[float, float]]:
    """The figures of a subject's rows with one seed."""
    make, claims = SUBJECTS[subject]
    world = make(folder / str(seed) / subject, recipe.load(recipe_name), seed=seed)
    found = {}
    for claim in claims:
        if claim.name in rows:
            begin = time.perf_counter()
            ours, other = found[claim.name] = claim.measure(world)
            seconds = time.perf_counter() - begin
            print(f"seed {seed}: {claim.name} {ours:.4f} {other:.4f} ({seconds:.0f} s)", file=sys.stderr, flush=True)
    return found
