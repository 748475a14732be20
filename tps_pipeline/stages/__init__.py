"""What the pipeline computes, one module a stage: each step a plain function of what it declares to read.

This is the recipe put to work and nothing else: how to detect, train or score stands in the packages that the functions
call, and when a step is due, who runs it and where its output goes in `tps_pipeline.graph`. The modules' names are the
stages' (Dagster's groups). Nothing here imports torch before it computes.
"""

from __future__ import annotations

from dataclasses import replace

from tps_pipeline.graph import Graph, Step
from tps_pipeline.outputs import DETECTIONS, resolved
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages import checkpoints, data, delivery, detections, ensemble, evaluation, predictions, source


def graph_of(recipe: Recipe) -> Graph:
    """Every step of a recipe; those of networks and methods follow from its entries alone."""
    steps = [
        source.videos,
        source.annotation_tables,
        source.frames,
        *data.steps_of(recipe),
        *checkpoints.steps_of(recipe),
        *detections.steps_of(recipe),
        *predictions.steps_of(recipe),
        *ensemble.steps_of(recipe),
        *evaluation.steps_of(recipe),
        *delivery.steps_of(recipe),
    ]
    return Graph([_resolved(step, recipe) for step in steps], recipe.predict_splits)


def _resolved(step: Step, recipe: Recipe) -> Step:
    """A step that reads the detections of the way that the recipe names, if it reads any."""
    if DETECTIONS not in step.reads:
        return step
    return replace(step, reads=tuple(resolved(output, recipe.detections) for output in step.reads))
