"""Trained networks: `checkpoints/<name>/<digest>/{model.safetensors, recipe.yaml, metrics.json, card.md}`.

Where training started from imported weights, `weights.json` says from which. A checkpoint is stale when its recipe, its
code or the data it was trained on changed. New shards alone leave it as it is: retraining on them is asked for
(`force`, or the weekly schedule), never a side effect of one more video.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from assets.incremental import Force, whole
from assets.resources import GPU, Pipeline
from tps_pipeline import recipe, tables
from tps_pipeline.lineage import Key, Work
from tps_pipeline.methods import build
from tps_pipeline.models import pretrained

Train = Callable[[Path], dict[str, float]]
"""Trains in a folder that outlasts a cut-off run, leaves the network there, and returns figures about it."""


@dg.asset(
    key=["checkpoints", "person_detector"],
    deps=[["datasets", "person"], "frames"],
    group_name="checkpoints",
    pool=GPU,
)
def person_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for people on whole frames."""

    def train(folder: Path) -> dict[str, float]:
        from tps_pipeline.detection.datasets import PERSON

        return _train_detector(pipeline, pipeline.recipe.person_detector, "person", [PERSON], folder)

    yield from _checkpoint(context, pipeline, train, sections=["person_detector", "seed"], force=config.force)


@dg.asset(
    key=["checkpoints", "part_detector"], deps=[["datasets", "part"], "frames"], group_name="checkpoints", pool=GPU
)
def part_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for the ten parts on a person's crop."""

    def train(folder: Path) -> dict[str, float]:
        from tps_pipeline.labels import PARTS

        return _train_detector(pipeline, pipeline.recipe.part_detector, "part", PARTS, folder)

    yield from _checkpoint(context, pipeline, train, sections=["part_detector", "seed"], force=config.force)


@dg.asset(
    key=["checkpoints", "single_stage_detector"],
    deps=[["datasets", "single_stage"], "frames"],
    group_name="checkpoints",
    pool=GPU,
)
def single_stage_detector(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """YOLOv7 for people and parts together on whole frames."""

    def train(folder: Path) -> dict[str, float]:
        from tps_pipeline.detection.single_stage import LABELS

        settings = pipeline.recipe.single_stage_detector
        assert settings is not None  # or there would be no such asset
        return _train_detector(pipeline, settings, "single_stage", LABELS, folder)

    yield from _checkpoint(context, pipeline, train, sections=["single_stage_detector", "seed"], force=config.force)


@dg.asset(
    key=["checkpoints", "video_action"],
    deps=["videos", ["vocabulary", "actions"]],
    group_name="checkpoints",
    pool=GPU,
)
def video_action(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
) -> Iterator[dg.MaterializeResult]:
    """Video Swin that names a video's action."""

    def train(folder: Path) -> dict[str, float]:
        from tps_pipeline import video_action

        return video_action.train(
            pipeline.read_splits("videos", ("train",), tables.VIDEOS),
            pipeline.read_splits("videos", ("val",), tables.VIDEOS),
            pipeline.data_folder,
            pipeline.read("vocabulary/actions")["action"].to_pylist(),
            pipeline.recipe.video_action,
            folder=folder,
            seed=pipeline.recipe.seed,
            weights=_weights(pipeline, "video_action", folder),
        )

    yield from _checkpoint(context, pipeline, train, sections=["video_action", "seed"], force=config.force)


def method_checkpoint(name: str, settings: recipe.Method) -> dg.AssetsDefinition:
    """The checkpoint of a method, from its recipe entry."""
    method = build(settings)
    section = f"methods.{name}"
    trained = f"{section}.detector" if isinstance(settings, recipe.PartStateDetector) else section

    @dg.asset(
        key=["checkpoints", name],
        deps=[key.split("/") for key in method.fit_reads],
        group_name="checkpoints",
        pool=GPU,
        description=f"What the method {name} has learned.",
    )
    def checkpoint(
        context: dg.AssetExecutionContext, pipeline: Pipeline, config: Force
    ) -> Iterator[dg.MaterializeResult]:
        def fit(folder: Path) -> dict[str, float]:
            train, val = (pipeline.sources(*pipeline.shards(split)) for split in ("train", "val"))
            weights = _weights(pipeline, trained, folder)
            return method.fit(train, val, folder, seed=pipeline.recipe.seed, weights=weights)

        sections = [section, "seed"]
        yield from _checkpoint(context, pipeline, fit, sections=sections, trained=trained, force=config.force)

    return checkpoint


def _train_detector(
    pipeline: Pipeline, settings: recipe.Detector, dataset: str, labels: list[str] | tuple[str, ...], folder: Path
) -> dict[str, float]:
    from tps_pipeline.detection.train import train

    samples = {
        split: pipeline.read_splits(f"datasets/{dataset}", (split,), tables.SAMPLES) for split in ("train", "val")
    }
    frames = {split: [pipeline.frames(shard) for shard in pipeline.shards(split)] for split in ("train", "val")}
    return train(
        settings,
        samples["train"],
        frames["train"],
        labels,
        val_samples=samples["val"],
        val_frames=frames["val"],
        folder=folder,
        seed=pipeline.recipe.seed,
        weights=_weights(pipeline, f"{dataset}_detector", folder),
    )


def _weights(pipeline: Pipeline, section: str, folder: Path) -> Path | None:
    """The imported weights that the recipe's section names, if any; what they are stays beside the checkpoint."""
    name = pipeline.recipe.section(f"{section}.network.weights")
    if name is None:
        return None
    pretrained.check(pipeline.recipe.section(section), pipeline.store, where=section)
    (folder / "weights.json").write_text(json.dumps(pretrained.metadata_of(name, pipeline.store), indent=1))
    return pipeline.store.local(pretrained.path_of(name))


def _checkpoint(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    train: Train,
    *,
    sections: list[str],
    trained: str | None = None,
    force: bool,
) -> Iterator[dg.MaterializeResult]:
    name = context.asset_key.path[-1]
    weights = pipeline.recipe.section(f"{trained or sections[0]}.network.weights")
    reads: list[Key] = [(f"weights/{weights}", None)] if weights else []

    def make(work: Work) -> Path:
        from tps_pipeline.checkpoint import describe

        folder = pipeline.store.workspace(f"checkpoints/{name}/{work.digest}")
        metrics = train(folder)
        describe(folder, name=name, settings=pipeline.recipe.section(sections[0]), metrics=metrics, work=work)
        return folder

    yield from whole(
        context,
        pipeline,
        make,
        sections=sections,
        splits=("train", "val"),
        reads=reads,
        keeps_when_inputs_grow=True,
        force=force,
    )
