"""Trainings in a real MLflow, lineage as OpenLineage events in a file; neither is imported where it is not wanted."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pyarrow as pa
import pytest

from assets import mlflow_runs, steps
from benchmarks.orchestration.ray_head import free_port
from tests import workplace
from tps_pipeline.graph import Graph, Run, Step, ingestion, make
from tps_pipeline.lineage import Input, Lineage, Work, openlineage_events
from tps_pipeline.outputs import checkpoint
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store

NEW = "video_action_statistics"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server with a database and a folder of its own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [
        Path(sys.executable).with_name("mlflow"), "server", "--host", "127.0.0.1", "--port", port, "--workers", 1,
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder / "artifacts",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = psutil.Popen(
            [*map(str, command)], cwd=folder, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + 300
            while not answers(address):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.5)
            yield address
        finally:
            family = [*process.children(recursive=True), process]
            for each in family:
                each.terminate()
            psutil.wait_procs(family, timeout=30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workplace.make(tmp_path_factory.mktemp("tracking"), videos=8)


def leading_to(graph: Graph, step: Step) -> set[Step]:
    return set(graph.before(step)).union(*(leading_to(graph, each) for each in graph.before(step)))


def test_a_training_is_a_run_of_mlflow_whose_url_dagster_shows(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
):
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv(mlflow_runs.URI, server)
    pipeline = workplace.pipeline(folder)
    graph = graph_of(pipeline.recipe)
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        run = pipeline.run("first")
        ingestion.take_in(run)
        instance.add_dynamic_partitions("shards", run.lineage.latest().shards("train", "val", "test"))
        step = graph.step("checkpoints/person_detector")
        for each in [each for each in graph.steps if each in leading_to(graph, step)]:
            make(run, each, run.lineage.latest().shards(*graph.splits[each.name]) if each.sharded else ())
        urls = list[str]()
        for _ in range(2):  # made, then kept
            done = dg.materialize([steps.asset_of(step)], instance=instance, resources={"pipeline": pipeline})
            (made,) = done.asset_materializations_for_node(step.name.replace("/", "__"))
            urls.append(str(made.metadata["mlflow"].value))
    assert urls[0] == urls[1]
    assert urls[0].startswith(f"{server}/#/experiments/")
    number = urls[0].rpartition("/")[2]
    client = MlflowClient(server)
    told = client.get_run(number)
    record = pipeline.run("after").lineage.latest().records[checkpoint("person_detector").at()]
    assert told.info.run_name == "person_detector"
    assert told.info.status == "FINISHED"
    assert told.data.tags["tps.code_version"] == record.code_version
    assert told.data.params["training.epochs"] == "1"
    assert record.metrics.items() <= told.data.metrics.items()
    assert [each.step for each in client.get_metric_history(number, "log/loss")] == [0]
    assert {"recipe.yaml", "log.csv", "card.md"} <= {each.path for each in client.list_artifacts(number)}


def test_a_server_that_is_away_costs_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(mlflow_runs.URI, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = list[str]()
    pipeline = workplace.pipeline(folder)
    run = Run(pipeline.recipe, pipeline.data_folder, Lineage(pipeline.store), warn=told.append)
    step = graph_of(pipeline.recipe).step("checkpoints/person_detector")
    (outcome,) = make(run, step).values()
    assert mlflow_runs.url_of(run, step, outcome) is None
    assert "was not told of checkpoints/person_detector" in told[0]


def test_records_are_events_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = tmp_path / "events"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
    openlineage_events._client.cache_clear()
    lineage = Lineage(Store(tmp_path / "store"))
    written = lineage.store.write("videos/train-000.parquet", pa.table({"a": [1, 2]}))
    work = Work("videos", "train-000", (Input("shards", "train-000", "abc", "shards/train-000.parquet"),), (), "")
    record = lineage.record(work, written, run_id="not a uuid")
    start, complete = map(json.loads, events.read_text().splitlines())
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert complete["job"]["name"] == "videos"
    (read,), (made,) = complete["inputs"], complete["outputs"]
    assert (read["name"], read["facets"]["version"]["datasetVersion"]) == ("shards/train-000", "abc")
    assert (made["namespace"], made["name"]) == (f"file://{tmp_path}/store", "videos/train-000")
    assert made["facets"]["version"]["datasetVersion"] == record.data_version
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 2


def test_neither_is_imported_where_it_is_not_wanted():
    code = (
        "import sys; import assets.definitions, tps_pipeline.lineage\n"
        "assert not {'mlflow', 'openlineage'} & {name.partition('.')[0] for name in sys.modules}"
    )
    named = (mlflow_runs.URI, *openlineage_events.SETTINGS)
    environment = {name: value for name, value in os.environ.items() if name not in named}
    subprocess.run([sys.executable, "-c", code], cwd=workplace.ROOT, env=environment, check=True)
