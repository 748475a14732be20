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
from assets.training import network_of, section_of, train
from tps_pipeline.lineage import Key, Work
from tps_pipeline.methods import build
from tps_pipeline.recipe import Recipe


def checkpoints_of(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """The checkpoints of the detectors, of the video's action and of every method."""
    networks = {
        "person_detector": (["datasets/person", "frames"], "YOLOv7 for people on whole frames."),
        "part_detector": (["datasets/part", "frames"], "YOLOv7 for the ten parts on a person's crop."),
        "video_action": (["videos", "vocabulary/actions"], "Video Swin that names a video's action."),
    }
    if recipe.single_stage_detector:
        description = "YOLOv7 for people and parts together on whole frames."
        networks["single_stage_detector"] = (["datasets/single_stage", "frames"], description)
    of_methods = {
        name: (list(build(settings).fit_reads), f"What the method {name} has learned.")
        for name, settings in recipe.methods.items()
    }
    return [_checkpoint(name, reads, description) for name, (reads, description) in (networks | of_methods).items()]


def _checkpoint(name: str, reads: list[str], description: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["checkpoints", name],
        deps=[key.split("/") for key in reads],
        group_name="checkpoints",
        description=description,
        pool=GPU,
        op_tags=TRAINS,
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that one command takes it and its predictions of shards
    )
    def checkpoint(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        section = section_of(pipeline.recipe, name)
        weights = pipeline.recipe.section(f"{network_of(pipeline.recipe, name)}.network.weights")
        weights_read: list[Key] = [(f"weights/{weights}", None)] if weights else []

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
            reads=weights_read,
            keeps_when_inputs_grow=RETRAINING not in context.run.tags,
            referee=defender(context, pipeline, name),
            force=config.force,
        )

    return checkpoint
