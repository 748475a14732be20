"""Which code has which version and fingerprint: `code_versions.json`, and `make versions`, which writes it.

A version stands beside the code that it is of: `version` of a step, `fit_version` and `predict_version` of a method. It
is bumped when the code gives other results; what was made by an older version is made again. The file remembers what
the code was when somebody last said so.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tps_pipeline import recipe
from tps_pipeline.fingerprints import Code
from tps_pipeline.graph import Step
from tps_pipeline.outputs import FRAMES, REPORT
from tps_pipeline.stages import graph_of

FILE = Path(__file__).with_name("code_versions.json")
PACKAGE = Path(__file__).parent.parent / "tps_pipeline"


class Versioned(NamedTuple):
    """A piece of code with a version of its own.

    Attributes:
        version: As it stands beside the code.
        fingerprint: Of all the code that it reaches, and of the tables that it makes.
    """

    version: str
    fingerprint: str


def current() -> dict[str, Versioned]:
    """All versioned code as it is now, by its dotted name."""
    code = Code(PACKAGE)
    found: dict[str, Versioned] = {}
    for step in steps():
        beside = [str(output.schema) for output in step.makes]
        beside += [path.read_text() for path in templates(step)]
        here = Versioned(step.version, code.fingerprint(entries(step), "\n".join(beside)))
        there = found.setdefault(name_of(step), here)
        assert there.fingerprint == here.fingerprint, f"{name_of(step)} is two pieces of code"
        # A recipe that a change does not concern keeps the version before it (`stages.detections.two_stage`).
        found[name_of(step)] = max(here, there, key=lambda each: int(each.version))
    return found


def steps() -> Iterator[Step]:
    """The steps of the recipes that come with the project, which together have every kind of everything."""
    for name in ("demo", "paper", "motion", "bench"):
        yield from graph_of(recipe.load(name)).steps


def name_of(step: Step) -> str:
    """The definition that a step's version stands at, or beside."""
    return _defined(step.code or step.make)


def entries(step: Step) -> list[str]:
    """The definitions that a step begins with; of frames, which it is handed, how they are read."""
    functions = [step.code or step.make, *([step.make.func] if isinstance(step.make, functools.partial) else [])]
    handed = ["tps_pipeline.video.frames.FrameFile"] if FRAMES in step.reads else []
    return [*dict.fromkeys(map(_defined, functions)), *handed]


def templates(step: Step) -> list[Path]:
    """Files that are no code, of which a step makes what it makes."""
    return sorted((PACKAGE / "report" / "templates").iterdir()) if REPORT in step.makes else []


def recorded() -> dict[str, Versioned]:
    """What the file remembers."""
    return {name: Versioned(**row) for name, row in json.loads(FILE.read_text()).items()}


def record(*, only_bumped: bool = False) -> list[str]:
    """Write the file.

    Args:
        only_bumped: Only code whose version was bumped, or that is new or gone.

    Returns:
        What is other than it was.
    """
    now, before = current(), recorded() if FILE.exists() else {}
    if only_bumped:
        kept = {name: before[name] for name, here in now.items() if name in before and before[name][0] == here[0]}
        now |= kept
    FILE.write_text(json.dumps({name: now[name]._asdict() for name in sorted(now)}, indent=1) + "\n")
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def _defined(function: Callable[..., object]) -> str:
    """A function's dotted name; of one that is made inside another, the other's."""
    return f"{function.__module__}.{function.__qualname__.partition('.<locals>')[0]}"


if __name__ == "__main__":
    for changed in record(only_bumped="--bumped" in sys.argv):
        print(f"recorded: {changed}")
