"""What Dagster's catalogue says of every asset: who to ask, of what kind it is, its columns, its code."""

import inspect
from pathlib import Path

import dagster as dg
import pytest

from assets.catalog import CODE, OWNERS, SCHEMA
from assets.definitions import assets_of
from assets.resources import Pipeline
from assets.steps import key_of
from tps_pipeline import outputs
from tps_pipeline.outputs import Output
from tps_pipeline.stages import graph_of

GRAPH = graph_of(Pipeline.from_environment().recipe)
SPECS = {spec.key: spec for asset in assets_of(GRAPH) for spec in asset.specs}
TABLES = [output for output in [outputs.SHARDS, *GRAPH.maker] if output.schema is not None]


@pytest.mark.parametrize("key", SPECS, ids=dg.AssetKey.to_user_string)
def test_every_asset_says_who_what_and_where(key: dg.AssetKey):
    spec = SPECS[key]
    assert list(spec.owners) == OWNERS
    assert "python" in spec.kinds
    assert spec.description
    assert spec.group_name
    (code,) = spec.metadata[CODE].code_references
    line = Path(code.file_path).read_text(encoding="utf-8").splitlines()[code.line_number - 1]
    assert line.strip().startswith(("def ", "@"))


@pytest.mark.parametrize("output", TABLES, ids=lambda output: output.key)
def test_every_table_shows_its_columns(output: Output):
    columns = SPECS[key_of(output)].metadata[SCHEMA].columns
    assert output.schema is not None
    assert [column.name for column in columns] == output.schema.names
    assert [column.constraints.nullable for column in columns] == [field.nullable for field in output.schema]


def test_kinds_and_tags_follow_from_the_declaration():
    frames, network, page = (
        SPECS[dg.AssetKey(key)] for key in ("frames", ["checkpoints", "person_detector"], "report")
    )
    assert frames.kinds == {"python", "arrow"}
    assert network.kinds == {"python", "pytorch"}
    assert page.kinds == {"python", "html"}
    assert (frames.tags["tps/per"], frames.tags["tps/computed_on"]) == ("shard", "cpu")
    assert (network.tags["tps/trains"], network.tags["tps/computed_on"]) == ("yes", "gpu")
    video_id, frame = SPECS[dg.AssetKey("frames")].metadata[SCHEMA].columns[:2]
    assert (video_id.type, frame.type) == ("string", "int32")


def test_the_code_is_that_of_the_step():
    step = GRAPH.step("tracks")
    (code,) = SPECS[dg.AssetKey("tracks")].metadata[CODE].code_references
    assert step.code is not None
    assert (code.file_path, code.line_number) == (
        inspect.getsourcefile(step.code),
        inspect.getsourcelines(step.code)[1],
    )
