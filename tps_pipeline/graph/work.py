"""From a step to the work that it would be now: what there is to read, and which settings and code are in force."""

from __future__ import annotations

import functools

from tps_pipeline.errors import StoreError
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Step
from tps_pipeline.lineage import Snapshot, Work
from tps_pipeline.outputs import Key, Output


def work_of(run: Run, step: Step, output: Output, shard: str | None, latest: Snapshot) -> Work:
    """One output about to be made, with all that there is to make it from.

    Raises:
        StoreError: Something that it reads was never made, or has failed a blocking check.
    """
    keys = keys_read(step, shard, latest)
    for verdict in filter(None, map(latest.failed, keys)):
        raise StoreError(latest.refusal(verdict))
    return work_on(run, step, output, shard, latest, keys)


def work_on(run: Run, step: Step, output: Output, shard: str | None, latest: Snapshot, keys: list[Key]) -> Work:
    """The same, with some of what it reads."""
    return Work(
        output.key,
        shard,
        latest.inputs(keys),
        step.sections,
        run.digest_of(step.sections),
        step.version,
        step.learner is not None and not run.retraining,
        functools.partial(run.means_the_same, step.sections),
    )


def keys_read(step: Step, shard: str | None, latest: Snapshot) -> list[Key]:
    """All that a step reads, for a shard or, without one, over all shards of its splits."""
    own = [shard] if shard else latest.shards(*step.splits)
    return [key for output in step.reads for key in ([output.at(s) for s in own] if output.sharded else [output.at()])]
