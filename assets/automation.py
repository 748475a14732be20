"""What happens by itself, once the daemon runs and it is switched on: everything here is off at first.

`weekly_retraining` trains what is stale, new shards included, and promotes what is not worse; `new_videos` takes new
videos in and computes their shards; `after_retraining` computes every shard's outputs by the promoted networks;
`eager_tables` follows with the tables, ensembles and what is delivered. Nothing that needs a GPU is ever eager.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta

import dagster as dg

from assets.notices import failure_notice
from assets.resources import RETRAINING, Pipeline
from assets.steps import SHARDS, key_of
from tps_pipeline import outputs
from tps_pipeline.data.arrivals import Arrivals, look
from tps_pipeline.graph import Graph, Step
from tps_pipeline.graph.lost import manifest_of
from tps_pipeline.outputs import SPLITS

EAGER = ("evaluation", "ensemble", "delivery")
"""Groups that follow by themselves."""

WHOLE = (
    (dg.AutomationCondition.newly_missing() | dg.AutomationCondition.any_deps_updated()).since_last_handled()
    & dg.AutomationCondition.all_deps_match(~dg.AutomationCondition.missing())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("eager over shards")
"""`eager`, for an asset without shards: of what it reads some shards must be there, training shards never are."""

INGESTION = "ingestion"
ONE_SHARD = "one_shard"
RETRAIN = "retraining"


FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=15), warn_window=timedelta(days=8))
"""Networks are looked at every week; the UI warns when a week was left out, and calls two of them a failure."""


def automated(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets: those of the `EAGER` groups follow what they read, networks are to be fresh."""
    return [asset.map_asset_specs(_extend) for asset in assets]


def automation_of(graph: Graph) -> dg.Definitions:
    """Jobs, schedule and sensors for a recipe's steps."""
    over_shards = [step for step in graph.steps if step.sharded and step.group not in EAGER]
    networks = [key for step in graph.steps if step.learner for key in _keys(step)]
    vocabulary = dg.AssetSelection.assets(*map(key_of, (outputs.ACTION_NAMES, outputs.STATE_LABELS)))
    ingestion = dg.define_asset_job(INGESTION, dg.AssetSelection.assets("shards"))
    one_shard = dg.define_asset_job(
        ONE_SHARD, dg.AssetSelection.assets(*(key for step in over_shards for key in _keys(step)))
    )
    retraining = dg.define_asset_job(
        RETRAIN, vocabulary | dg.AssetSelection.assets(*networks), tags={RETRAINING: "yes"}
    )
    weekly = dg.ScheduleDefinition(name="weekly_retraining", job=retraining, cron_schedule="0 3 * * 1")

    @dg.sensor(jobs=[ingestion, one_shard], minimum_interval_seconds=60)
    def new_videos(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult:
        """Take in videos that are no longer being written, and compute new shards."""
        before = json.loads(context.cursor or "{}")
        seen = Arrivals(**{name: {p: tuple(s) for p, s in files.items()} for name, files in before.items()})
        latest = pipeline.lineage.latest()
        manifests = {shard: manifest_of(latest, shard) for shard in latest.shards(*SPLITS)}
        if lost := [shard for shard, manifest in manifests.items() if manifest is None]:
            context.log.warning(f"{', '.join(lost)}: the table is lost or damaged; ingestion makes it again")
        settled, seen = look(pipeline.data_folder, [each for each in manifests.values() if each is not None], seen)
        requests = [_request(graph, pipeline, shard, key) for shard, key in _due(pipeline, context.instance)]
        if settled:
            config = {"ops": {"shards": {"config": {"videos": settled}}}}
            requests.append(dg.RunRequest(job_name=INGESTION, run_config=config))
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(asdict(seen)),
            skip_reason=None if requests else f"nothing new; {len(seen.waiting)} videos may still be written",
        )

    @dg.run_status_sensor(run_status=dg.DagsterRunStatus.SUCCESS, monitored_jobs=[retraining], request_job=one_shard)
    def after_retraining(context: dg.RunStatusSensorContext, pipeline: Pipeline) -> Iterator[dg.RunRequest]:
        """Compute the scored shards by the networks of a retraining; what none of them has changed is skipped."""
        for shard in pipeline.shards(*pipeline.recipe.predict_splits):
            yield _request(graph, pipeline, shard, f"{shard}-{context.dagster_run.run_id}")

    follow = dg.AutomationConditionSensorDefinition(
        "eager_tables", target=dg.AssetSelection.groups(*EAGER), minimum_interval_seconds=60
    )
    return dg.Definitions(
        jobs=[ingestion, one_shard, retraining],
        schedules=[weekly],
        sensors=[new_videos, after_retraining, follow, failure_notice],
    )


def _extend(spec: dg.AssetSpec) -> dg.AssetSpec:
    if spec.group_name in EAGER:
        condition = dg.AutomationCondition.eager() if spec.partitions_def else WHOLE
        return spec.replace_attributes(automation_condition=condition)
    return spec.replace_attributes(freshness_policy=FRESH) if spec.group_name == "checkpoints" else spec


def _request(graph: Graph, pipeline: Pipeline, shard: str, run_key: str) -> dg.RunRequest:
    """A run for one shard: of all that a whole run makes of its split, without trained networks what comes before."""
    made, split = pipeline.lineage.latest().records, shard.partition("-")[0]
    trained = all(step.makes[0].at() in made for step in graph.steps if step.learner)
    steps = [step for step in graph.steps if step.sharded and step.group not in EAGER]
    wanted = [
        step
        for step in steps
        if split in graph.splits[step.name] and (trained or step.name not in graph.descends_from_training)
    ]
    keys = [key for step in wanted for key in _keys(step)]
    return dg.RunRequest(run_key, job_name=ONE_SHARD, partition_key=shard, asset_selection=keys)


def _due(pipeline: Pipeline, instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Shards whose videos were not looked at since they were made or changed, each with a key of that version."""
    latest = pipeline.lineage.latest()
    for shard in instance.get_dynamic_partitions(str(SHARDS.name)):
        manifest = latest.records.get(outputs.SHARDS.at(shard))
        videos = latest.records.get(outputs.VIDEOS.at(shard))
        if manifest and (videos is None or manifest.data_version not in {i.data_version for i in videos.inputs}):
            yield shard, f"{shard}-{manifest.data_version[:12]}"


def _keys(step: Step) -> list[dg.AssetKey]:
    return [key_of(output) for output in step.makes]
