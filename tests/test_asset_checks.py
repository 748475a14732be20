"""Each blocking check, run by Dagster on a planted fault: it fails, and nothing is built on the wrong table."""

import json
from collections.abc import Callable

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from assets.checks import checks_of
from assets.resources import Pipeline
from assets.shards import SHARDS
from tps_pipeline import tables
from tps_pipeline.lineage import Work
from tps_pipeline.store import table_path

SHARD = "test-000"


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:
    """A store with one readable video of one sampled frame of 32 x 24 pixels, and a vocabulary."""
    made = Pipeline(data=str(tmp_path), recipe_name="demo", store_root=str(tmp_path / "store"))
    video = {"video_id": "a", "split": "test", "action": None, "path": "a.mp4", "n_frames": 5, "fps": 25.0}
    video |= {"width": 32, "height": 24, "rotation": 0, "sha256": "", "status": "ok", "error": None}
    made.store.write(table_path("videos", SHARD), tables.conform(pd.DataFrame([video]), tables.VIDEOS))
    states = {"part": ["head"], "state": ["bend"], "most_frequent": [True]}
    made.store.write("vocabulary/states.parquet", tables.conform(states, tables.STATE_LABELS))
    write_frames(made, [1])
    return made


def write_frames(pipeline, numbers):
    count = len(numbers)
    rows = {"video_id": ["a"] * count, "frame": numbers, "width": [32] * count, "height": [24] * count}
    with pipeline.store.scratch() as scratch, pa.OSFile(str(scratch / "frames.arrow"), "wb") as sink:
        table = tables.conform(rows | {"jpeg": [b""] * count}, tables.FRAMES)
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table.combine_chunks())
        sink.close()
        return pipeline.store.keep(scratch / "frames.arrow", table_path("frames", SHARD, ".arrow"))


def part(**changed) -> pd.DataFrame:
    row = {"video_id": "a", "frame": 1, "person": 0, "part": "head", "person_score": 1.0, "part_score": 1.0}
    row |= dict(zip((*tables.PERSON_BOX, *tables.BOX), (0, 0, 31, 23, 4, 4, 8, 8), strict=True))
    return pd.DataFrame([row | {"state": "bend", "state_score": 1.0, "state_scores": {}} | changed])


def write(asset: str, schema: pa.Schema) -> Callable:
    return lambda pipeline, rows: pipeline.store.write(table_path(asset, SHARD), tables.conform(rows, schema))


def mirrored(label: str) -> pd.DataFrame:
    boxes = dict.fromkeys((*tables.CROP, *tables.BOX), 1)
    row = {"video_id": "a", "frame": 1, "person": 0, "label": "left_arm", "flipped": False} | boxes
    return pd.DataFrame([row, row | {"label": label, "flipped": True}])


def scored(psc: float) -> pd.DataFrame:
    row = {"video_id": "a", "method": "video_level", "split": "test", "action": "x", "action_correct": True}
    return pd.DataFrame([row | {"psc": psc}])


FAULTS = {
    "frames": (write_frames, [1], []),
    "datasets/part": (write("datasets/part", tables.SAMPLES), mirrored("right_arm"), mirrored("left_arm")),
    "detections/two_stage": (write("detections/two_stage", tables.DETECTIONS), part(), part(x2=32)),
    "predictions/video_level": (write("predictions/video_level", tables.PREDICTIONS), part(), part(state="bnd")),
    "psc/video_level": (write("psc/video_level", tables.PSC), scored(1.0), scored(1.01)),
}
"""How an asset's shard is written, what is right there, and what is not."""


@pytest.mark.parametrize("asset", list(FAULTS))
@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_built_on_a_wrong_shard(pipeline, asset, right):
    put, good, bad = FAULTS[asset]

    def make(context: dg.AssetExecutionContext) -> None:
        written = put(pipeline, good if right else bad)
        pipeline.lineage.record(Work(asset, SHARD, (), (), ""), written, run_id=context.run.run_id)

    assert run(pipeline, asset, make, partition=SHARD) == (right, right)


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_built_where_a_video_is_in_two_splits(pipeline, right):
    def make(context: dg.AssetExecutionContext) -> None:
        for shard, video in (("train-000", "a"), ("val-000", "b" if right else "a")):
            row = {"video_id": video, "split": shard[:-4], "action": "x", "path": "", "sha256": "", "bytes": 0}
            manifest = tables.conform(pd.DataFrame([row | {"mtime_ns": 0, "annotations": None}]), tables.SHARD)
            written = pipeline.store.write(table_path("shards", shard), manifest)
            pipeline.lineage.record(Work("shards", shard, (), (), ""), written, run_id=context.run.run_id)

    assert run(pipeline, "shards", make) == (right, right)


@pytest.mark.parametrize(("people", "proposals", "right"), [(10, 5, True), (11, 1, False), (1, 6, False)])
def test_a_submission_over_the_challenge_s_limits_is_found(pipeline, people, proposals, right):
    person = {"box": [0, 0, 9, 9], "parts": {"head": {"box": [[0, 0, 9, 9]] * proposals, "verb": ["bend"] * proposals}}}

    def make() -> None:
        with pipeline.store.scratch() as scratch:
            (scratch / "made").mkdir()
            frames = {"a": {"img_00001.json": {"humans": [person] * people}}}
            (scratch / "made" / "pred_part_result.json").write_text(json.dumps(frames))
            pipeline.store.keep(scratch / "made", "submission")

    assert run(pipeline, "submission", make) == (right, True)  # the report is wanted all the same


def run(pipeline: Pipeline, asset: str, make: Callable, partition: str | None = None) -> tuple[bool, bool]:
    """Materialize an asset with its check and another asset after it: did the check pass, was the other one made?"""
    key, partitions = dg.AssetKey(asset.split("/")), SHARDS if partition else None
    checked = dg.asset(key=key, partitions_def=partitions)(make)

    @dg.asset(deps=[checked], partitions_def=partitions)
    def built_on_it() -> None: ...

    recipe = pipeline.recipe
    (check,) = [c for c in checks_of(recipe) if key in {k.asset_key for k in c.check_keys}]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), [SHARD])
        result = dg.materialize(
            [checked, built_on_it, check],
            instance=instance,
            partition_key=partition,
            resources={"pipeline": pipeline},
            raise_on_error=False,
        )
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation.passed, bool(result.asset_materializations_for_node("built_on_it"))


def test_every_check_has_its_planted_fault():
    checked = {
        k.asset_key.to_user_string() for c in checks_of(Pipeline.from_environment().recipe) for k in c.check_keys
    }
    kinds = {name.split("/")[0] for name in checked}
    assert kinds - {"ensemble"} == {*(name.split("/")[0] for name in FAULTS), "shards", "submission"}
