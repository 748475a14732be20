"""Steps as Dagster assets: the one place where one becomes the other. What steps there are stands in the library."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PRIORITY_TAG

from assets import environment, mlflow_runs
from assets.catalog import about_step
from assets.executors import AGAIN, COUNTS, GPU, INFERS, TRAINS
from assets.resources import RETRAINING, Pipeline
from assets.training import train
from tps_pipeline.graph import Outcome, Step, make
from tps_pipeline.outputs import WEIGHTS, Output
from tps_pipeline.stages import graph_of

SHARDS = dg.DynamicPartitionsDefinition(name="shards")


def backfill_policy() -> dg.BackfillPolicy:
    """One run for all shards, or `TPS_BACKFILL_SHARDS_PER_RUN` shards a run (clusters).

    Only a single run can take `dagster asset materialize --partition-range`.
    """
    per_run = int(environment.number("TPS_BACKFILL_SHARDS_PER_RUN", 0, least=0))
    return dg.BackfillPolicy.multi_run(per_run) if per_run else dg.BackfillPolicy.single_run()


BACKFILL = backfill_policy()


class Force(dg.Config):
    """Asset configuration: whether to compute what is up to date as well."""

    force: bool = False


def key_of(output: Output) -> dg.AssetKey:
    """An output's asset key."""
    return dg.AssetKey(output.key.split("/"))


def asset_of(step: Step, urgency: int = 0) -> dg.AssetsDefinition:
    """The asset, or the assets made together, of a step.

    Args:
        step: The step.
        urgency: Of steps that could run now, that with the most goes first.
    """
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
        op_tags=((TRAINS if step.learner else INFERS) if step.gpu else COUNTS) | {PRIORITY_TAG: str(urgency)},
        retry_policy=AGAIN,
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
        try:
            outcomes = make(run, current, context.partition_keys if step.sharded else (), force=config.force)
        except Exception as error:
            if AGAIN:
                raise dg.Failure(str(error), allow_retries=False) from error
            raise
        for output, outcome in outcomes.items():
            if url := mlflow_runs.url_of(run, current, outcome):
                context.add_asset_metadata({"mlflow": dg.MetadataValue.url(url)}, key_of(output))
            for shard in context.partition_keys if step.sharded else [None]:
                shown = metadata_of(outcome, shard or output.key, pipeline.store_root)
                context.add_asset_metadata(shown, key_of(output), shard)
            yield dg.MaterializeResult(asset_key=key_of(output))

    return compute


def metadata_of(outcome: Outcome, name: str, store: str) -> dict[str, dg.MetadataValue]:
    """What the Dagster UI shows of an output, or of one of its shards: figures, path, preview, made now or before.

    The page of an asset shows what the last run said. So one that had nothing to do says the same once more.

    Args:
        outcome: What was done.
        name: The shard, or the output's key.
        store: The store's root.
    """
    made, record = name in outcome.made, outcome.made.get(name) or outcome.kept.get(name)
    shown: dict[str, dg.MetadataValue] = {
        "made": dg.MetadataValue.int(int(made)),
        "kept": dg.MetadataValue.int(int(not made)),
        "store": dg.MetadataValue.text(store),
    }
    if record:
        took = (record.finished_at - record.started_at).total_seconds()
        shown["seconds"] = dg.MetadataValue.float(round(took, 2))
        if record.rows is not None:
            shown["dagster/row_count"] = dg.MetadataValue.int(record.rows)
        shown["bytes"] = dg.MetadataValue.int(record.bytes)
        shown["path"] = dg.MetadataValue.path(record.path)
        shown["data_version"] = dg.MetadataValue.text(record.data_version)
        shown["device"] = dg.MetadataValue.text(record.device)
        why = outcome.reasons[name] if made else f"up to date since {record.finished_at:%Y-%m-%d %H:%M}"
        shown["why"] = dg.MetadataValue.text(why)
        shown |= {figure: dg.MetadataValue.float(value) for figure, value in record.metrics.items()}
    if (preview := outcome.previews.get(name)) is not None and preview.num_rows:
        rows = [dg.TableRecord({c: _cell(value) for c, value in row.items()}) for row in preview.to_pylist()]
        shown["preview"] = dg.MetadataValue.table(rows)
    if outcome.refused:
        shown["refused"] = dg.MetadataValue.text(outcome.refused)
    if picture := outcome.pictures.get(name):
        shown["picture"] = dg.MetadataValue.md(picture)
    return shown


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
