"""Doing only what is due: the one way every output is computed, skipped, written and recorded.

An output is up to date when the versions of its inputs, its code and its parts of the recipe are the ones it was made
from. Of several runs that want the same at once, one makes it; the others wait and find it made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from tps_pipeline import device
from tps_pipeline.errors import StoreError, TpsError, disk_failure
from tps_pipeline.graph.promotion import refused_before, refuses
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Product, Step
from tps_pipeline.graph.work import keys_read, work_of
from tps_pipeline.lineage import Record, Snapshot, Work
from tps_pipeline.outputs import CHECKPOINTS, WEIGHTS, Output, name_of
from tps_pipeline.store import Written
from tps_pipeline.training import checkpoint

Works = Mapping[Output, Work]
"""The outputs of a step that are made together, of one shard."""


PREVIEWED = 8
"""Rows of a table that people are shown."""


@dataclass
class Outcome:
    """What a run did for one output; each by shard (by the output's key where it has none)."""

    made: dict[str, Record] = field(default_factory=dict)
    """What was written."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why."""
    kept: dict[str, Record] = field(default_factory=dict)
    """What was up to date, as it was recorded when it was made."""
    previews: dict[str, pa.Table] = field(default_factory=dict)
    """The first rows of tables."""
    pictures: dict[str, str] = field(default_factory=dict)
    """What there is, drawn: Markdown with the image in it."""
    refused: str | None = None
    """Why a network that was trained did not take the current one's place."""


def make(run: Run, step: Step, shards: Sequence[str] = (), *, force: bool = False) -> dict[Output, Outcome]:
    """Make a step's outputs, for some shards if it has shards, as far as they are not up to date.

    Each shard is written as soon as it is computed.

    Args:
        run: The run.
        step: What is made.
        shards: The shards, in the order in which they are made.
        force: Make what is up to date as well.

    Returns:
        What was done for each of the step's outputs.

    Raises:
        StoreError: Something that it reads was never made, or has failed a blocking check; or the disk fails, or is
            full.
    """
    try:
        return _make_each(run, step, shards, force=force)
    except Exception as error:
        if said := disk_failure(error, run.store.root):
            raise StoreError(f"{step.name}: {said}") from error
        raise


def _make_each(run: Run, step: Step, shards: Sequence[str], *, force: bool) -> dict[Output, Outcome]:
    outcomes = {output: Outcome() for output in step.makes}
    latest = _with_shipped_weights(run, step)
    each = sorted(shards) if step.sharded else [None]
    for shard in each:
        made = _make_one(run, step, shard, latest, outcomes, force=force)
        if made or run.store.is_local or len(each) == 1:  # far away, what was kept is not fetched to be shown again
            _show(run, step, shard, outcomes)
    return outcomes


def _with_shipped_weights(run: Run, step: Step) -> Snapshot:
    """What there is. Weights that come with the package are put into the store when a step first asks for them."""
    latest = run.lineage.latest()
    named = {output.key for output in step.reads if output.key.startswith(WEIGHTS)}
    missing = sorted(key for key in named if (key, None) not in latest.records)
    if not missing:
        return latest
    from tps_pipeline.learners import pretrained

    for key in missing:
        with run.store.lock(key):
            if not run.store.exists(pretrained.path_of(key.removeprefix(WEIGHTS))):
                pretrained.take_shipped(key.removeprefix(WEIGHTS), run.store)
    return run.lineage.latest()


def workspace_of(run: Run, step: Step) -> Path:
    """Where a network of a step would learn now; the folder is there while it does, or if that was cut off.

    Raises:
        StoreError: Something that it learns from is not there yet.
    """
    work = work_of(run, step, step.makes[0], None, run.lineage.latest())
    return run.store.workspace_path(_workspace_name(work))


def _make_one(
    run: Run, step: Step, shard: str | None, latest: Snapshot, outcomes: dict[Output, Outcome], *, force: bool
) -> bool:
    """Make the outputs of one shard, or of a step without shards, if one of them is stale; whether it was."""
    works = _works(run, step, shard, latest)
    first = step.makes[0]
    if force or any(map(latest.why_stale, works.values())):
        with ExitStack() as locks:
            locks.enter_context(run.store.lock(name_of(first.at(shard))))
            latest = run.lineage.latest()  # what there is now that it is this run's turn
            works = _works(run, step, shard, latest)
            if step.learner:  # who trains the same under another name waits, and shares the result
                locks.enter_context(run.store.lock(f"{CHECKPOINTS}{works[first].digest}"))
                latest = run.lineage.latest()
            reasons = {output: "forced" if force else latest.why_stale(work) for output, work in works.items()}
            if any(reasons.values()):
                refused = None if step.learner is None or force else refused_before(run, step.learner, works[first])
                refused = refused or _compute(run, step, works, latest, reasons, outcomes, force=force)
                if not refused:
                    return True
                run.warn(refused)
                outcomes[first].refused = refused
    for output, work in works.items():
        if work.key in latest.records:
            outcomes[output].kept[shard or output.key] = latest.records[work.key]
    return False


def _works(run: Run, step: Step, shard: str | None, latest: Snapshot) -> Works:
    return {output: work_of(run, step, output, shard, latest) for output in step.makes}


def _compute(
    run: Run,
    step: Step,
    works: Works,
    latest: Snapshot,
    reasons: Mapping[Output, str | None],
    outcomes: Mapping[Output, Outcome],
    *,
    force: bool,
) -> str | None:
    """Compute, write and record; or tell why a network that was trained does not take the current one's place."""
    output = step.makes[0]
    work = works[output]
    twin = None if step.learner is None or force else _twin(work, latest)
    if twin:  # trained under another name, from the same
        if why := refuses(run, step, work, twin):
            return why
        written = Written(twin.path, twin.data_version, twin.bytes, twin.rows)
        record = run.lineage.record(work, written, run_id=run.id, device=twin.device, metrics=twin.metrics)
        _note(outcomes[output], work, record, reasons[output])
        return None
    with run.store.scratch() as scratch, device.used() as devices:
        workspace = run.store.workspace(_workspace_name(work)) if step.learner else scratch
        made = step.make(replace(step.reader(run, work.inputs, work.partition), scratch=scratch, workspace=workspace))
        products = made if isinstance(made, Mapping) else {output: made}
        computed = device.described(devices)
        if step.learner and isinstance(made, Path) and (why := refuses(run, step, work, made, device=computed)):
            return why
        for each, product in products.items():
            figures = _figures(step, product)  # before it moves to the store, which may be far away
            written = _write(run, each, works[each], product, latest)
            record = run.lineage.record(works[each], written, run_id=run.id, device=computed, metrics=figures)
            _note(outcomes[each], works[each], record, reasons[each])
    return None


def _workspace_name(work: Work) -> str:
    return f"{work.asset}/{work.digest}"


def _twin(work: Work, latest: Snapshot) -> Record | None:
    """What has been trained from the same, with the same code and settings, under whatever name."""
    for record in latest.records.values():
        if record.path.rpartition("/")[2] == work.digest and latest.store.exists(record.path):
            return record
    return None


def _write(run: Run, output: Output, work: Work, product: Product, latest: Snapshot) -> Written:
    if isinstance(product, pa.Table):
        return run.store.write(output.path(work.partition), product)
    if isinstance(product, bytes):
        return run.store.write_bytes(output.path(work.partition), product)
    if not output.by_version:
        return run.store.keep(product, output.path(work.partition))
    path = f"{output.key}/{work.digest}"
    if any(record.path == path for key, record in latest.records.items() if key != work.key):
        path += f"-{run.id[:8]}"  # forced: what others share stays what they have recorded
    return run.store.keep(product, path, unversioned=checkpoint.LOGS)


def _figures(step: Step, product: Product) -> dict[str, float]:
    if step.figures and isinstance(product, pa.Table):
        return step.figures(product)
    return checkpoint.metrics(product) if isinstance(product, Path) else {}


def _note(outcome: Outcome, work: Work, record: Record, reason: str | None) -> None:
    name = work.partition or work.asset
    outcome.made[name] = record
    outcome.reasons[name] = reason or "made together with a stale one"


def _show(run: Run, step: Step, shard: str | None, outcomes: Mapping[Output, Outcome]) -> None:
    """Note what people are shown of a shard, or of a step without shards, made or kept; a damaged file is not shown."""
    for output, outcome in outcomes.items():
        name = shard or output.key
        record = outcome.made.get(name) or outcome.kept.get(name)
        try:
            if record and record.rows is not None:
                outcome.previews[name] = run.store.head(run.store.intact(record), PREVIEWED)
            if record and step.picture and output == step.makes[0]:
                outcome.pictures[name] = _picture(run, step, shard)
        except (TpsError, pa.ArrowException, OSError) as error:  # whoever builds on it fails
            run.warn(f"{name_of(output.at(shard))} is not shown: {error}")


def _picture(run: Run, step: Step, shard: str | None) -> str:
    """What there is, drawn from what the step reads and makes."""
    assert step.picture is not None
    latest = run.lineage.latest()
    keys = [*keys_read(step, shard, latest), *(output.at(shard) for output in step.makes)]
    reader = step.reader(run, latest.inputs(keys), shard)
    return step.picture(replace(reader, reads=(*step.reads, *step.makes)))
