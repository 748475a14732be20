"""Ingestion: the one asset that is no step, for what it makes is which shards there are."""

import dagster as dg

from assets.catalog import about
from assets.resources import Pipeline
from assets.steps import SHARDS
from tps_pipeline import outputs
from tps_pipeline.lineage import Work
from tps_pipeline.outputs import SPLITS


class Ingestion(dg.Config):
    """What to take in: by default all there is, or of what changed some videos only, by their paths."""

    videos: list[str] | None = None


@dg.asset(group_name="source", **about(outputs.SHARDS))
def shards(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Ingestion) -> dg.MaterializeResult:
    """Batches of videos, fixed at ingestion; new videos in the data folder form new shards."""
    from tps_pipeline.data.layout import first_of
    from tps_pipeline.data.shards import ingest

    known = {name: pipeline.read(outputs.SHARDS, name) for name in pipeline.shards(*SPLITS)}
    found = ingest(pipeline.data_folder, known, pipeline.recipe.shards, only=config.videos)
    for name, manifest in sorted(found.shards.items()):
        written = pipeline.store.write(outputs.SHARDS.path(name), manifest)
        work = Work(outputs.SHARDS.key, name, (), (), pipeline.recipe.digest_of(()))
        pipeline.lineage.record(work, written, run_id=context.run.run_id)
    names = pipeline.shards(*SPLITS)
    context.instance.add_dynamic_partitions(str(SHARDS.name), names)
    for line in first_of(found.problems):
        context.log.warning(line)
    return dg.MaterializeResult(
        metadata={
            "shards": len(names),
            "new_or_changed": ", ".join(sorted(found.shards)) or "none",
            "problems": dg.MetadataValue.md("\n".join(f"- {line}" for line in first_of(found.problems)) or "none"),
        }
    )
