"""Checks as Dagster asset checks: what a run makes or keeps is looked at before anything is built on it.

A verdict belongs to the version that it is about (`tps_pipeline.graph.checking`): what is kept has the recorded one.
"""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.storage.tags import PRIORITY_TAG

from assets.executors import COUNTS
from assets.resources import Pipeline
from assets.steps import SHARDS, key_of
from tps_pipeline import outputs
from tps_pipeline.graph import Check, judge
from tps_pipeline.graph.checking import Verdict
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages import checks, graph_of

Verdicts = Mapping[str | None, Verdict]
"""What is said of each shard; None stands for all of an output."""


def checks_of(recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """Every check, those of the recipe's detections, methods and ensembles included."""
    graph = graph_of(recipe)
    makers = {check.output: graph.maker.get(check.output) for check in checks.checks_of(recipe)}  # of shards no step
    urgency = {output: graph.urgency[maker.name] if maker else 0 for output, maker in makers.items()}
    return [_asset_check(check, urgency[check.output]) for check in checks.checks_of(recipe)]


def _asset_check(check: Check, urgency: int) -> dg.AssetChecksDefinition:
    """A check, as urgent as what it looks at: what is made of that waits for it."""
    by_shard = check.output.sharded and check.output != outputs.SHARDS  # which video is where all shards tell together

    @dg.asset_check(
        asset=key_of(check.output),
        name=check.name,
        blocking=check.blocking,
        description=check.find.__doc__,
        op_tags=COUNTS | {PRIORITY_TAG: str(urgency)},
        partitions_def=SHARDS if by_shard else None,
    )
    def look(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
        run = pipeline.run(context.run.run_id)
        verdicts = {shard: judge(run, check, shard) for shard in (context.partition_keys if by_shard else [None])}
        if by_shard and not context.has_partition_key:
            _say_of_each(check, context, verdicts)
        for refusal in filter(None, (verdict.refusal for verdict in verdicts.values())):
            context.log.error(refusal)
        return _result(check, verdicts)

    return look


def _result(check: Check, verdicts: Verdicts) -> dg.AssetCheckResult:
    """What the UI shows. What somebody has allowed is a warning, which holds nothing up."""
    found = [problem for verdict in verdicts.values() for problem in verdict.problems]
    refused = [verdict.refusal for verdict in verdicts.values() if verdict.refusal]
    severe = refused or not check.blocking
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description="\n".join(refused) or None,
        metadata={
            "looked_at": ", ".join(shard or check.output.key for shard in verdicts),
            "problems": "\n".join(found) or "none",
        },
    )


def _say_of_each(check: Check, context: dg.AssetCheckExecutionContext, verdicts: Verdicts) -> None:
    """Have each shard of a range have a result of its own.

    A check gives one result, which a run over a range keeps without a shard (Dagster 1.13), whereas the range's shards
    wait for theirs for ever. Whether anything is built on them is for the result of the whole.
    """
    key, instance = key_of(check.output), context.instance
    for shard, verdict in verdicts.items():
        result = _result(check, {shard: verdict})
        (latest,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[str(shard)]), limit=1
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
            severity=result.severity,
            description=result.description,
            blocking=check.blocking,
            partition=shard,
        )
        context.op_execution_context.log_event(evaluation)  # pyright: ignore[reportArgumentType]: it takes this, too
