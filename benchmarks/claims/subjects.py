"""What claims are about, and how a subject's are measured with one seed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import detection, end_to_end, ensembles, few, states
from benchmarks.claims.claim import Claim, Pair
from benchmarks.claims.world import ROOT
from tps_pipeline import recipe
from tps_pipeline.whole_file import whole_file

SUBJECTS = {
    "states": (states.States, states.CLAIMS + ensembles.CLAIMS),
    "detection": (detection.Detectors, detection.CLAIMS),
    "at_once": (end_to_end.AtOnce, end_to_end.CLAIMS),
    "all_x12": (few.AllActions, few.ALL_ACTIONS),
    "six_x8": (few.SixActions, few.SIX_ACTIONS),
}
"""What a seed's world is made of, and what is claimed of it; the longest first."""
CLAIMS: tuple[Claim, ...] = tuple(claim for _, claims in SUBJECTS.values() for claim in claims)


FIGURES = "figures.json"
"""What was measured of a subject with one seed, beside its data and networks."""
COMMIT = "commit"
"""That of the code with which its data and first networks were made."""


def measure(subject: str, seed: int, rows: Sequence[str], recipe_name: str, folder: Path) -> dict[str, Pair]:
    """The figures of a subject's rows with one seed; those that were measured before are not measured again.

    Args:
        subject: Of `SUBJECTS`.
        seed: Draws the data and the weights.
        rows: Names of claims, of this subject or others.
        recipe_name: What networks are trained with, where the subject does not say otherwise.
        folder: Where data, networks and figures are kept, those of a recipe that is changed apart.
    """
    make, claims = SUBJECTS[subject]
    digests = (recipe.load(name).digest_of([recipe.WHOLE]) for name in make.recipes(recipe_name))
    place = folder / "-".join(digest[:8] for digest in digests) / str(seed) / subject
    known = place / FIGURES
    found = {name: Pair(**pair) for name, pair in json.loads(known.read_text()).items()} if known.exists() else {}
    wanted = [claim for claim in claims if claim.name in rows]
    world = make(place, recipe.load(recipe_name), seed=seed)
    for claim in wanted:
        if claim.name in found:
            continue
        begin = time.perf_counter()
        commits = _commits(place)
        found[claim.name] = pair = Pair(*claim.measure(world), commits)
        with whole_file(known) as file:
            file.write_text(json.dumps({name: pair._asdict() for name, pair in found.items()}, indent=1))
        seconds = time.perf_counter() - begin
        print(
            f"seed {seed}: {claim.name} {pair.ours:.4f} {pair.other:.4f} ({seconds:.0f} s)", file=sys.stderr, flush=True
        )
    return {claim.name: found[claim.name] for claim in wanted}


def _commits(place: Path) -> list[str]:
    """Of the code: with which the data and the first networks there were made, and of now if it is another."""
    described = ["git", "describe", "--always", "--dirty"]
    now = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    begun = place / COMMIT
    if not begun.exists():
        place.mkdir(parents=True, exist_ok=True)
        begun.write_text(now)
    return list(dict.fromkeys([begun.read_text().strip(), now]))
