"""Shards: the partitions of every per-video asset, and how backfills over them are cut."""

import os

import dagster as dg

SHARDS = dg.DynamicPartitionsDefinition(name="shards")


def backfill_policy() -> dg.BackfillPolicy:
    """One run for all shards, or `TPS_BACKFILL_SHARDS_PER_RUN` shards a run (clusters).

    Only a single run can take `dagster asset materialize --partition-range`.
    """
    per_run = os.environ.get("TPS_BACKFILL_SHARDS_PER_RUN")
    return dg.BackfillPolicy.multi_run(int(per_run)) if per_run else dg.BackfillPolicy.single_run()
