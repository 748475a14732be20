"""Ingestion: the one asset that is no step, for what it makes is which shards there are."""

from typing import Any

import dagster as dg

from assets.catalog import about
from assets.resources import Pipeline
from assets.steps import SHARDS
from tps_pipeline import outputs
from tps_pipeline.outputs import SPLITS


class Ingestion(dg.Config):
    """What to take in: by default all there is, or of what changed some videos only, by their paths."""

    videos: list[str] | None = None


@dg.asset(group_name="source", **about(outputs.SHARDS))
def shards(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Ingestion) -> dg.MaterializeResult[Any]:
    """Batches of videos, fixed at ingestion; new videos in the data folder form new shards."""
    from tps_pipeline.data.layout import first_of
    from tps_pipeline.graph.ingestion import take_in

    found = take_in(pipeline.run(context.run.run_id), only=config.videos)
    partitions = str(SHARDS.name)
    there = {*context.instance.get_dynamic_partitions(partitions)}  # before the store is asked: another run may add one
    names = pipeline.shards(*SPLITS)
    for dead in sorted(there - {*names}):  # a range over all would fail there
        context.instance.delete_dynamic_partition(partitions, dead)
        context.log.warning(f"{dead} is no shard of {pipeline.store_root}: its partition is taken away")
    context.instance.add_dynamic_partitions(partitions, names)
    told = first_of([*found.missing, *found.problems])
    for line in told:
        context.log.warning(line)
    return dg.MaterializeResult(
        metadata={
            "shards": len(names),
            "store": pipeline.store_root,
            "new_or_changed": ", ".join(sorted(found.shards)) or "none",
            "problems": dg.MetadataValue.md("\n".join(f"- {line}" for line in told) or "none"),
        }
    )
