"""Checks: what must hold of an output before anything is built on it, and the verdict, which belongs to its version.

A verdict is recorded like any output (`checks/<output>/<check>`), so it is known which version it is about and what
else it was seen from. What has failed a blocking check is not up to date and cannot be read (`Snapshot.failed`) until
it passes or somebody allows it. What is looked for stands in `tps_pipeline.checks`, which check looks at what in
`tps_pipeline.stages.checks`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.errors import StoreError
from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Step
from tps_pipeline.graph.work import keys_read, work_on
from tps_pipeline.lineage import Lineage, Record, Snapshot, Work
from tps_pipeline.outputs import Output, allowance, name_of, verdict

Find = Callable[[Output, Reader], list[str]]
"""Gives what is wrong with an output, of one shard if it has shards, in sentences."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold of an output.

    Attributes:
        output: The output.
        name: Of the check.
        find: Looks for what is wrong.
        reads: What it reads beside the output.
        sections: The parts of the recipe that it reads.
        blocking: Whether nothing may be built on an output that fails.
    """

    output: Output
    name: str
    find: Find
    reads: tuple[Output, ...] = ()
    sections: tuple[str, ...] = ()
    blocking: bool = True

    @property
    def step(self) -> Step:
        """What it reads, as a step does; it makes the verdict."""
        makes = (verdict(self.output, self.name),)
        return Step(makes, lambda _: b"", (self.output, *self.reads), self.sections)


@dataclass(frozen=True)
class Verdict:
    """What a check says of one version of an output.

    Attributes:
        record: Of it.
        problems: What is wrong, in sentences.
        refusal: Why nothing may be built on the output, in one line; None if it has passed, is allowed all the same, or
            the check does not block.
    """

    record: Record
    problems: list[str]
    refusal: str | None


def judge(run: Run, check: Check, shard: str | None = None) -> Verdict:
    """Have a check look at an output as it is now. What has passed and is still the same is not looked at again.

    Args:
        run: The run.
        check: The check.
        shard: The shard; None is all of the output.

    Raises:
        StoreError: The output, or what it is judged by, was never made.
    """
    step, latest = check.step, run.lineage.latest()
    work = work_on(run, step, step.makes[0], shard, latest, keys_read(step, shard, latest))
    record = latest.records.get(work.key)
    if record is None or record.rows or latest.why_stale(work):
        found = check.find(check.output, step.reader(run, work.inputs, shard))
        table = pa.table({"problem": pa.array(found, pa.string())}).cast(tables.PROBLEMS)
        written = run.store.write(step.makes[0].path(shard), table)
        record = run.lineage.record(work, written, run_id=run.id, metrics={"blocking": float(check.blocking)})
        latest = run.lineage.latest()
    found = run.store.read(run.store.intact(record))["problem"].to_pylist() if record.rows else []
    problems = [str(problem) for problem in found]
    return Verdict(record, problems, latest.refusal(record) if latest.forbids(record) else None)


def is_judged(run: Run, check: Check, shard: str | None, latest: Snapshot) -> bool:
    """Whether a check has looked at an output as it is now.

    Args:
        run: The run.
        check: The check.
        shard: The shard; None is all of the output.
        latest: The records.
    """
    step = check.step
    keys = keys_read(step, shard, latest)
    if not all(key in latest.records for key in keys):
        return False
    return latest.why_stale(work_on(run, step, step.makes[0], shard, latest, keys)) is None


def allow(lineage: Lineage, name: str, because: str) -> list[str]:
    """Let an output be read as it is though it has failed a check; a new version of it is judged anew.

    Args:
        lineage: The store's records.
        name: The output: `frames/test-000`, or `shards` for what all shards have failed together.
        because: Why, for its lineage.

    Returns:
        What it had failed.

    Raises:
        StoreError: There is no such output, or it has not failed anything.
    """
    latest, allowed = lineage.latest(), []
    key = (name, None) if latest.failed((name, None)) else latest.key_of(name)
    while verdict := latest.failed(key):
        about = [i for i in verdict.inputs if i.asset == key[0]]
        before = latest.records.get(allowance(key[0]).at(verdict.partition))
        inputs = dict.fromkeys((*(before.inputs if before else ()), *about, verdict.as_input))
        work = Work(allowance(key[0]).key, verdict.partition, tuple(inputs), (), "")
        said = json.dumps({"allowed": name_of((key[0], verdict.partition)), "because": because})
        written = lineage.store.write_bytes(allowance(key[0]).path(verdict.partition), said.encode())
        allowed.append(latest.refusal(verdict).partition("; mend")[0])
        lineage.record(work, written, run_id="tps store allow")
        latest = lineage.latest()
    if not allowed:
        raise StoreError(f"{name} has not failed a check, so there is nothing to allow")
    return allowed
