"""Steps as jobs of a Ray cluster: a local head that is told it has a GPU, for shares are only counted here."""

import time
from typing import Any

import pytest

from tests.orchestration.workplace import Workplace

list_actors = pytest.importorskip("ray.util.state").list_actors
jobs = pytest.importorskip("ray.job_submission", reason="make test-orchestration installs Ray")


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
