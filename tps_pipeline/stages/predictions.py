"""A state for every detected part, by each method of the recipe."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step
from tps_pipeline.methods import Method, build
from tps_pipeline.outputs import checkpoint, predictions
from tps_pipeline.recipe import Recipe


def steps_of(recipe: Recipe) -> list[Step]:
    """The predictions of each method, from its recipe entry."""
    return [_predictions(name, build(entry), recipe) for name, entry in recipe.methods.items()]


def _predictions(name: str, method: Method, recipe: Recipe) -> Step:
    return Step(
        (predictions(name),),
        partial(_predict, name, method),
        reads=(checkpoint(name), *method.predict_reads),
        sections=tuple(recipe.inference_sections(f"methods.{name}")),
        version=method.predict_version,
        group="predictions",
        description=f"A state for every detected part, by the method {name}.",
        gpu=True,
        code=method.predict,
    )


def _predict(name: str, method: Method, read: Reader) -> pa.Table:
    return method.predict(read, read.path(checkpoint(name)))
