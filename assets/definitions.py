"""The code location: every asset, check, resource and executor, put together from the recipe in force."""

import dagster as dg
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from assets import shards
from assets.automation import automated, automation_of
from assets.checks import checks_of
from assets.console import console
from assets.dead_runs import dead_runs
from assets.executors import executor
from assets.resources import RECIPE, Pipeline
from assets.steps import asset_of
from tps_pipeline.graph import Graph
from tps_pipeline.recipe import Recipe, parse, path_of
from tps_pipeline.stages import graph_of

_SHARDS = [a for a in dg.with_source_code_references([shards.shards]) if isinstance(a, dg.AssetsDefinition)]
"""Of the one asset that is no step Dagster finds the code by itself."""

EVERYTHING = "everything"
"""The job of all assets and checks."""


def assets_of(graph: Graph) -> list[dg.AssetsDefinition]:
    """Every asset; those of networks and methods follow from the recipe's entries alone."""
    return [*_SHARDS, *(asset_of(step, graph.urgency[step.name]) for step in graph.steps)]


def definitions_of(pipeline: Pipeline, executor: dg.ExecutorDefinition, recipe: Recipe | None = None) -> dg.Definitions:
    """Everything, for one pipeline.

    Args:
        pipeline: The resource.
        executor: Where steps run.
        recipe: What the assets follow from, if not the pipeline's recipe as it is now.
    """
    recipe = recipe or pipeline.recipe
    graph = graph_of(recipe)
    assets = automated(assets_of(graph))
    everything = dg.Definitions(
        assets=assets,
        asset_checks=checks_of(recipe),
        jobs=[dg.define_asset_job(EVERYTHING, dg.AssetSelection.all(include_sources=False))],
        sensors=[dead_runs],
        resources={"pipeline": pipeline},
        executor=executor,
        loggers={"console": console},
    )
    return dg.Definitions.merge(everything, automation_of(graph))


@dg.definitions
def definitions() -> dg.Definitions:
    """Everything, for the pipeline that the environment names.

    Processes that run steps build the graph of the recipe that the code location was loaded with, whatever became of
    its file meanwhile; the settings are those that the run has frozen (`Pipeline`).
    """
    pipeline, context = Pipeline.from_environment(), DefinitionsLoadContext.get()
    again = context.load_type == DefinitionsLoadType.RECONSTRUCTION
    text = (context.reconstruction_metadata if again else {}).get(RECIPE) or pipeline.recipe_text
    recipe = parse(text, path_of(pipeline.recipe_name))
    return definitions_of(pipeline, executor(), recipe).with_reconstruction_metadata({RECIPE: text})
