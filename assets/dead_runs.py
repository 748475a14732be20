"""Runs whose process was killed: Dagster would count them as started, and their places in a pool as taken, for ever.

This is for one machine, whose Dagster keeps its records in SQLite. On a cluster the run launcher watches over its runs.
"""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress

import dagster as dg
import psutil
from dagster._core.storage.runs import SqliteRunStorage

PROCESS = "tps/process"
"""The tag of a run that says which process makes it and is to run it."""


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Have runs fail whose process is gone, and free what they hold.

    Returns:
        The runs' ids.
    """
    if not isinstance(instance.run_storage, SqliteRunStorage):
        return []
    status = dg.DagsterRunStatus
    under_way = dg.RunsFilter(statuses=[status.NOT_STARTED, status.STARTED, status.CANCELING])
    dead = [record for record in instance.get_run_records(under_way) if not _is_alive(instance, record)]
    for record in dead:
        instance.report_run_failed(record.dagster_run, "Its process is gone: it was killed, or the machine went down.")
    for run_id in instance.event_log_storage.get_concurrency_run_ids():  # also of runs that ended and let go of nothing
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return [record.dagster_run.run_id for record in dead]


def end_with_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Where this is a step's process (executor `multiprocess`): end it as soon as the run's own process is gone.

    Else it would go on beside the run that is started next.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and parent.pid == _pid(instance, run_id):
        end_with(parent.pid)


def end_with(pid: int) -> None:
    """End this process as soon as another one is gone."""

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name=f"end with {pid}").start()


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Frees what killed runs hold, before runs in the queue are held up by it."""
    return dg.SkipReason(f"ended: {', '.join(end_dead_runs(context.instance)) or 'none'}")


def _is_alive(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    pid = _pid(instance, record.dagster_run.run_id)
    try:
        # A number is given to another process in time, and in a container that is started anew at once.
        begun = record.start_time or record.create_timestamp.timestamp()
        return pid is None or psutil.Process(pid).create_time() <= begun
    except psutil.NoSuchProcess:
        return False


def _pid(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that runs the run; before it has started the one that says that it will, if any does."""
    if started := instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_START):
        return started[0].get_dagster_event().pid
    run = instance.get_run_by_id(run_id)
    if run is None or run.parent_run_id or PROCESS not in run.tags:  # one that is launched again has its parent's tags
        return None
    return int(run.tags[PROCESS])
