"""What happens by itself: sensor, conditions, retraining, notices; evaluated without a daemon."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.automation import EAGER, INGESTION, ONE_SHARD
from assets.definitions import definitions_of
from assets.executors import GPU
from assets.resources import Pipeline
from assets.steps import SHARDS
from tps_pipeline import outputs
from tps_pipeline.graph.ingestion import take_in

pytestmark = pytest.mark.whole


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    (tmp_path / "data" / "test_videos").mkdir(parents=True)
    return Pipeline(data=str(tmp_path / "data"), recipe_name="demo", store_root=str(tmp_path / "store"))


@pytest.fixture
def instance(tmp_path: Path):
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield instance


@pytest.fixture
def definitions(pipeline: Pipeline) -> dg.Definitions:
    return definitions_of(pipeline, dg.in_process_executor)


def test_nothing_that_needs_a_gpu_is_eager_and_all_tables_are(definitions: dg.Definitions):
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    on_gpu = {node.key for node in nodes if GPU in (node.pools or ())}
    eager = {node.key for node in nodes if node.automation_condition}
    assert dg.AssetKey(["checkpoints", "person_detector"]) in on_gpu
    assert not eager & on_gpu
    assert eager == {node.key for node in nodes if node.group_name in EAGER}


def report(instance: dg.DagsterInstance, asset: str, *shards: str):
    for shard in shards or [None]:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset.split("/"), partition=shard))


def test_tables_follow_what_they_read(definitions: dg.Definitions, instance: dg.DagsterInstance):
    instance.add_dynamic_partitions(str(SHARDS.name), ["train-000", "val-000", "test-000"])
    method = "video_category"
    tables = ("leaderboard", f"psc/{method}", "submission")

    def requested(cursor: "dg.AssetDaemonCursor | None" = None):
        looked_at = dg.AssetSelection.assets(*(dg.AssetKey(asset.split("/")) for asset in tables))
        result = dg.evaluate_automation_conditions(definitions, instance, looked_at, cursor=cursor)
        asked = {asset for asset in tables if result.get_num_requested(dg.AssetKey(asset.split("/")))}
        return asked, result.cursor

    keys = [key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()]
    everything = [key for key in keys if key not in ("leaderboard", "report", "submission")]
    graph = definitions.resolve_asset_graph()
    _, cursor = requested()
    for key in everything:
        scored = graph.get(dg.AssetKey(key.split("/"))).group_name in ("detections", "predictions", "evaluation")
        if graph.get(dg.AssetKey(key.split("/"))).partitions_def:
            report(instance, key, *(["val-000", "test-000"] if scored else ["train-000", "val-000", "test-000"]))
        else:
            report(instance, key)
    for key in ("leaderboard", "report", "submission"):
        report(instance, key)
    _, cursor = requested(cursor)
    asked, cursor = requested(cursor)
    assert asked == set()
    report(instance, f"psc/{method}", "val-000")
    asked, cursor = requested(cursor)
    assert asked == {"leaderboard"}  # though no training shard was ever scored
    report(instance, "frames", "train-000")
    asked, _ = requested(cursor)
    assert f"psc/{method}" not in asked  # there are no predictions of it


def tick(
    definitions: dg.Definitions, pipeline: Pipeline, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[dg.RunRequest], str | None]:
    sensor = definitions.get_repository_def().get_sensor_def("new_videos")
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=definitions.get_repository_def(),
        resources={"pipeline": pipeline},
    )
    data = sensor(context)
    assert isinstance(data, dg.SensorResult)
    return list(data.run_requests or []), data.cursor


def test_a_new_video_is_taken_in_and_its_shard_requested_once(
    definitions: dg.Definitions, pipeline: Pipeline, instance: dg.DagsterInstance
):
    video = pipeline.data_folder / "test_videos" / "a.mp4"
    video.write_bytes(b"not finished")
    requests, cursor = tick(definitions, pipeline, instance)
    assert requests == []
    video.write_bytes(b"finished, and longer")
    requests, cursor = tick(definitions, pipeline, instance, cursor)
    assert requests == []
    (request,), cursor = tick(definitions, pipeline, instance, cursor)
    assert request.job_name == INGESTION

    job = definitions.resolve_job_def(INGESTION)
    assert job.execute_in_process(instance=instance, run_config=request.run_config).success
    (request,), cursor = tick(definitions, pipeline, instance, cursor)
    assert (request.job_name, request.partition_key) == (ONE_SHARD, "test-000")
    groups = {definitions.resolve_asset_graph().get(key).group_name for key in request.asset_selection or ()}
    assert groups == {"source"}  # no network has been trained, and no detector learns from test videos

    job = definitions.resolve_job_def(ONE_SHARD)
    only = [dg.AssetKey("videos")]
    assert job.execute_in_process(instance=instance, asset_selection=only, partition_key="test-000").success
    requests, _ = tick(definitions, pipeline, instance, cursor)
    assert requests == []


@pytest.mark.parametrize("left", [None, b"", b"PAR1"])
def test_a_shard_whose_table_is_lost_does_not_stop_the_others(
    definitions: dg.Definitions, pipeline: Pipeline, instance: dg.DagsterInstance, left: bytes | None
):
    """Its videos are handed over as new ones are, and ingestion knows them again."""
    for name in ("a", "b"):
        (pipeline.data_folder / "test_videos" / f"{name}.mp4").write_bytes(name.encode() * 9)
    run = pipeline.run()
    take_in(run)
    table = Path(pipeline.store.full("shards/test-000.parquet"))
    was = table.read_bytes()
    pipeline.store.write("videos/test-000.parquet", pipeline.read(outputs.SHARDS, "test-000").select(["video_id"]))
    table.unlink() if left is None else table.write_bytes(left)
    (pipeline.data_folder / "test_videos" / "new.mp4").write_bytes(b"new")
    requests, cursor = tick(definitions, pipeline, instance)
    assert requests == []
    (request,), _ = tick(definitions, pipeline, instance, cursor)
    found = take_in(run, only=request.run_config["ops"]["shards"]["config"]["videos"])
    assert "it has 2 of its 2 videos again" in str(found.problems[0])
    assert table.read_bytes() == was
    assert pipeline.shards("test") == ["test-000", "test-001"]


def test_a_failed_run_is_told_to_the_command_in_the_environment(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pipeline: Pipeline,
):
    told = tmp_path / "notice.json"
    monkeypatch.setenv(
        "TPS_NOTIFY", f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.stdin.read())' {told}"
    )
    (pipeline.data_folder / "test_videos").rmdir()
    pipeline.data_folder.rmdir()
    result = definitions.resolve_job_def(INGESTION).execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        sensor_name="failure_notice",
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        partition_key=None,
        resources={"pipeline": pipeline},
    ).for_run_failure()
    definitions.get_repository_def().get_sensor_def("failure_notice")(context)
    notice = json.loads(told.read_text())
    assert (notice["job"], notice["steps"], notice["run_id"]) == (INGESTION, ["shards"], result.run_id)
    assert "no such folder; give the folder that holds train_videos/" in notice["error"]
