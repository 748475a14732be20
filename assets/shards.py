"""Shards: the partitions of every per-video asset, and the asset that makes them."""

import os

import dagster as dg

from assets.resources import SPLITS, Pipeline
from tps_pipeline.lineage import Work
from tps_pipeline.store import table_path

SHARDS = dg.DynamicPartitionsDefinition(name="shards")


def backfill_policy() -> dg.BackfillPolicy:
    """One run for all shards, or `TPS_BACKFILL_SHARDS_PER_RUN` shards a run (clusters).

    Only a single run can take `dagster asset materialize --partition-range`.
    """
    per_run = os.environ.get("TPS_BACKFILL_SHARDS_PER_RUN")
    return dg.BackfillPolicy.multi_run(int(per_run)) if per_run else dg.BackfillPolicy.single_run()


BACKFILL = backfill_policy()


class Ingestion(dg.Config):
    """What to take in: by default all there is, or of what changed some videos only, by their paths."""

    videos: list[str] | None = None


@dg.asset(group_name="source")
def shards(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Ingestion) -> dg.MaterializeResult:
    """Batches of videos, fixed at ingestion; new videos in the data folder form new shards."""
    from tps_pipeline.data.shards import ingest

    known = {name: pipeline.read("shards", name) for name in pipeline.shards(*SPLITS)}
    found = ingest(pipeline.data_folder, known, pipeline.recipe.shards, only=config.videos)
    for name, manifest in sorted(found.shards.items()):
        written = pipeline.store.write(table_path("shards", name), manifest)
        work = Work("shards", name, (), (), pipeline.recipe.digest_of(()))
        pipeline.lineage.record(work, written, run_id=context.run.run_id)
    names = pipeline.shards(*SPLITS)
    context.instance.add_dynamic_partitions(str(SHARDS.name), names)
    for problem in found.problems:
        context.log.warning(str(problem))
    return dg.MaterializeResult(
        metadata={
            "shards": len(names),
            "new_or_changed": ", ".join(sorted(found.shards)) or "none",
            "problems": dg.MetadataValue.md("\n".join(f"- {problem}" for problem in found.problems) or "none"),
        }
    )
