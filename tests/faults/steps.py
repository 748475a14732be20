"""A store made step by step in one process, without Dagster: quick, and something can happen between two steps.

`python -m tests.faults.steps FOLDER` makes what is due in a process of its own, and prints what that was.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.workplace import make as make_workplace
from tps_pipeline import recipe
from tps_pipeline.graph import Graph, Run, ingestion, make
from tps_pipeline.lineage import Lineage
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store

TO_FRAMES = ("videos", "annotations", "frames")
"""The steps that read the data folder."""


class Undisturbed(NamedTuple):
    """What others are compared with.

    Attributes:
        folder: The workplace.
        seconds: How long the run took.
    """

    folder: Path
    seconds: float


def small(folder: Path, *, epochs: int = 1) -> Path:
    """A workplace of three shards, with the networks that there have to be and one method that counts."""
    methods = {"video_category": {"kind": "video_category"}}
    make_workplace(folder, videos=8, videos_per_shard=3, epochs=epochs, methods=methods, submission="video_category")
    settings = yaml.safe_load((folder / "recipe.yaml").read_text())
    for name in ("person_detector", "part_detector"):  # a disk of a few kilobytes has no room for shipped weights
        settings[name]["network"]["weights"] = None
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return folder


def run_of(folder: Path) -> tuple[Run, Graph]:
    """A run that has read nothing of the store yet."""
    settings = recipe.load(str(folder / "recipe.yaml"))
    return Run(settings, folder / "data", Lineage(Store(folder / "store"))), graph_of(settings)


def finish(folder: Path, *, only: tuple[str, ...] = (), before: Callable[[str], None] | None = None) -> list[str]:
    """Make what is due.

    Args:
        folder: The workplace.
        only: The names of some steps; all without.
        before: Called before each step with its name.

    Returns:
        What was made: a step's output, and the shard if it has shards.
    """
    run, graph = run_of(folder)
    ingestion.take_in(run)
    made = []
    for step in graph.steps:
        if only and step.name not in only:
            continue
        if before:
            before(step.name)
        shards = run.lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ()
        outcomes = make(run, step, shards)
        made += [record.name for outcome in outcomes.values() for record in outcome.made.values()]
    return made


if __name__ == "__main__":
    print(*finish(Path(sys.argv[1]), only=tuple(sys.argv[2:])), sep="\n")
