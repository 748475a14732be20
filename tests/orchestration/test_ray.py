"""Steps as jobs of a Ray cluster: a local head that is told it has a GPU, for shares are only counted here."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.orchestration.conftest import BIN, Workplace, free_port

jobs = pytest.importorskip("ray.job_submission", reason="make test-orchestration installs Ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address that a Ray head takes jobs at."""
    port, dashboard = free_port(), free_port()
    head = [BIN / "ray", "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-gpus=1"]
    options = ["--num-cpus=2", "--disable-usage-stats", "--object-store-memory=100000000", "--block"]
    with subprocess.Popen([*head, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{dashboard}"
        try:
            wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def wait_for(address: str, seconds: float = 120) -> None:
    """Until the head takes jobs."""
    import time

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


def test_steps_run_as_ray_jobs_with_their_share_of_a_gpu(workplace: Workplace, cluster: str) -> None:
    workplace.env |= {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": cluster, "TPS_GPUS": "0.5"}
    workplace.materialize("checkpoints/video_action")
    workplace.materialize("video_actions", "val-000...test-000")
    made = {record.name: record.rows for record in workplace.lineage.latest().records.values()}
    assert made["video_actions/test-000"] == made["videos/test-000"]
    assert made["video_actions/val-000"] == made["videos/val-000"]
    done = {job.metadata["dagster/op"]: job for job in jobs.JobSubmissionClient(cluster).list_jobs()}
    assert set(done) == {"checkpoints__video_action", "video_actions"}
    assert {job.status for job in done.values()} == {"SUCCEEDED"}
