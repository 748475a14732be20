"""Each blocking check, run by Dagster on a planted fault: it fails, and nothing is built on the wrong table."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from dagster._core.storage.tags import PRIORITY_TAG

from assets.checks import checks_of
from assets.definitions import assets_of
from assets.executors import COUNTS
from assets.resources import Pipeline
from assets.steps import SHARDS
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.graph.checking import allow
from tps_pipeline.lineage import Work
from tps_pipeline.outputs import FRAMES, STATE_LABELS, SUBMISSION, VIDEOS, Output, dataset, predictions, psc
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Written

pytestmark = pytest.mark.whole

SHARD = "test-000"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A store with one readable video of one sampled frame of 32 x 24 pixels, and a vocabulary."""
    made = Pipeline(data=str(tmp_path), recipe_name="demo", store_root=str(tmp_path / "store"))
    record(made, VIDEOS, SHARD, made.store.write(VIDEOS.path(SHARD), conform(videos("a"), VIDEOS)))
    states = {"part": ["head"], "state": ["bend"], "most_frequent": [True]}
    record(made, STATE_LABELS, None, made.store.write(STATE_LABELS.path(), tables.conform(states, tables.STATE_LABELS)))
    record(made, FRAMES, SHARD, write_frames(made, [1]))
    return made


def videos(names: str, unreadable: str = "") -> pd.DataFrame:
    row = {"split": "test", "action": None, "path": "", "n_frames": 5, "fps": 25.0, "width": 32, "height": 24}
    row |= {"rotation": 0, "sha256": "", "error": None}
    return pd.DataFrame([
        row | {"video_id": name, "status": "unreadable" if name in unreadable else "ok"} for name in names
    ])  # fmt: skip


def write_frames(pipeline: Pipeline, numbers: Sequence[int]) -> Written:
    count = len(numbers)
    rows = {"video_id": ["a"] * count, "frame": numbers, "width": [32] * count, "height": [24] * count}
    with pipeline.store.scratch() as scratch, pa.OSFile(str(scratch / "frames.arrow"), "wb") as sink:
        table = tables.conform(rows | {"jpeg": [b""] * count}, tables.FRAMES)
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table.combine_chunks())
        sink.close()
        return pipeline.store.keep(scratch / "frames.arrow", FRAMES.path(SHARD))


def part(**changed: Any) -> pd.DataFrame:
    row = {"video_id": "a", "frame": 1, "person": 0, "part": "head", "person_score": 1.0, "part_score": 1.0}
    row |= dict(zip((*tables.PERSON_BOX, *tables.BOX), (0, 0, 31, 23, 4, 4, 8, 8), strict=True))
    return pd.DataFrame([row | {"state": "bend", "state_score": 1.0, "state_scores": {}} | changed])


Put = Callable[[Pipeline, Any], Written]


def write(output: Output) -> Put:
    return lambda pipeline, rows: pipeline.store.write(output.path(SHARD), conform(rows, output))


def conform(rows: pd.DataFrame | list[dict[str, Any]], output: Output) -> pa.Table:
    assert output.schema is not None
    return tables.conform(pd.DataFrame(rows), output.schema)


def record(pipeline: Pipeline, output: Output, shard: str | None, written: Written, run_id: str = "") -> None:
    pipeline.lineage.record(Work(output.key, shard, (), (), ""), written, run_id=run_id)


def mirrored(label: str) -> pd.DataFrame:
    boxes = dict.fromkeys((*tables.CROP, *tables.BOX), 1)
    row = {"video_id": "a", "frame": 1, "person": 0, "label": "left_arm", "flipped": False} | boxes
    return pd.DataFrame([row, row | {"label": label, "flipped": True}])


def scored(psc: float) -> pd.DataFrame:
    row = {"video_id": "a", "method": "video_level", "split": "test", "action": "x", "action_correct": True}
    return pd.DataFrame([row | {"psc": psc}])


FAULTS: dict[Output, tuple[Put, Any, Any]] = {
    VIDEOS: (write(VIDEOS), videos("abcd", unreadable="bc"), videos("abcd", unreadable="bcd")),
    FRAMES: (write_frames, [1], []),
    dataset("part"): (write(dataset("part")), mirrored("right_arm"), mirrored("left_arm")),
    outputs.TWO_STAGE: (write(outputs.TWO_STAGE), part(), part(x2=32)),
    predictions("video_level"): (write(predictions("video_level")), part(), part(state="bnd")),
    psc("video_level"): (write(psc("video_level")), scored(1.0), scored(1.01)),
}
"""How an output's shard is written, what is right there, and what is not."""


@pytest.mark.parametrize("output", list(FAULTS))
@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_built_on_a_wrong_shard(pipeline: Pipeline, output: Output, right: bool):
    put, good, bad = FAULTS[output]

    def make(context: dg.AssetExecutionContext) -> None:
        written = put(pipeline, good if right else bad)
        record(pipeline, output, SHARD, written, context.run.run_id)

    assert run(pipeline, output.key, make, partition=SHARD) == (right, right)


