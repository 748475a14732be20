"""What `make run` makes in one Dagster run, and what has to wait for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.due import Due
from tps_pipeline import recipe, tables
from tps_pipeline.graph import Graph, Reader, Run, Step, make
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import SHARDS, TRACKS, Output
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(recipe.load("demo"), tmp_path / "data", Lineage(Store(tmp_path / "store")))


def add_shards(run: Run, *names: str) -> None:
    for name in names:
        written = run.store.write(SHARDS.path(name), tables.empty(tables.SHARD))
        run.lineage.record(Work(SHARDS.key, name, (), (), run.digest_of(())), written, run_id="test")


def make_all(run: Run, graph: Graph, *, sharded_alone: bool = False) -> None:
    """Record all there is to make, or all of shards; what it holds does not matter here."""

    def empty(step: Step) -> Step:
        made: dict[Output, Any] = {o: b"" if o.schema is None else tables.empty(o.schema) for o in step.makes}

        def give(_: Reader) -> dict[Output, Any]:
            return made

        return replace(step, make=give)

    for step in graph.steps:
        if step.sharded or not sharded_alone:
            make(run, empty(step), run.lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ())


def along(run: Run, graph: Graph, name: str, shards: list[str]) -> list[str]:
    """What can be made in one run with a step."""
    step = graph.step(name)
    number = next(number for number, stage in enumerate(graph.stages, 1) if step in stage)
    with dg.DagsterInstance.ephemeral() as instance:
        return [step.name for step in Due(run, graph, instance).along([step], shards, graph.stages[number:])]


def test_of_a_new_shard_all_is_one_run_and_all_that_follows_another(run: Run):
    graph = graph_of(run.recipe)
    add_shards(run, "train-000", "val-000", "test-000")
    make_all(run, graph)
    add_shards(run, "test-001")
    of_test = {step.name for step in graph.steps if step.sharded and "test" in graph.splits[step.name]}
    first = [step.name for step in graph.stages[0]]
    with dg.DagsterInstance.ephemeral() as instance:
        found = Due(run, graph, instance).along(graph.stages[0], ["test-001"], graph.stages[1:])
    assert {*first, *(step.name for step in found)} == of_test
    make_all(run, graph, sharded_alone=True)
    assert {"submission", "leaderboard", "report"} <= {*along(run, graph, "unreadable", [])}


def test_nothing_that_a_network_makes_goes_before_it_is_trained(run: Run):
    add_shards(run, "test-000")
    graph = graph_of(run.recipe)
    assert along(run, graph, "videos", ["test-000"]) == []


def test_what_may_stay_as_it_is_waits_to_be_seen(run: Run):
    graph = graph_of(run.recipe)
    add_shards(run, "train-000", "val-000", "test-000")
    make_all(run, graph)
    run.store.remove(TRACKS.path("test-000"))
    assert along(run, graph, "tracks", ["test-000"]) == []


def leading(run: Run, graph: Graph) -> tuple[set[str], list[str]]:
    """What is made beside the first networks that are trained side by side, and of which shards."""
    number = next(number for number, stage in enumerate(graph.stages, 1) if graph.step(FIRST) in stage)
    with dg.DagsterInstance.ephemeral() as instance:
        due = Due(run, graph, instance)
        steps, shards = due.leading_to_training(graph.stages[number - 1], graph.stages[number:])
    return {step.name for step in steps}, shards


FIRST = "checkpoints/person_detector"
ACTION = {"checkpoints/video_action_trajectory", "checkpoints/video_action_statistics"}
BEGUN_WITH_OTHERS = {"checkpoints/video_level", "checkpoints/instance_pp"}


def test_what_later_networks_learn_from_is_made_beside_the_first_and_nothing_else(run: Run):
    graph = graph_of(run.recipe)
    add_shards(run, "train-000", "val-000", "test-000")
    steps, shards = leading(run, graph)
    assert steps == {"detections/two_stage", "tracks", *ACTION, *BEGUN_WITH_OTHERS}
    assert shards == ["train-000", "val-000", "test-000"]
    make_all(run, graph)
    assert leading(run, graph) == (set(), [])
