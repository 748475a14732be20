"""Checks as Dagster asset checks: what was just made is looked at before anything is built on it.

A check looks at the outputs that its own run has made; what was kept has been checked when it was made.
"""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from assets.resources import Pipeline
from assets.steps import SHARDS, key_of
from tps_pipeline import outputs
from tps_pipeline.graph.work import keys_read
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages import checks
from tps_pipeline.stages.checks import Check

Problems = Mapping[str | None, list[str]]
"""What is wrong with each shard that was looked at; None stands for all of an output."""


def checks_of(recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """Every check, those of the recipe's detections, methods and ensembles included."""
    return [_asset_check(check) for check in checks.checks_of(recipe)]


def _asset_check(check: Check) -> dg.AssetChecksDefinition:
    by_shard = check.output.sharded and check.output != outputs.SHARDS  # which video is where all shards tell together

    @dg.asset_check(
        asset=key_of(check.output),
        name=check.name,
        blocking=check.blocking,
        description=check.find.__doc__,
        partitions_def=SHARDS if by_shard else None,
    )
    def look(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
        made = _made(check, pipeline, context.run.run_id) if by_shard else [None]
        problems = {shard: _problems(check, pipeline, shard) for shard in made}
        if by_shard and not context.has_partition_key and context.op_execution_context.has_partitions:
            _say_of_each(check, context, problems)
        return _result(check, problems)

    return look


def _result(check: Check, problems: Problems) -> dg.AssetCheckResult:
    found = [problem for each in problems.values() for problem in each]
    looked_at = ", ".join(shard or check.output.key for shard in problems) or "nothing new"
    return dg.AssetCheckResult(
        passed=not found, metadata={"looked_at": looked_at, "problems": "\n".join(found) or "none"}
    )


def _say_of_each(check: Check, context: dg.AssetCheckExecutionContext, problems: Problems) -> None:
    """Have each shard of a range have a result of its own.

    A check gives one result, which a run over a range keeps without a shard (Dagster 1.13), whereas the range's shards
    wait for theirs for ever. Whether anything is built on them is for the result of the whole.
    """
    key, instance = key_of(check.output), context.instance
    for shard in context.partition_keys:
        result = _result(check, {shard: problems[shard]} if shard in problems else {})
        (latest,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[shard]), limit=1
        ).records or [None]
        target = latest and AssetCheckEvaluationTargetMaterializationData(
            storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
        )
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=check.name,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=target,
            blocking=check.blocking,
            partition=shard,
        )
        context.op_execution_context.log_event(evaluation)  # pyright: ignore[reportArgumentType]: it takes this, too


def _made(check: Check, pipeline: Pipeline, run_id: str) -> list[str | None]:
    """The shards of an output that a run has made."""
    records = pipeline.lineage.latest().records
    return [s for key, s in records if key == check.output.key and records[key, s].run_id == run_id]


def _problems(check: Check, pipeline: Pipeline, shard: str | None) -> list[str]:
    latest = pipeline.lineage.latest()
    inputs = latest.inputs(keys_read(check.step, shard, latest))
    return check.find(check.output, check.step.reader(pipeline.run(), inputs, shard))