def test_each_shard_of_a_range_has_its_own_result(pipeline: Pipeline):
    """Beside the one of the run, which alone decides whether anything is built on them."""
    output, shards, wrong = psc("video_level"), ["test-000", "test-001", "test-002"], {"test-001"}
    kept: set[str] = set()
    key = dg.AssetKey(output.key.split("/"))

    @dg.multi_asset(specs=[dg.AssetSpec(key)], partitions_def=SHARDS, backfill_policy=dg.BackfillPolicy.single_run())
    def checked(context: dg.AssetExecutionContext):
        for shard in set(context.partition_keys) - kept:
            table = conform(scored(1.01 if shard in wrong else 1.0), output)
            record(pipeline, output, shard, pipeline.store.write(output.path(shard), table), context.run.run_id)
        yield dg.MaterializeResult(key)

    @dg.multi_asset(
        specs=[dg.AssetSpec("after", deps=[key])],
        partitions_def=SHARDS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def after():
        yield dg.MaterializeResult("after")

    (check,) = [c for c in checks_of(pipeline.recipe) if key in {k.asset_key for k in c.check_keys}]
    definitions = dg.Definitions(assets=[checked, after], asset_checks=[check], resources={"pipeline": pipeline})
    job = definitions.resolve_implicit_global_asset_job_def()
    everything = {"dagster/asset_partition_range_start": shards[0], "dagster/asset_partition_range_end": shards[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), shards)
        assert not job.execute_in_process(instance=instance, tags=everything, raise_on_error=False).success
        assert results(instance, check) == {None: "FAILED", **dict.fromkeys(shards, "SUCCEEDED"), "test-001": "FAILED"}
        assert instance.get_latest_materialization_event(dg.AssetKey("after")) is None
        kept |= {*shards}  # the same command again: what was found of what is kept stays found
        assert not job.execute_in_process(instance=instance, tags=everything, raise_on_error=False).success
        assert results(instance, check) == {None: "FAILED", **dict.fromkeys(shards, "SUCCEEDED"), "test-001": "FAILED"}
        wrong.clear()
        kept.clear()
        assert job.execute_in_process(instance=instance, partition_key="test-001").success
        assert results(instance, check) == {None: "FAILED", **dict.fromkeys(shards, "SUCCEEDED")}
        assert job.execute_in_process(instance=instance, tags=everything).success
        assert results(instance, check) == dict.fromkeys([None, *shards], "SUCCEEDED")
        wrong.add("test-002")
        assert not job.execute_in_process(instance=instance, partition_key="test-002", raise_on_error=False).success
        allow(pipeline.lineage, f"{output.key}/test-002", "a test")
        kept |= {*shards}
        assert job.execute_in_process(instance=instance, tags=everything).success
        assert results(instance, check)["test-002"] == "FAILED"  # as a warning


def results(instance: dg.DagsterInstance, check: dg.AssetChecksDefinition) -> dict[str | None, str]:
    """What the UI shows: the latest result of each shard, which is about what was made last."""
    infos = instance.event_log_storage.get_asset_check_partition_info([check.check_key])
    assert all(info.is_current for info in infos)
    return {info.partition_key: info.latest_execution_status.value for info in infos}


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_built_where_a_video_is_in_two_splits(pipeline: Pipeline, right: bool):
    def make(context: dg.AssetExecutionContext) -> None:
        for shard, video in (("train-000", "a"), ("val-000", "b" if right else "a")):
            row = {"video_id": video, "split": shard[:-4], "action": "x", "path": "", "sha256": "", "bytes": 0}
            manifest = conform([row | {"mtime_ns": 0, "annotations": None}], outputs.SHARDS)
            written = pipeline.store.write(outputs.SHARDS.path(shard), manifest)
            record(pipeline, outputs.SHARDS, shard, written, context.run.run_id)

    assert run(pipeline, "shards", make) == (right, right)


@pytest.mark.parametrize(("people", "proposals", "right"), [(10, 5, True), (11, 1, False), (1, 6, False)])
def test_a_submission_over_the_challenge_s_limits_is_found(
    pipeline: Pipeline, people: int, proposals: int, right: bool
):
    person = {"box": [0, 0, 9, 9], "parts": {"head": {"box": [[0, 0, 9, 9]] * proposals, "verb": ["bend"] * proposals}}}

    def make() -> None:
        with pipeline.store.scratch() as scratch:
            (scratch / "made").mkdir()
            frames = {"a": {"img_00001.json": {"humans": [person] * people}}}
            (scratch / "made" / "pred_part_result.json").write_text(json.dumps(frames))
            record(pipeline, SUBMISSION, None, pipeline.store.keep(scratch / "made", SUBMISSION.path()))

    assert run(pipeline, "submission", make) == (right, True)  # the report is wanted all the same


def run(pipeline: Pipeline, asset: str, make: Callable[..., None], partition: str | None = None) -> tuple[bool, bool]:
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
    assert kinds - {"ensemble"} == {*(output.key.split("/")[0] for output in FAULTS), "shards", "submission"}


def test_a_check_asks_ray_for_a_core_and_goes_as_early_as_what_it_looks_at():
    whole = recipe.load("demo")
    steps = {key: asset.op.tags for asset in assets_of(graph_of(whole)) for key in asset.keys}
    for check in checks_of(whole):
        (looked_at,) = check.check_keys
        tags, of_asset = check.node_def.tags, steps[looked_at.asset_key]
        assert json.loads(tags["dagster-ray/config"]) == COUNTS["dagster-ray/config"]
        assert tags.get(PRIORITY_TAG) == of_asset.get(PRIORITY_TAG, "0")
