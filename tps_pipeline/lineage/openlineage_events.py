"""Records as OpenLineage events, for tools that show the lineage of many systems; only if some transport is configured.

Where events go is OpenLineage's own configuration: `OPENLINEAGE_URL`, `OPENLINEAGE_CONFIG` or
`OPENLINEAGE__TRANSPORT__TYPE` and what belongs to it. Its package is imported when the first record is sent.
"""

from __future__ import annotations

import functools
import logging
import os
import uuid
from datetime import UTC, datetime
from typing import Any

from tps_pipeline.lineage.records import Record
from tps_pipeline.outputs import name_of

log = logging.getLogger(__name__)

SETTINGS = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE", "OPENLINEAGE__TRANSPORT")
"""The variables of the environment of which one says that events are wanted."""

PRODUCER = "https://pypi.org/project/tps-pipeline"
"""What events name as the software that wrote them."""


def send(record: Record, store: str) -> None:
    """Tell of a write that was recorded; one that cannot be told of is in the log, and everything goes on.

    Args:
        record: What was written, of what.
        store: The store's address: the namespace of what is in it.
    """
    if not any(map(os.environ.get, SETTINGS)):
        return
    try:
        for event in _events(record, store):
            _client().emit(event)
    except ImportError:
        log.warning("OpenLineage is configured and not installed: pip install 'tps-pipeline[openlineage]'")
    except Exception as error:
        log.warning("%s: no OpenLineage event: %s: %s", record.name, type(error).__name__, error)


@functools.cache
def _client() -> Any:
    from openlineage.client import OpenLineageClient  # pyright: ignore[reportMissingImports]

    return OpenLineageClient()


def _events(record: Record, namespace: str) -> list[Any]:
    """That it was begun, and that it is there: https://openlineage.io/spec/2-0-2/OpenLineage.json."""
    from openlineage.client import event_v2 as events  # pyright: ignore[reportMissingImports]
    from openlineage.client.facet_v2 import (  # pyright: ignore[reportMissingImports]
        dataset_version_dataset,
        output_statistics_output_dataset,
        parent_run,
    )

    version = dataset_version_dataset.DatasetVersionDatasetFacet
    inputs = [
        events.InputDataset(namespace, name_of(each.key), facets={"version": version(each.data_version)})
        for each in record.inputs
    ]
    size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(record.rows, record.bytes)
    written = events.OutputDataset(
        namespace,
        record.name,
        facets={"version": version(record.data_version)},
        outputFacets={"outputStatistics": size},
    )
    facets: dict[str, Any] = {}
    if (of := _uuid(record.run_id)) is not None:
        run, job = parent_run.Run(of), parent_run.Job("tps_pipeline", "run")
        facets["parent"] = parent_run.ParentRunFacet(run, job)
    run = events.Run(str(uuid.UUID(record.record)), facets)
    job = events.Job("tps_pipeline", record.asset)

    def event(time: datetime, kind: Any, outputs: list[Any]) -> Any:
        return events.RunEvent(
            eventTime=time.astimezone(UTC).isoformat(), producer=PRODUCER, run=run, job=job, eventType=kind,
            inputs=inputs, outputs=outputs,
        )  # fmt: skip

    state = events.RunState
    return [event(record.started_at, state.START, []), event(record.finished_at, state.COMPLETE, [written])]


def _uuid(name: str) -> str | None:
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return None
