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
from assets.promotion import RETRAINING
from assets.resources import SPLITS, Pipeline
from assets.shards import SHARDS
from tps_pipeline.data.arrivals import Arrivals, look

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

    def extend(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.group_name in EAGER:
            condition = dg.AutomationCondition.eager() if spec.partitions_def else WHOLE
            return spec.replace_attributes(automation_condition=condition)
        return spec.replace_attributes(freshness_policy=FRESH) if spec.group_name == "checkpoints" else spec

    return [asset.map_asset_specs(extend) for asset in assets]


def automation_of(assets: Sequence[dg.AssetsDefinition]) -> dg.Definitions:
    """Jobs, schedule and sensors for some assets."""
    every, source = _of_shards(assets), _of_shards(assets, "source", "data")
    networks = [key for asset in assets for key in asset.keys if key.path[0] == "checkpoints"]
    read = {dep for asset in assets for key in asset.keys if key in networks for dep in asset.asset_deps[key]}
    learned_from = [key for key in every if key in source or key in read]
    vocabulary = dg.AssetSelection.assets(["vocabulary", "actions"], ["vocabulary", "states"])
    ingestion = dg.define_asset_job(INGESTION, dg.AssetSelection.assets("shards"))
    one_shard = dg.define_asset_job(ONE_SHARD, dg.AssetSelection.assets(*every))
    retraining = dg.define_asset_job(
        RETRAIN, vocabulary | dg.AssetSelection.assets(*networks), tags={RETRAINING: "yes"}
    )
    weekly = dg.ScheduleDefinition(name="weekly_retraining", job=retraining, cron_schedule="0 3 * * 1")

    def request(pipeline: Pipeline, shard: str, run_key: str) -> dg.RunRequest:
        """A run for one shard: of all, of what networks learn from, or without trained ones of what comes before."""
        made, split = pipeline.lineage.latest().records, shard.partition("-")[0]
        trained = all(("/".join(key.path), None) in made for key in networks)
        keys = source
        if trained:
            keys = every if split in pipeline.recipe.predict_splits else learned_from
        if split == "test":  # no detector learns from it
            keys = [key for key in keys if key.path[0] != "datasets"]
        return dg.RunRequest(run_key, job_name=ONE_SHARD, partition_key=shard, asset_selection=keys)

    @dg.sensor(jobs=[ingestion, one_shard], minimum_interval_seconds=60)
    def new_videos(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult:
        """Take in videos that are no longer being written, and compute new shards."""
        before = json.loads(context.cursor or "{}")
        seen = Arrivals(**{name: {p: tuple(s) for p, s in files.items()} for name, files in before.items()})
        manifests = [pipeline.read("shards", shard) for shard in pipeline.shards(*SPLITS)]
        settled, seen = look(pipeline.data_folder, manifests, seen)
        requests = [request(pipeline, shard, key) for shard, key in _due(pipeline, context.instance)]
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
            yield request(pipeline, shard, f"{shard}-{context.dagster_run.run_id}")

    follow = dg.AutomationConditionSensorDefinition(
        "eager_tables", target=dg.AssetSelection.groups(*EAGER), minimum_interval_seconds=60
    )
    return dg.Definitions(
        jobs=[ingestion, one_shard, retraining],
        schedules=[weekly],
        sensors=[new_videos, after_retraining, follow, failure_notice],
    )


def _due(pipeline: Pipeline, instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Shards whose videos were not looked at since they were made or changed, each with a key of that version."""
    latest = pipeline.lineage.latest()
    for shard in instance.get_dynamic_partitions(str(SHARDS.name)):
        manifest, videos = latest.records.get(("shards", shard)), latest.records.get(("videos", shard))
        if manifest and (videos is None or manifest.data_version not in {i.data_version for i in videos.inputs}):
            yield shard, f"{shard}-{manifest.data_version[:12]}"


def _of_shards(assets: Sequence[dg.AssetsDefinition], *groups: str) -> list[dg.AssetKey]:
    """Assets over shards that are not eager: all of them, or those of some groups."""
    specs = [spec for asset in assets for spec in asset.specs if spec.partitions_def == SHARDS]
    return [s.key for s in specs if (s.group_name in groups if groups else s.group_name not in EAGER)]
