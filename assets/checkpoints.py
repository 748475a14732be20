"""Trained networks: `checkpoints/<name>/<digest>/{model.safetensors, recipe.yaml, metrics.json, card.md}`.

Where training started from imported weights, `weights.json` says from which. A checkpoint is stale when its recipe, its
code or the data it was trained on changed. New shards alone leave it as it is: retraining on them is asked for
(`force`, or the weekly schedule), never a side effect of one more video.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.executors import GPU, TRAINS
from assets.incremental import Force, whole
from assets.promotion import RETRAINING, defender
from assets.resources import Pipeline
from assets.training import network_of, train
from tps_pipeline import recipe
from tps_pipeline.lineage import Key, Work
from tps_pipeline.methods import build


@dg.asset(
    key=["checkpoints", "person_detector"],
    deps=[["datasets", "person"], "frames"],
    group_name="checkpoints",
    pool=GPU,
    op_tags=TRAINS,
)
def person_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for people on whole frames."""
    yield from _checkpoint(context, pipeline, "person_detector", force=config.force)


@dg.asset(
    key=["checkpoints", "part_detector"],
    deps=[["datasets", "part"], "frames"],
    group_name="checkpoints",
    pool=GPU,
    op_tags=TRAINS,
)
def part_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for the ten parts on a person's crop."""
    yield from _checkpoint(context, pipeline, "part_detector", force=config.force)


@dg.asset(
    key=["checkpoints", "single_stage_detector"],
    deps=[["datasets", "single_stage"], "frames"],
    group_name="checkpoints",
    pool=GPU,
    op_tags=TRAINS,
)
def single_stage_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for people and parts together on whole frames."""
    yield from _checkpoint(context, pipeline, "single_stage_detector", force=config.force)


@dg.asset(
    key=["checkpoints", "video_action"],
    deps=["videos", ["vocabulary", "actions"]],
    group_name="checkpoints",
    pool=GPU,
    op_tags=TRAINS,
)
def video_action(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """Video Swin that names a video's action."""
    yield from _checkpoint(context, pipeline, "video_action", force=config.force)


def method_checkpoint(name: str, settings: recipe.Method) -> dg.AssetsDefinition:
    """The checkpoint of a method, from its recipe entry."""

    @dg.asset(
        key=["checkpoints", name],
        deps=[key.split("/") for key in build(settings).fit_reads],
        group_name="checkpoints",
        description=f"What the method {name} has learned.",
        pool=GPU,
        op_tags=TRAINS,
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that one command takes it and its predictions of shards
    )
    def checkpoint(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        trained = network_of(name, settings)
        yield from _checkpoint(context, pipeline, f"methods.{name}", trained=trained, force=config.force)

    return checkpoint


def _checkpoint(
    context: dg.AssetExecutionContext, pipeline: Pipeline, section: str, *, trained: str | None = None, force: bool
) -> Iterator[dg.MaterializeResult]:
    """Train by a section of the recipe; ``trained`` is the part of it that has the network."""
    name = context.asset_key.path[-1]
    weights = pipeline.recipe.section(f"{trained or section}.network.weights")
    reads: list[Key] = [(f"weights/{weights}", None)] if weights else []

    def make(work: Work) -> Path:
        from tps_pipeline.checkpoint import describe

        folder = pipeline.store.workspace(f"checkpoints/{name}/{work.digest}")
        metrics = train(context, pipeline, name, folder)
        describe(folder, name=name, settings=pipeline.recipe.section(section), metrics=metrics, work=work)
        return folder

    yield from whole(
        context,
        pipeline,
        make,
        sections=[section, "seed"],
        splits=("train", "val"),
        reads=reads,
        keeps_when_inputs_grow=RETRAINING not in context.run.tags,
        referee=defender(context, pipeline, name),
        force=force,
    )
