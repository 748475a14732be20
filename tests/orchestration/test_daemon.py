"""What a daemon does by itself or is asked for in the UI, with a real one running: all of it through its own queue."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorType, ScheduleInstigatorData

from assets.executors import GPU
from assets.steps import SHARDS
from tests.workplace import ROOT, dagster_dev, environment, make, pipeline
from tps_pipeline.data.synthetic import generate
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.outputs import CHECKS, SPLITS, VIDEOS
from tps_pipeline.store import Store

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "tps"}
NEW = "second"


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """Send the UI's server what its pages send."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    assert "errors" not in answer, answer
    (data,) = answer["data"].values()
    assert "Error" not in data.get("__typename", ""), data
    return data


def turn_on(url: str, kind: str, name: str) -> None:
    field = f"{kind.lower()}Name"
    query = f"""mutation($selector: {kind}Selector!) {{ start{kind}({kind.lower()}Selector: $selector)
        {{ __typename ... on PythonError {{ message }} }} }}"""
    ask(url, query, selector=REPOSITORY | {field: name})


def wait_until(look: Callable[[], Any], seconds: float = 400) -> Any:
    """What is found, once it is there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.5)
    raise TimeoutError


def instance_of(folder: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(folder / "home"))


def records(folder: Path) -> list[Record]:
    return Lineage(Store(folder / "store")).records()


def outputs_of(made: Sequence[Record]) -> set[str]:
    """What was made; the verdicts of checks are records, too."""
    return {record.name for record in made if not record.asset.startswith(CHECKS)}


def finished(folder: Path, job: str, count: int = 1) -> Sequence[dg.DagsterRun]:
    """A job's runs, once so many have ended, all of them well."""
    with instance_of(folder) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name=job))
    assert not [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE]
    return runs if len([run for run in runs if run.is_finished]) >= count else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store, and a recipe that has one more method by now."""
    methods = {"video_category": {"kind": "video_category"}}
    made = make(tmp_path_factory.mktemp("daemon"), methods=methods, submission="video_category")
    subprocess.run(["python", "-m", "assets.run"], cwd=ROOT, env=environment(made), check=True, timeout=600)
    recipe = yaml.safe_load((made / "recipe.yaml").read_text())
    recipe["methods"][NEW] = {"kind": "video_category"}
    (made / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return made


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The UI beside a daemon that was away when the schedule was due last Monday."""
    with dagster_dev(folder) as url:
        turn_on(url, "Schedule", "weekly_retraining")
    with instance_of(folder) as instance:
        (state,) = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
        data = state.instigator_data
        assert isinstance(data, ScheduleInstigatorData)
        last_week = (datetime.now(UTC) - timedelta(days=7)).timestamp()
        instance.update_instigator_state(state.with_data(ScheduleInstigatorData(data.cron_schedule, last_week)))
    with dagster_dev(folder) as url:
        turn_on(url, "Sensor", "after_retraining")
        yield url


def test_the_missed_retraining_is_made_up_for_and_what_follows_from_it(url: str, folder: Path) -> None:
    """Of the networks only the new method's is due; what it learned is then used on every scored shard."""
    (run,) = wait_until(lambda: finished(folder, "retraining"))
    assert run.status == dg.DagsterRunStatus.SUCCESS
    own = [record for record in records(folder) if record.run_id == run.run_id]
    assert [record.name for record in own] == [f"checkpoints/{NEW}"]

    scored = pipeline(folder).shards("val", "test")
    follow = wait_until(lambda: finished(folder, "one_shard", len(scored)))
    ids = {run.run_id for run in follow}
    made = outputs_of([record for record in records(folder) if record.run_id in ids])
    assert made == {f"predictions/{NEW}/{shard}" for shard in scored}


