"""Doing only what is due: the one way every asset is computed, skipped, written and recorded.

An output is up to date when the versions of its inputs, its code and its sections of the recipe are the ones it was
made from. Inputs follow from the asset's Dagster dependencies; a dependency that has shards is read at the same shard,
or over all shards of some splits by an asset that has none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import pyarrow as pa

from assets.resources import SPLITS, Pipeline
from tps_pipeline import checkpoint
from tps_pipeline.lineage import Key, Snapshot, Work, name_of
from tps_pipeline.store import Written, table_path

Product = pa.Table | Path | bytes
"""What an asset's function gives back: a table, or a finished local file or folder, or a file's content."""


class Referee(Protocol):
    """Decides whether what was made takes the place of what there is (retrained networks)."""

    def has_refused(self, latest: Snapshot, work: Work) -> str | None:
        """Why the outcome of this very work did not take it before, or None."""
        ...

    def refuses(self, latest: Snapshot, work: Work, product: Path) -> str | None:
        """Why the product must not take it, which is then put aside, or None."""
        ...


Measure = Callable[[Any], dict[str, float]]
"""Gives a product's figures."""


class Force(dg.Config):
    """Asset configuration: whether to compute what is up to date as well."""

    force: bool = False


@dataclass
class Outcome:
    """What one run did for one asset."""

    made: dict[str, Written] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    preview: pa.Table | None = None
    picture: str | None = None
    refused: str | None = None

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Counts, path and a preview, as the Dagster UI shows them."""
        rows = sum(written.rows or 0 for written in self.made.values())
        shown: dict[str, dg.MetadataValue] = {
            "made": dg.MetadataValue.int(len(self.made)),
            "kept": dg.MetadataValue.int(len(self.kept)),
            "seconds": dg.MetadataValue.float(round(self.seconds, 2)),
        }
        if self.made:
            name, last = list(self.made.items())[-1]
            shown["dagster/row_count"] = dg.MetadataValue.int(rows)
            shown["bytes"] = dg.MetadataValue.int(sum(written.bytes for written in self.made.values()))
            shown["path"] = dg.MetadataValue.path(last.path)
            shown["data_version"] = dg.MetadataValue.text(last.data_version)
            shown["why"] = dg.MetadataValue.text(f"{name}: {self.reasons[name]}")
        shown.update({name: dg.MetadataValue.float(value) for name, value in self.metrics.items()})
        if self.preview is not None and self.preview.num_rows:
            rows_shown = [
                dg.TableRecord({k: _cell(v) for k, v in row.items()}) for row in self.preview.slice(0, 8).to_pylist()
            ]
            shown["preview"] = dg.MetadataValue.table(rows_shown)
        if self.refused:
            shown["refused"] = dg.MetadataValue.text(self.refused)
        if self.picture:
            shown["picture"] = dg.MetadataValue.md(self.picture)
        return shown


def each_shard(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    make: Callable[[str], Product | Mapping[str, Product]],
    *,
    sections: Sequence[str] = (),
    suffix: str = ".parquet",
    picture: Callable[[str], str] | None = None,
    force: bool = False,
) -> Iterator[dg.MaterializeResult]:
    """Make an asset's output (or several assets' outputs) for every shard of this run that is not up to date.

    Args:
        context: The running asset's.
        pipeline: Where to read and write.
        make: Computes one shard: a product, or one for each asset key of a multi-asset.
        sections: The recipe's sections that the result depends on.
        suffix: The output file's.
        picture: Draws the last shard that was made, as Markdown with the image in it, for the Dagster UI.
        force: Compute what is up to date as well.

    Yields:
        A result for each asset, once all shards are done. Each shard is written as soon as it is computed.
    """
    latest = pipeline.lineage.latest()
    outcomes = {name: Outcome() for name in _selected(context)}
    for shard in sorted(context.partition_keys):
        works = [_work(context, pipeline, latest, name, shard, sections) for name in outcomes]
        _advance(context, pipeline, latest, outcomes, works, partial(make, shard), suffix=suffix, force=force)
    for outcome in outcomes.values():
        outcome.picture = picture(list(outcome.made)[-1]) if picture and outcome.made else None
    yield from _results(outcomes)


def whole(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    make: Callable[[Work], Product | Mapping[str, Product]],
    *,
    sections: Sequence[str] = (),
    splits: Sequence[str] = SPLITS,
    reads: Sequence[Key] = (),
    suffix: str = ".parquet",
    keeps_when_inputs_grow: bool = False,
    metrics: Measure | None = None,
    picture: Callable[[], str] | None = None,
    referee: Referee | None = None,
    force: bool = False,
) -> Iterator[dg.MaterializeResult]:
    """Make an asset without shards, unless it is up to date.

    Args:
        context: The running asset's.
        pipeline: Where to read and write.
        make: Computes the product (or one for each asset key) of the work it is given.
        sections: The recipe's sections that the result depends on.
        splits: The splits whose shards are read.
        reads: What is read besides the asset's dependencies (imported weights).
        suffix: The output file's.
        keeps_when_inputs_grow: New shards alone do not make it stale (checkpoints).
        metrics: Gives a table's figures, for its lineage and metadata; a checkpoint brings its own.
        picture: Draws what was made, as Markdown with the image in it, for the Dagster UI.
        referee: Has the last word on whether a folder that was made takes its place.
        force: Compute what is up to date as well.

    Yields:
        A result for each asset.
    """
    latest = pipeline.lineage.latest()
    outcomes = {name: Outcome() for name in _selected(context)}
    works = [
        _work(context, pipeline, latest, name, None, sections, splits, reads, keeps_when_inputs_grow)
        for name in outcomes
    ]
    _advance(
        context,
        pipeline,
        latest,
        outcomes,
        works,
        partial(make, works[0]),
        suffix=suffix,
        metrics=metrics,
        referee=referee,
        force=force,
    )
    for outcome in outcomes.values():
        outcome.picture = picture() if picture and outcome.made else None
    yield from _results(outcomes)


def _selected(context: dg.AssetExecutionContext) -> list[str]:
    return sorted("/".join(key.path) for key in context.selected_asset_keys)


def _work(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    latest: Snapshot,
    name: str,
    shard: str | None,
    sections: Sequence[str],
    splits: Sequence[str] = SPLITS,
    reads: Sequence[Key] = (),
    keeps_when_inputs_grow: bool = False,
) -> Work:
    deps = context.assets_def.asset_deps[dg.AssetKey(name.split("/"))]
    keys = [*reads]
    for dep in sorted("/".join(key.path) for key in deps):
        if (dep, None) in latest.records:
            keys.append((dep, None))
        else:
            keys.extend((dep, s) for s in ([shard] if shard else latest.shards(*splits)))
    digest = pipeline.recipe.digest_of(sections)
    return Work(name, shard, latest.inputs(keys), tuple(sections), digest, keeps_when_inputs_grow)


def _advance(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    latest: Snapshot,
    outcomes: dict[str, Outcome],
    works: Sequence[Work],
    make: Callable[[], Product | Mapping[str, Product]],
    *,
    suffix: str,
    metrics: Measure | None = None,
    referee: Referee | None = None,
    force: bool,
) -> None:
    """Make the outputs of one shard, or of an asset without shards, if one of them is stale.

    Of several runs that want the same at once, one makes it; the others wait and find it made.
    """
    reasons = _reasons(latest, works, force)
    if any(reasons.values()):
        with pipeline.store.lock(name_of(works[0].key)):
            latest = pipeline.lineage.latest()
            reasons = _reasons(latest, works, force)
            stale = any(reasons.values())
            refused = referee.has_refused(latest, works[0]) if referee and stale and not force else None
            if stale and not refused:
                made = make()
                products = made if isinstance(made, Mapping) else {works[0].asset: made}
                first = products[works[0].asset]
                refused = referee.refuses(latest, works[0], first) if referee and isinstance(first, Path) else None
                if not refused:
                    _put(context, pipeline, outcomes, works, reasons, products, suffix, metrics)
                    return
        if refused:
            context.log.warning(refused)
            outcomes[works[0].asset].refused = refused
    for work in works:
        outcomes[work.asset].kept.append(work.partition or work.asset)


def _reasons(latest: Snapshot, works: Sequence[Work], force: bool) -> dict[str, str | None]:
    return {work.asset: "forced" if force else latest.why_stale(work) for work in works}


def _put(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    outcomes: dict[str, Outcome],
    works: Sequence[Work],
    reasons: Mapping[str, str | None],
    products: Mapping[str, Product],
    suffix: str,
    metrics: Measure | None,
) -> None:
    """Write and record what was made."""
    for work in works:
        product, path = products[work.asset], table_path(work.asset, work.partition, suffix)
        figures = checkpoint.metrics(product) if isinstance(product, Path) else metrics(product) if metrics else {}
        written = _write(pipeline, path, work, product)
        record = pipeline.lineage.record(work, written, run_id=context.run.run_id, metrics=figures)
        outcome = outcomes[work.asset]
        outcome.made[work.partition or work.asset] = written
        outcome.reasons[work.partition or work.asset] = reasons[work.asset] or "made together with a stale one"
        outcome.seconds += (record.finished_at - record.started_at).total_seconds()
        outcome.metrics = figures
        outcome.preview = product if isinstance(product, pa.Table) else None


def _write(pipeline: Pipeline, path: str, work: Work, product: Product) -> Written:
    if isinstance(product, pa.Table):
        return pipeline.store.write(path, product)
    if isinstance(product, bytes):
        return pipeline.store.write_bytes(path, product)
    if work.asset.startswith("checkpoints/"):
        return pipeline.store.keep(product, f"{work.asset}/{work.digest}", unversioned=checkpoint.LOGS)
    return pipeline.store.keep(product, work.asset if product.is_dir() else path)


def _results(outcomes: Mapping[str, Outcome]) -> Iterator[dg.MaterializeResult]:
    for name, outcome in outcomes.items():
        yield dg.MaterializeResult(asset_key=dg.AssetKey(name.split("/")), metadata=outcome.metadata())


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
