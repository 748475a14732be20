"""Steps as Dagster assets: the one place where one becomes the other. What steps there are stands in the library."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from assets.catalog import about_step
from assets.executors import GPU, INFERS, TRAINS
from assets.resources import RETRAINING, Pipeline
from assets.training import train
from tps_pipeline.graph import Outcome, Step, make
from tps_pipeline.outputs import WEIGHTS, Output
from tps_pipeline.stages import graph_of

SHARDS = dg.DynamicPartitionsDefinition(name="shards")

PREVIEWED = 8
"""Rows of a table that the UI shows."""


def backfill_policy() -> dg.BackfillPolicy:
    """One run for all shards, or `TPS_BACKFILL_SHARDS_PER_RUN` shards a run (clusters).

    Only a single run can take `dagster asset materialize --partition-range`.
    """
    per_run = os.environ.get("TPS_BACKFILL_SHARDS_PER_RUN")
    return dg.BackfillPolicy.multi_run(int(per_run)) if per_run else dg.BackfillPolicy.single_run()


BACKFILL = backfill_policy()


class Force(dg.Config):
    """Asset configuration: whether to compute what is up to date as well."""

    force: bool = False


def key_of(output: Output) -> dg.AssetKey:
    """An output's asset key."""
    return dg.AssetKey(output.key.split("/"))


def asset_of(step: Step) -> dg.AssetsDefinition:
    """The asset, or the assets made together, of a step."""
    read = [key_of(output) for output in step.reads if not output.key.startswith(WEIGHTS)]  # which no asset makes
    specs = [
        dg.AssetSpec(
            key_of(output),
            deps=read,
            group_name=step.group,
            description=step.description,
            code_version=step.version,
            **about_step(step, output),
        )
        for output in step.makes
    ]
    # Networks have one as well, so that one command takes a network and its predictions of several shards.
    policy = BACKFILL if step.sharded else dg.BackfillPolicy.single_run() if step.learner else None

    @dg.multi_asset(
        name=step.name.replace("/", "__"),
        specs=specs,
        partitions_def=SHARDS if step.sharded else None,
        backfill_policy=policy,
        pool=GPU if step.gpu else None,
        op_tags=(TRAINS if step.learner else INFERS) if step.gpu else None,
    )
    def compute(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult[Any]]:
        run = replace(
            pipeline.run(context.run.run_id),
            retraining=RETRAINING in context.run.tags,
            train=partial(train, context, pipeline),
            warn=context.log.warning,
        )
        # By the run's recipe, which may be newer than the one that this code location was loaded with.
        current = graph_of(run.recipe).step(step.name)
        outcomes = make(run, current, context.partition_keys if step.sharded else (), force=config.force)
        for output, outcome in outcomes.items():
            yield dg.MaterializeResult(asset_key=key_of(output), metadata=metadata_of(outcome))

    return compute


def metadata_of(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    """Counts, path, figures and a preview, as the Dagster UI shows them."""
    shown: dict[str, dg.MetadataValue] = {
        "made": dg.MetadataValue.int(len(outcome.made)),
        "kept": dg.MetadataValue.int(len(outcome.kept)),
    }
    if outcome.made:
        records = list(outcome.made.values())
        name, last = list(outcome.made.items())[-1]
        took = sum((record.finished_at - record.started_at).total_seconds() for record in records)
        shown["seconds"] = dg.MetadataValue.float(round(took, 2))
        shown["dagster/row_count"] = dg.MetadataValue.int(sum(record.rows or 0 for record in records))
        shown["bytes"] = dg.MetadataValue.int(sum(record.bytes for record in records))
        shown["path"] = dg.MetadataValue.path(last.path)
        shown["data_version"] = dg.MetadataValue.text(last.data_version)
        shown["device"] = dg.MetadataValue.text(last.device)
        shown["why"] = dg.MetadataValue.text(f"{name}: {outcome.reasons[name]}")
        shown |= {figure: dg.MetadataValue.float(value) for figure, value in last.metrics.items()}
    if outcome.preview is not None and outcome.preview.num_rows:
        rows = outcome.preview.slice(0, PREVIEWED).to_pylist()
        records = [dg.TableRecord({column: _cell(value) for column, value in row.items()}) for row in rows]
        shown["preview"] = dg.MetadataValue.table(records)
    if outcome.refused:
        shown["refused"] = dg.MetadataValue.text(outcome.refused)
    if outcome.picture:
        shown["picture"] = dg.MetadataValue.md(outcome.picture)
    return shown


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
