"""Trained networks: `checkpoints/<name>/<digest>/{model.safetensors, recipe.yaml, metrics.json, card.md}`.

Where training started from imported weights, `weights.json` says from which. A checkpoint is stale when its recipe, its
code or the data it was trained on changed. New shards alone leave it as it is: retraining on them is asked for
(`force`, or the weekly schedule), never a side effect of one more video. Entries that train alike share a checkpoint.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step
from tps_pipeline.graph.training import train_here
from tps_pipeline.learners import Learner, learners_of
from tps_pipeline.outputs import checkpoint, name_of, weights
from tps_pipeline.recipe import Recipe


def steps_of(recipe: Recipe) -> list[Step]:
    """A checkpoint for each thing that learns."""
    return [step_of(learner) for learner in learners_of(recipe)]


def step_of(learner: Learner) -> Step:
    """The step that makes a learner's checkpoint."""
    starts_from = (weights(learner.weights),) if learner.weights else ()
    return Step(
        (checkpoint(learner.name),),
        partial(_train, learner),
        reads=(*learner.fit_reads, *starts_from),
        sections=(learner.section, "seed"),
        splits=("train", "val"),
        version=learner.version,
        group="checkpoints",
        description=learner.description,
        gpu=True,
        learner=learner,
        code=learner.code,
    )


def _train(learner: Learner, read: Reader) -> Path:
    from tps_pipeline.training.checkpoint import describe, tidy

    metrics = (read.run.train or train_here)(learner, read)
    tidy(read.workspace)
    settings = read.run.recipe.learned(learner.section)
    inputs = [name_of(i.key) for i in read.inputs]
    describe(read.workspace, name=learner.name, settings=settings, metrics=metrics, inputs=inputs)
    return read.workspace
