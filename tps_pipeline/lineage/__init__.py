"""What came from what: one record a write, kept as Parquet under `lineage/` in the store.

A record holds the content version of an output and of every input it was made from, the code's version and the digest
of its part of the recipe. From these alone follow whether an output is up to date, what it descends from, why it would
be made again, and why two results differ.
"""

from tps_pipeline.lineage.difference import Difference, differences
from tps_pipeline.lineage.ledger import Lineage
from tps_pipeline.lineage.records import SCHEMA, Input, Record, Work
from tps_pipeline.lineage.rows import Found, find
from tps_pipeline.lineage.snapshot import Snapshot

__all__ = [
    "SCHEMA",
    "Difference",
    "Found",
    "Input",
    "Lineage",
    "Record",
    "Snapshot",
    "Work",
    "differences",
    "find",
]
