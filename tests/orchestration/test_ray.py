"""Steps as jobs of a Ray cluster: a local head that is told it has a GPU, for shares are only counted here."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml

from assets.executors import GPU
from benchmarks.orchestration.ray_head import ray_head
from tests.orchestration.workplace import BIN, ROOT, Workplace

list_actors = pytest.importorskip("ray.util.state").list_actors
jobs = pytest.importorskip("ray.job_submission", reason="make test-orchestration installs Ray")


@pytest.fixture
def two_gpus() -> Iterator[str]:
    """The address of a head that is told that it has two GPUs."""
    with ray_head(gpus=2) as address:
        yield address


def end_of(job: Any, address: str) -> str:
    """How a job ended; Ray says so a moment after its command has returned."""
    client = jobs.JobSubmissionClient(address)
    for _ in range(30):
        if (status := client.get_job_status(job.submission_id)).is_terminal():
            return status
        time.sleep(1)
    raise AssertionError(f"{job.submission_id} does not end")


def test_steps_run_as_ray_jobs_with_their_share_of_a_gpu(workplace: Workplace, cluster: str) -> None:
    client = jobs.JobSubmissionClient(cluster)
    before = {job.submission_id for job in client.list_jobs()}
    workplace.env |= {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": cluster, "TPS_GPUS": "0.5"}
    workplace.materialize("checkpoints/video_action")
    workplace.materialize("video_actions/swin", "val-000...test-000")
    made = {record.name: record.rows for record in workplace.lineage.latest().records.values()}
    assert made["video_actions/swin/test-000"] == made["videos/test-000"]
    assert made["video_actions/swin/val-000"] == made["videos/val-000"]
    ours = [job for job in client.list_jobs() if job.submission_id not in before]
    ended = {job.metadata["dagster/op"]: end_of(job, cluster) for job in ours}
    assert ended == {"checkpoints__video_action": "SUCCEEDED", "video_actions__swin": "SUCCEEDED"}
    asked = [actor.required_resources.get("GPU") for actor in list_actors(cluster, detail=True)]
    assert [share for share in asked if share] == [0.5, 0.5]  # what else ran on this head asked for none


def test_networks_that_do_not_depend_on_each_other_train_at_once_each_on_a_gpu_of_its_own(
    workplace: Workplace, two_gpus: str
) -> None:
    networks = ("checkpoints/person_detector", "checkpoints/video_action")
    settings = yaml.safe_load((workplace.folder / "recipe.yaml").read_text())
    settings["person_detector"]["image_size"] = 64
    settings["person_detector"]["training"] |= {"epochs": 2, "batch_size": 4, "workers": 0}
    (workplace.folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    workplace.materialize("datasets/person", "train-000...val-000")
    with dg.DagsterInstance.from_config(str(workplace.folder / "home")) as instance:
        instance.event_log_storage.set_concurrency_slots(GPU, 2)
    select = " or ".join(f"key:{name}" for name in networks)
    variables = workplace.environment | {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": two_gpus}
    run = psutil.Popen([BIN / "dagster", "asset", "materialize", "--select", select], cwd=ROOT, env=variables)
    devices: dict[str, str] = {}  # Ray names a worker's in its environment
    while run.poll() is None:
        devices |= dict(filter(None, map(device_of, psutil.process_iter(["cmdline"]))))
        time.sleep(0.2)
    assert run.wait() == 0
    assert sorted(devices.values()) == ["0", "1"]
    first, second = (workplace.lineage.latest().records[name, None] for name in networks)
    assert max(first.started_at, second.started_at) < min(first.finished_at, second.finished_at)


def device_of(process: psutil.Process) -> tuple[str, str] | None:
    """The step that a process computes for Ray, and the device that it is to see."""
    try:
        variables = process.environ() if "execute_step" in (process.info["cmdline"] or ()) else {}
    except psutil.Error:
        return None
    step, device = (variables.get(name) for name in ("DAGSTER_RUN_STEP_KEY", "CUDA_VISIBLE_DEVICES"))
    return (step, device) if step and device else None


def test_a_step_that_fails_by_itself_is_not_begun_again(workplace: Workplace, cluster: str) -> None:
    client = jobs.JobSubmissionClient(cluster)
    before = {job.submission_id for job in client.list_jobs()}
    workplace.env |= {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": cluster, "TPS_DATA": str(workplace.folder / "nowhere")}
    with pytest.raises(AssertionError, match="cannot be read now"):
        workplace.materialize("frames", "val-000...val-000", force=True)
    assert len([job for job in client.list_jobs() if job.submission_id not in before]) == 1
