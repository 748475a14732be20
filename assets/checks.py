"""Checks as Dagster asset checks: what was just made is looked at before anything is built on it.

A check looks at the outputs that its own run has made; what was kept has been checked when it was made.
"""

import dagster as dg

from assets.resources import Pipeline
from assets.steps import key_of
from tps_pipeline.graph.work import keys_read
from tps_pipeline.outputs import SHARDS
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages import checks
from tps_pipeline.stages.checks import Check


def checks_of(recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """Every check, those of the recipe's detections, methods and ensembles included."""
    return [_asset_check(check) for check in checks.checks_of(recipe)]


def _asset_check(check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key_of(check.output), name=check.name, blocking=check.blocking, description=check.find.__doc__
    )
    def look(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
        shards = _made(check, pipeline, context.run.run_id)
        problems = [problem for shard in shards for problem in _problems(check, pipeline, shard)]
        looked_at = ", ".join(shard or check.output.key for shard in shards) or "nothing new"
        metadata = {"looked_at": looked_at, "problems": "\n".join(problems) or "none"}
        return dg.AssetCheckResult(passed=not problems, metadata=metadata)

    return look


def _made(check: Check, pipeline: Pipeline, run_id: str) -> list[str | None]:
    """The shards of an output that a run has made; None stands for all of it."""
    if not check.output.sharded or check.output == SHARDS:  # which videos are where is seen from all shards alone
        return [None]
    records = pipeline.lineage.latest().records
    return [s for key, s in records if key == check.output.key and records[key, s].run_id == run_id]


def _problems(check: Check, pipeline: Pipeline, shard: str | None) -> list[str]:
    latest = pipeline.lineage.latest()
    inputs = latest.inputs(keys_read(check.step, shard, latest))
    return check.find(check.output, check.step.reader(pipeline.run(), inputs, shard))
