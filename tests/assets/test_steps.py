"""A new asset is one decorated function: its key, dependencies, metadata, lineage and plan follow."""

import ast
import inspect
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets import steps as assets_steps
from assets.resources import Pipeline
from assets.steps import SHARDS, asset_of
from tps_pipeline import outputs, tables
from tps_pipeline.graph import Graph, Reader, step
from tps_pipeline.graph.plan import plan
from tps_pipeline.lineage import Work
from tps_pipeline.outputs import Output
from tps_pipeline.recipe import Recipe

LENGTHS = Output("lengths", tables.TRACKS, sharded=True)
"""An output that nothing in the project knows."""


@step(LENGTHS, reads=(outputs.TWO_STAGE,), sections=("two_stage.person_iou",), version="7")
def lengths(read: Reader) -> pa.Table:
    """How long somebody is to be seen."""
    assert read.setting("two_stage.person_iou") == 0.5
    people = [0] * read(outputs.TWO_STAGE).num_rows
    return tables.conform(dict.fromkeys(tables.TRACKS.names, people) | {"video_id": ["a"] * len(people)}, tables.TRACKS)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    made = Pipeline(data=str(tmp_path), recipe_name="demo", store_root=str(tmp_path / "store"))
    for output in (outputs.SHARDS, outputs.TWO_STAGE):
        written = made.store.write(output.path("test-000"), tables.empty(tables.DETECTIONS))
        made.lineage.record(Work(output.key, "test-000", (), (), ""), written, run_id="")
    return made


def materialize(pipeline: Pipeline, instance: dg.DagsterInstance) -> dict[str, dg.MetadataValue]:
    done = dg.materialize(
        [asset_of(lengths)], partition_key="test-000", resources={"pipeline": pipeline}, instance=instance
    )
    (event,) = done.get_asset_materialization_events()
    return dict(event.materialization.metadata)


def only_lengths(_: Recipe) -> Graph:
    return Graph([lengths])


def test_one_decorated_function_is_an_asset(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assets_steps, "graph_of", only_lengths)
    (spec,) = asset_of(lengths).specs
    assert (spec.key, spec.description) == (dg.AssetKey("lengths"), "How long somebody is to be seen.")
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["detections", "two_stage"])]
    run, graph = pipeline.run(), Graph([lengths], scored=("test",))
    assert plan(run, graph).due == {"lengths/test-000": "never made"}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), ["test-000"])
        shown = materialize(pipeline, instance)
        assert (shown["made"].value, shown["kept"].value) == (1, 0)
        record = pipeline.lineage.latest().records[LENGTHS.at("test-000")]
        assert [i.key for i in record.inputs] == [outputs.TWO_STAGE.at("test-000")]
        assert (record.code_version, record.recipe_sections) == ("7", ("two_stage.person_iou",))
        assert plan(run, graph).due == {}
        again = materialize(pipeline, instance)
        assert (again["made"].value, again["kept"].value) == (0, 1)
        same = ("path", "data_version", "dagster/row_count", "bytes", "device", "seconds", "store")
        assert {name: again[name].value for name in same} == {name: shown[name].value for name in same}
        assert again["store"].value == pipeline.store_root


def test_each_shard_of_a_range_shows_its_own_figures_made_or_kept(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assets_steps, "graph_of", only_lengths)
    for people, shard in enumerate(("test-000", "test-001"), 1):
        for output in (outputs.SHARDS, outputs.TWO_STAGE):
            table = tables.empty(tables.DETECTIONS) if output == outputs.SHARDS else detected(people)
            written = pipeline.store.write(output.path(shard), table)
            pipeline.lineage.record(Work(output.key, shard, (), (), ""), written, run_id="")
    both = {"dagster/asset_partition_range_start": "test-000", "dagster/asset_partition_range_end": "test-001"}
    key, job = dg.AssetKey("lengths"), dg.Definitions([asset_of(lengths)], resources={"pipeline": pipeline})
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), ["test-000", "test-001"])
        for made in (1, 0):
            run = job.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, tags=both)
            shown = {
                event.partition: event.materialization.metadata for event in run.get_asset_materialization_events()
            }
            for people, shard in enumerate(("test-000", "test-001"), 1):
                assert shown[shard]["made"].value == made
                assert shown[shard]["dagster/row_count"].value == people
                preview = shown[shard]["preview"]
                assert isinstance(preview, dg.TableMetadataValue)
                assert len(preview.records) == people
        assert key in instance.all_asset_keys()


def detected(people: int) -> pa.Table:
    row = dict.fromkeys(tables.DETECTIONS.names, 1) | {"video_id": "a", "part": "head"}
    return tables.conform({name: [value] * people for name, value in row.items()}, tables.DETECTIONS)


def test_the_dagster_side_stays_thin():
    """No function of many parameters, none inside one that is itself inside another: what grows there belongs here."""
    for path in Path(inspect.getfile(assets_steps)).parent.glob("*.py"):
        for outer in ast.walk(ast.parse(path.read_text())):
            if isinstance(outer, ast.FunctionDef):
                arguments = outer.args.posonlyargs + outer.args.args + outer.args.kwonlyargs
                assert len(arguments) <= 6, f"{path.name}: {outer.name}"
                inner = [each for each in ast.walk(outer) if isinstance(each, ast.FunctionDef) and each is not outer]
                deeper = [e for i in inner for e in ast.walk(i) if isinstance(e, ast.FunctionDef) and e is not i]
                assert not deeper, f"{path.name}: {outer.name}"
