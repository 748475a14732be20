"""The code location: every asset, check, resource and executor, put together from the recipe in force."""

import dagster as dg

from assets import checkpoints, data, delivery, detections, ensembles, evaluation, predictions, report, shards, source
from assets.automation import automated, automation_of
from assets.checks import checks_of
from assets.dead_runs import dead_runs
from assets.executors import executor
from assets.resources import Pipeline

NETWORKS = "networks"
"""The job that trains everything."""


def assets_of(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Every asset; those of the methods follow from the recipe's entries alone."""
    recipe = pipeline.recipe
    return [
        shards.shards,
        source.videos,
        source.annotations,
        source.frames,
        data.action_names,
        data.state_labels,
        *data.datasets_of(recipe),
        *checkpoints.checkpoints_of(recipe),
        *([detections.single_stage] if recipe.single_stage_detector else []),
        detections.two_stage,
        detections.tracks,
        detections.video_actions,
        *(predictions.method_predictions(name, settings) for name, settings in recipe.methods.items()),
        *ensembles.ensembles_of(recipe),
        *(predictions.psc_of(name, recipe.predictions(name)) for name in recipe.scored),
        *(evaluation.precision_of(name, boxes) for name, boxes in recipe.boxes.items()),
        *(evaluation.confusion_of(name, boxes) for name, boxes in recipe.boxes.items()),
        evaluation.leaderboard_of(recipe),
        delivery.submission_of(recipe.predictions(recipe.submission)),
        report.report_of(recipe),
    ]


def definitions_of(pipeline: Pipeline, executor: dg.ExecutorDefinition) -> dg.Definitions:
    """Everything, for one pipeline."""
    assets = automated(assets_of(pipeline))
    graph = dg.Definitions(
        assets=assets,
        asset_checks=checks_of(pipeline.recipe),
        jobs=[dg.define_asset_job(NETWORKS, dg.AssetSelection.groups("checkpoints"))],
        sensors=[dead_runs],
        resources={"pipeline": pipeline},
        executor=executor,
    )
    return dg.Definitions.merge(graph, automation_of(assets))


@dg.definitions
def definitions() -> dg.Definitions:
    """Everything, for the pipeline that the environment names."""
    return definitions_of(Pipeline.from_environment(), executor())
