"""Having a network learn in this process: alone, or as one of those that torchrun has started."""

from __future__ import annotations

import json

from tps_pipeline import outputs
from tps_pipeline.graph.reader import Reader
from tps_pipeline.learners import Learner


def train_here(learner: Learner, read: Reader) -> dict[str, float]:
    """Have a network learn in this process, with the others if torchrun has started it, and leave it in the workspace.

    Returns:
        Figures about it.
    """
    from tps_pipeline.learners import pretrained
    from tps_pipeline.training.checkpoint import WEIGHTS

    weights = None
    if learner.weights:
        store = read.run.store
        pretrained.check(read.run.recipe.section(learner.section), store, where=learner.section)
        about = pretrained.metadata_of(learner.weights, store)
        (read.workspace / "weights.json").write_text(json.dumps(about, indent=1))
        weights = read.path(outputs.weights(learner.weights)) / WEIGHTS
    seed = read.setting("seed")
    return learner.fit(read.of("train"), read.of("val"), read.workspace, seed=seed, weights=weights)