def test_a_network_that_is_there_is_fresh(url: str) -> None:
    query = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key)
        { __typename ... on AssetNode { freshnessStatusInfo { freshnessStatus } } } }"""

    def status() -> bool:
        node = ask(url, query, key={"path": ["checkpoints", "video_category"]})
        return (node["freshnessStatusInfo"] or {}).get("freshnessStatus") == "HEALTHY"

    wait_until(status)


def test_a_backfill_makes_one_method_anew_and_nothing_else(url: str, folder: Path) -> None:
    """As after a change of the method: its predictions are gone."""
    scored = pipeline(folder).shards("val", "test")
    shutil.rmtree(folder / "store" / "predictions" / NEW)
    before = len(records(folder))
    assets = [f"checkpoints/{NEW}", f"predictions/{NEW}", f"psc/{NEW}"]
    query = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params)
        { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    selection = [{"path": asset.split("/")} for asset in assets]
    backfill = ask(url, query, params={"assetSelection": selection, "partitionNames": scored})["backfillId"]

    def ended() -> str | None:
        with instance_of(folder) as instance:
            found = instance.get_backfill(backfill)
        status = found.status.value if found else "MISSING"
        return None if status in ("REQUESTED", "COMPLETING") else status

    assert wait_until(ended) == "COMPLETED_SUCCESS"
    made = outputs_of(records(folder)[before:])
    assert made == {f"{asset}/{NEW}/{shard}" for asset in ("predictions", "psc") for shard in scored}


def test_a_new_video_goes_all_the_way_to_the_submission(url: str, folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, videos=4, seed=11, width=128, height=96, frames=16, classes=2, test_fraction=0.5)
    video = next((tmp_path / "test_videos").rglob("*.mp4"))
    known = set(pipeline(folder).shards(*SPLITS))
    for sensor in ("new_videos", "eager_tables"):
        turn_on(url, "Sensor", sensor)
    shutil.copy(video, folder / "data" / "test_videos" / "a_new_one.mp4")

    def submitted() -> str | None:
        new = set(pipeline(folder).shards(*SPLITS)) - known
        traced = Lineage(Store(folder / "store")).trace(("submission", None))
        return next((record.partition for _, record in traced if record.partition in new), None)

    shard = wait_until(submitted)
    with instance_of(folder) as instance:
        assert shard in instance.get_dynamic_partitions(str(SHARDS.name))
    assert pipeline(folder).read(VIDEOS, shard)["path"].to_pylist() == ["test_videos/a_new_one.mp4"]


def test_the_pool_holds_between_ui_and_shell_and_a_cancelled_run_frees_it(tmp_path: Path) -> None:
    folder = make(tmp_path)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["video_action"]["members"]["swin"]["training"]["epochs"] = 100_000
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    shell = ["dagster", "asset", "materialize", "--select"]

    def materialize(select: str, *options: str) -> None:
        subprocess.run([*shell, select, *options], cwd=ROOT, env=environment(folder), check=True, timeout=300)

    materialize("key:shards")
    everything = pipeline(folder).shards(*SPLITS)
    for shard in everything:
        materialize('group:"source" or key:"videos"', "--partition", shard)
    materialize('key:"vocabulary/actions" or key:"vocabulary/states"')

    def slots() -> Any:
        with instance_of(folder) as instance:
            return instance.event_log_storage.get_concurrency_info(GPU)

    with dagster_dev(folder) as url:
        query = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params)
            { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        selection = [{"path": ["checkpoints", "video_action"]}]
        selector = REPOSITORY | {"jobName": "__ASSET_JOB", "assetSelection": selection}
        run_id = ask(url, query, params={"selector": selector, "runConfigData": {}})["run"]["runId"]
        wait_until(lambda: slots().active_slot_count == 1 and run_id in slots().active_run_ids)
        waiting = subprocess.Popen([*shell, "key:checkpoints/video_category"], cwd=ROOT, env=environment(folder))
        wait_until(lambda: slots().pending_step_count == 1)
        assert waiting.poll() is None

        terminate = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"
        assert ask(url, terminate, run=run_id)["__typename"] == "TerminateRunSuccess"
        cancelled = time.monotonic()
        assert waiting.wait(300) == 0
        assert time.monotonic() - cancelled < 120
        with instance_of(folder) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(run_ids=[run_id]))
        assert run.status == dg.DagsterRunStatus.CANCELED
    assert slots().active_slot_count == 0
    assert [record.name for record in records(folder) if record.asset.startswith("checkpoints/")] == [
        "checkpoints/video_category"
    ]
