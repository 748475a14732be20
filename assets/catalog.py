"""What Dagster's catalogue says of an asset beside its description: all of it follows from what a step declares."""

from collections.abc import Callable
from typing import Any, TypedDict

import dagster as dg
import pyarrow as pa

from tps_pipeline.graph import Step
from tps_pipeline.outputs import Output

OWNERS = ["team:tps"]
"""Who is asked about an asset, whichever it is."""

SCHEMA = "dagster/column_schema"
CODE = "dagster/code_references"


class About(TypedDict):
    """What `dagster.AssetSpec` and `dagster.asset` alike take."""

    owners: list[str]
    kinds: set[str]
    tags: dict[str, str]
    metadata: dict[str, Any]


def about(output: Output, *, gpu: bool = False, trains: bool = False) -> About:
    """What follows from an output, and from what it takes to make it."""
    kinds = {"python", *(["pytorch"] if gpu else []), *filter(None, [output.suffix.lstrip(".")])}
    per, by = "shard" if output.sharded else "store", "gpu" if gpu else "cpu"
    tags = {"tps/per": per, "tps/computed_on": by} | ({"tps/trains": "yes"} if trains else {})
    metadata = {} if output.schema is None else {SCHEMA: schema_of(output.schema)}
    return About(owners=OWNERS, kinds=kinds, tags=tags, metadata=metadata)


def about_step(step: Step, output: Output) -> About:
    """The same of one of a step's outputs, with where its code is."""
    said = about(output, gpu=step.gpu, trains=step.learner is not None)
    if step.code:
        said["metadata"][CODE] = reference_to(step.code)
    return said


def schema_of(schema: pa.Schema) -> dg.TableSchema:
    """A table's columns with their types, and which are never empty."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name, _type(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable)
            )
            for field in schema
        ]
    )


def reference_to(code: Callable[..., object]) -> dg.CodeReferencesMetadataValue:
    """The file and line of a function, or of a bound method."""
    where = getattr(code, "__func__", code).__code__
    line = dg.LocalFileCodeReference(
        file_path=where.co_filename, line_number=where.co_firstlineno, label=code.__qualname__
    )
    return dg.CodeReferencesMetadataValue(code_references=[line])


def _type(type_: pa.DataType) -> str:
    """Repeated strings are stored as a dictionary's; to who reads them they are strings."""
    return str(type_.value_type if isinstance(type_, pa.DictionaryType) else type_)
