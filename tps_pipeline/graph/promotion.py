"""Retraining: a new network takes the current one's place only if it is not worse on the same validation shards.

The current network is the newest record of `checkpoints/<name>`. One that did not take its place is kept and recorded
as `candidates/<name>`, and is not trained again until what it was made from changes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tps_pipeline import device as devices
from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Step
from tps_pipeline.learners import Learner
from tps_pipeline.lineage import Record, Work
from tps_pipeline.outputs import candidate
from tps_pipeline.store import Written
from tps_pipeline.training import checkpoint


def refused_before(run: Run, learner: Learner, work: Work) -> str | None:
    """Why the outcome of this very work did not take the current network's place before, or None."""
    last = run.lineage.latest().records.get(candidate(learner.name).at())
    if not run.retraining or last is None or last.path.rpartition("/")[2] != work.digest:
        return None
    return f"a candidate made from the same was refused on {last.finished_at:%Y-%m-%d}, see {last.path}"


def refuses(run: Run, step: Step, work: Work, product: Path | Record, *, device: str = devices.CPU) -> str | None:
    """Put a network aside that is worse than the current one, or that nothing says is not.

    Outside of a retraining, and where there is none yet or none any more, every network takes its place at once.

    Args:
        run: The run.
        step: That trained it.
        work: What it was made from.
        product: The network: a finished folder, or the record of one that is shared with others.
        device: What computed it.

    Returns:
        Why it must not take the current one's place, or None.
    """
    learner, current = step.learner, run.lineage.latest().records.get(work.key)
    if learner is None or current is None or not run.retraining or not run.store.exists(current.path):
        return None
    shards = comparable(run, learner)
    if not shards:
        why = f"the current {learner.name} stays: no validation shard has all that it is compared on"
        return _put_aside(run, learner, work, product, why, device=device)
    new = _folder(run, product) if isinstance(product, Record) else product
    before = value(run, learner, _folder(run, current), shards)
    after = value(run, learner, new, shards)
    if after >= before:
        return None
    why = f"the current {learner.name} stays: {learner.figure} {after:.4f} of the new one, {before:.4f} of the current"
    figures = {"before": before, "after": after}
    return _put_aside(run, learner, work, product, f"{why} one, on {', '.join(shards)}", figures, device=device)


def _folder(run: Run, network: Record) -> Path:
    """A network that was recorded, found to be what was."""
    return run.store.local(run.store.intact(network, unversioned=checkpoint.LOGS))


def comparable(run: Run, learner: Learner) -> list[str]:
    """The validation shards that have all that networks of a learner are compared on, and fit to be read."""
    latest = run.lineage.latest()
    read = {
        shard: [output.at(shard if output.sharded else None) for output in map(run.meant, learner.evaluate_reads)]
        for shard in latest.shards("val")
    }
    return [s for s, keys in read.items() if all(k in latest.records and not latest.failed(k) for k in keys)]


def value(run: Run, learner: Learner, network: Path, shards: list[str]) -> float:
    """How good a checkpoint is on some shards, by the learner's figure."""
    reads, latest = tuple(map(run.meant, learner.evaluate_reads)), run.lineage.latest()
    keys = [output.at(shard) for output in reads if output.sharded for shard in shards]
    keys += [output.at() for output in reads if not output.sharded]
    who = f"the judge of {learner.name}"
    return learner.evaluate(network, Reader(run, who, reads, (), latest.inputs(keys)))


def _put_aside(
    run: Run,
    learner: Learner,
    work: Work,
    product: Path | Record,
    why: str,
    figures: dict[str, float] | None = None,
    *,
    device: str,
) -> str:
    output = candidate(learner.name)
    if isinstance(product, Record):
        metrics, written = product.metrics, Written(product.path, product.data_version, product.bytes)
        device = product.device
    else:
        metrics = checkpoint.metrics(product)
        written = run.store.keep(product, f"{output.key}/{work.digest}", unversioned=checkpoint.LOGS)
    aside, figures = replace(work, asset=output.key), metrics | (figures or {})
    run.lineage.record(aside, written, run_id=run.id, device=device, metrics=figures)
    return why
