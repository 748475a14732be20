"""Steps as jobs of a Ray cluster: a local head that is told it has a GPU, for shares are only counted here."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.orchestration.conftest import BIN, Workplace, free_port

list_actors = pytest.importorskip("ray.util.state").list_actors
jobs = pytest.importorskip("ray.job_submission", reason="make test-orchestration installs Ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address that a Ray head takes jobs at."""
    port, dashboard = free_port(), free_port()
    head = [BIN / "ray", "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-gpus=1"]
    ports = [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    options = [*ports, "--num-cpus=2", "--disable-usage-stats", "--object-store-memory=100000000", "--block"]
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}  # of the activated environment
    with subprocess.Popen([*head, *options], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{dashboard}"
        try:
            wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def wait_for(address: str, seconds: float = 240) -> None:
    """Until the head takes jobs."""
    begin = time.monotonic()
    while True:
        try:
            jobs.JobSubmissionClient(address).list_jobs()
        except (ConnectionError, RuntimeError):
            if time.monotonic() - begin > seconds:
                raise
            time.sleep(1)
        else:
            return


def end_of(job: Any, address: str) -> str:
    """How a job ended; Ray says so a moment after its command has returned."""
    client = jobs.JobSubmissionClient(address)
    for _ in range(30):
        if (status := client.get_job_status(job.submission_id)).is_terminal():
            break
        time.sleep(1)
    return status


def test_steps_run_as_ray_jobs_with_their_share_of_a_gpu(workplace: Workplace, cluster: str) -> None:
    workplace.env |= {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": cluster, "TPS_GPUS": "0.5"}
    workplace.materialize("checkpoints/video_action")
    workplace.materialize("video_actions", "val-000...test-000")
    made = {record.name: record.rows for record in workplace.lineage.latest().records.values()}
    assert made["video_actions/test-000"] == made["videos/test-000"]
    assert made["video_actions/val-000"] == made["videos/val-000"]
    ended = {job.metadata["dagster/op"]: end_of(job, cluster) for job in jobs.JobSubmissionClient(cluster).list_jobs()}
    assert ended == {"checkpoints__video_action": "SUCCEEDED", "video_actions": "SUCCEEDED"}
    asked = [actor.required_resources.get("GPU") for actor in list_actors(cluster, detail=True)]
    assert asked == [0.5, 0.5]
