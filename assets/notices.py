"""Failure notices: `TPS_NOTIFY` is a shell command that gets one JSON object on its standard input.

Its keys: `run_id`, `job`, `steps` (those that failed), `error`, `shards` (the run's, or null), `store`, `time` (ISO).
"""

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.resources import Pipeline

COMMAND = "TPS_NOTIFY"
TIMEOUT = 60
"""Seconds that the command may take."""


@dg.run_failure_sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING if os.environ.get(COMMAND) else dg.DefaultSensorStatus.STOPPED,
)
def failure_notice(context: dg.RunFailureSensorContext, pipeline: Pipeline) -> None:
    """Tell somebody that a run failed, by the command in `TPS_NOTIFY`; runs from a shell are told of, too."""
    tags = context.dagster_run.tags
    first = tags.get("dagster/asset_partition_range_start", tags.get("dagster/partition"))
    last = tags.get("dagster/asset_partition_range_end", first)
    failed = context.get_step_failure_events()
    errors = [event.step_failure_data.error for event in failed]
    notify(
        {
            "run_id": context.dagster_run.run_id,
            "job": context.dagster_run.job_name,
            "steps": [event.step_key for event in failed],
            "error": "\n".join(_cause(e) for e in errors if e) or context.failure_event.message,
            "shards": first if first == last else f"{first}...{last}",
            "store": pipeline.store_root,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def notify(notice: dict[str, object]) -> None:
    """Give a notice to the command; without one there is nobody to tell.

    Raises:
        CalledProcessError: The command failed; the sensor shows it and tries again.
    """
    if command := os.environ.get(COMMAND):
        subprocess.run(command, shell=True, input=json.dumps(notice), text=True, check=True, timeout=TIMEOUT)


def _cause(error: Any) -> str:
    """The message of what went wrong first."""
    while error.cause is not None:
        error = error.cause
    return error.message.strip()
