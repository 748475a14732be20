"""Training a checkpoint's network: in this process, or in `TPS_PROCESSES` that torchrun starts by Dagster Pipes.

Each of those runs this module and calls the same function; the first one reports the figures.
"""

import json
import os
import sys
from pathlib import Path

import dagster as dg
from dagster_pipes import open_dagster_pipes

from assets.dead_runs import end_with
from assets.executors import PROCESSES
from assets.resources import Pipeline
from tps_pipeline import tables
from tps_pipeline.methods import build
from tps_pipeline.models import pretrained
from tps_pipeline.recipe import Recipe, VideoCategory


def train(context: dg.AssetExecutionContext, pipeline: Pipeline, name: str, folder: Path) -> dict[str, float]:
    """Train a network in a folder that outlasts a cut-off run, in as many processes as are configured.

    Returns:
        Figures about it.
    """
    counts_only = isinstance(pipeline.recipe.methods.get(name), VideoCategory)
    if PROCESSES == 1 or counts_only:
        return train_here(pipeline, name, folder)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # By its own name, which it looks up otherwise, not every machine finds itself.
    launch = [*torchrun, "--local-addr=localhost", f"--nproc_per_node={PROCESSES}"]
    ran = dg.PipesSubprocessClient().run(
        command=[*launch, "-m", "assets.training", name, str(folder)],
        context=context,
        cwd=str(Path(__file__).parent.parent),
        env={
            "TPS_DATA": pipeline.data,
            "TPS_RECIPE": pipeline.recipe_name,
            "TPS_STORE": pipeline.store_root,
            "TPS_RUN_PID": str(os.getpid()),
        },
    )
    return ran.get_custom_messages()[-1]


def train_here(pipeline: Pipeline, name: str, folder: Path) -> dict[str, float]:
    """Train a network, with the other processes if torchrun has started this one."""
    match name:
        case "person_detector":
            from tps_pipeline.detection.datasets import PERSON

            return _train_detector(pipeline, name, [PERSON], folder)
        case "part_detector":
            from tps_pipeline.labels import PARTS

            return _train_detector(pipeline, name, PARTS, folder)
        case "single_stage_detector":
            from tps_pipeline.detection.single_stage import LABELS

            return _train_detector(pipeline, name, LABELS, folder)
        case "video_action":
            return _train_video_action(pipeline, folder)
        case _:
            return _fit_method(pipeline, name, folder)


def _train_detector(
    pipeline: Pipeline, name: str, labels: list[str] | tuple[str, ...], folder: Path
) -> dict[str, float]:
    from tps_pipeline.detection.train import train

    dataset = name.removesuffix("_detector")
    samples = {
        split: pipeline.read_splits(f"datasets/{dataset}", (split,), tables.SAMPLES) for split in ("train", "val")
    }
    frames = {split: [pipeline.frames(shard) for shard in pipeline.shards(split)] for split in ("train", "val")}
    return train(
        getattr(pipeline.recipe, name),
        samples["train"],
        frames["train"],
        labels,
        val_samples=samples["val"],
        val_frames=frames["val"],
        folder=folder,
        seed=pipeline.recipe.seed,
        weights=_weights(pipeline, name, folder),
    )


def _train_video_action(pipeline: Pipeline, folder: Path) -> dict[str, float]:
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


def _fit_method(pipeline: Pipeline, name: str, folder: Path) -> dict[str, float]:
    settings = pipeline.recipe.methods[name]
    train, val = (pipeline.sources(*pipeline.shards(split)) for split in ("train", "val"))
    weights = _weights(pipeline, name, folder)
    return build(settings).fit(train, val, folder, seed=pipeline.recipe.seed, weights=weights)


def section_of(recipe: Recipe, name: str) -> str:
    """The recipe's section that a checkpoint depends on."""
    return f"methods.{name}" if name in recipe.methods else name


def network_of(recipe: Recipe, name: str) -> str:
    """The part of that section that holds the network."""
    return section_of(recipe, name) + (".detector" if name in recipe.part_state_detectors else "")


def _weights(pipeline: Pipeline, name: str, folder: Path) -> Path | None:
    """The imported weights that a checkpoint starts from, if any; what they are stays beside it."""
    section = network_of(pipeline.recipe, name)
    weights = pipeline.recipe.section(f"{section}.network.weights")
    if weights is None:
        return None
    pretrained.check(pipeline.recipe.section(section), pipeline.store, where=section)
    (folder / "weights.json").write_text(json.dumps(pretrained.metadata_of(weights, pipeline.store), indent=1))
    return pipeline.store.local(pretrained.path_of(weights))


def main(name: str, folder: str) -> None:
    """What each process does that torchrun starts; a run that is killed would leave it behind."""
    end_with(int(os.environ["TPS_RUN_PID"]))
    pipeline = Pipeline.from_environment()
    if os.environ["RANK"] != "0":
        train_here(pipeline, name, Path(folder))
        return
    with open_dagster_pipes() as pipes:
        pipes.report_custom_message(train_here(pipeline, name, Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
