"""Runs whose process is gone, also those that it had made and not begun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.dead_runs import PROCESS, end_dead_runs
from assets.executors import GPU, multiprocess

pytestmark = pytest.mark.whole


@dg.op
def nothing() -> None:
    """What a run is of here."""


@dg.job
def job() -> None:
    nothing()


@dg.op(pool=GPU)
def trains() -> None:
    """What waits for a place in the pool."""


@dg.job(executor_def=multiprocess)
def side_by_side() -> None:
    trains()


@pytest.fixture
def gone() -> str:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return str(process.pid)


def test_a_run_that_was_made_and_not_begun_ends_with_its_process(tmp_path: Path, gone: str):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        dead = instance.create_run_for_job(job, tags={PROCESS: gone})
        mine = instance.create_run_for_job(job, tags={PROCESS: str(os.getpid())})
        unknown = instance.create_run_for_job(job)
        again = instance.create_run_for_job(
            job, tags={PROCESS: gone}, parent_run_id=dead.run_id, root_run_id=dead.run_id
        )
        assert end_dead_runs(instance) == [dead.run_id]
        statuses = {run.run_id: run.status for run in instance.get_runs()}
        assert statuses[dead.run_id] == dg.DagsterRunStatus.FAILURE
        assert {statuses[run.run_id] for run in (mine, unknown, again)} == {dg.DagsterRunStatus.NOT_STARTED}


def test_a_run_in_processes_does_not_wait_for_a_place_that_a_dead_one_has(tmp_path: Path, gone: str):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        dead = instance.create_run_for_job(job, tags={PROCESS: gone})
        instance.event_log_storage.set_concurrency_slots(GPU, 1)
        claimed = instance.event_log_storage.claim_concurrency_slot(GPU, dead.run_id, "nothing")
        assert claimed.is_claimed
        signal.alarm(60)  # it would wait for ever
        assert dg.execute_job(dg.reconstructable(side_by_side), instance).success
        signal.alarm(0)
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
