"""Member `statistics`: randomised trees on statistics of tracked people's detected part boxes; no network, no epochs.

Each person is a row of numbers (`motion`). As the skeleton network does, the trees learn from boxes that are detected:
annotated ones leave out what is hidden, and trees take notice.

Measured on generated videos, boxes by the demo's detectors, which had not seen them: six actions from 8 training videos
each, nineteen from 12 each. People weighed by how surely they are seen 0.80 and 0.72 of the test videos; near ones
counting more 0.88 and 0.75; boxes smoothed and weighed as well 0.89 and 0.80. From annotated boxes of the training
videos 0.69 and 0.50, from both kinds 0.85 and 0.77, from boxes detected in all frames of the training videos 0.84 and
0.77; of detectors that have learned from the labelled frames, boxes in all frames gain (docs/recipes.md). Nothing was
gained by people cut to stretches as long as those of training, by regression in place of trees, or by regression beside
them; spectra and autocorrelations lost up to 0.03.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe
from tps_pipeline.actions.motion import described
from tps_pipeline.actions.people import People
from tps_pipeline.actions.scope import Scope, Seen
from tps_pipeline.labels import PARTS
from tps_pipeline.models.described import description_of
from tps_pipeline.models.forest import Forest
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS

FAINTEST = 0.02
"""Share of what a video's people weigh together below which one is not looked at: detectors find many that are none,
and each would make the trees larger."""


def train(
    known: Seen,
    held_out: Seen,
    actions: list[str],
    settings: recipe.StatisticsAction,
    *,
    parts: tuple[str, ...] = PARTS,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """Grow the trees and leave them in a folder, with their scope.

    Args:
        known: Training videos; those without people are left out.
        held_out: Videos to measure accuracy on; there may be none.
        actions: The actions, in the order of the probabilities.
        settings: The recipe's section.
        parts: Whose boxes the people have.
        folder: Gets `model.safetensors`.
        seed: Of everything random.

    Returns:
        Accuracy on `val` if there is any. Nothing if nobody was detected in any training video: all that is known then
        is how frequent the actions are.

    Raises:
        DataError: A video shows an action that is not among `actions`.
    """
    scope = Scope.of(known[0], actions, settings, parts)
    people, shown = scope.lessons(known)
    forest = _grown(people, shown, len(actions), settings, seed=seed) if people else None
    save_checkpoint(folder / WEIGHTS, forest.tensors() if forest else {}, metadata=scope.metadata())
    if not forest or not len(held_out[0]):
        return {}
    return {"accuracy": scope.accuracy(held_out, partial(probabilities, forest))}


def _grown(
    videos: Sequence[People], shown: Sequence[int], actions: int, settings: recipe.StatisticsAction, *, seed: int
) -> Forest:
    """Trees that have learned from each video's people and their mirror images; all videos count the same."""
    from sklearn.ensemble import ExtraTreesClassifier

    trees = ExtraTreesClassifier(
        settings.trees,
        min_samples_leaf=settings.min_samples_leaf,
        max_features=settings.max_features,  # pyright: ignore[reportArgumentType]: it says text only
        random_state=seed,
        n_jobs=1,
    )
    each = [_seen(people) for people in videos]
    features = np.concatenate([views for views, _ in each])
    weights = np.concatenate([weights for _, weights in each])
    labels = np.repeat(shown, [len(weights) for _, weights in each])
    return Forest.grown(trees.fit(features, labels, sample_weight=weights), actions)


def _seen(people: People) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The numbers of a video's people but for faint ones, then those of their mirror images, and each one's share."""
    shares = people.weights / people.weights.sum()
    seen = [boxes for boxes, share in zip(people.sequences, shares.tolist(), strict=True) if share >= FAINTEST]
    views = [described(each, people.seconds, people.parts) for each in seen]
    views += [described(each.mirrored(people.parts), people.seconds, people.parts) for each in seen]
    return np.array(views), np.tile(shares[shares >= FAINTEST], 2)


@kept
def load(checkpoint: Path) -> tuple[Forest | None, Scope[recipe.StatisticsAction]]:
    """The trees that `train` left in a folder, if anybody was there to learn from, and their scope."""
    tensors, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        scope = Scope.read(metadata, recipe.StatisticsAction)
    return Forest.of(tensors, len(scope.actions)) if tensors else None, scope


def predict(checkpoint: Path, videos: pa.Table, detections: pa.Table, tracks: pa.Table) -> pa.Table:
    """Predict the action of every video by what `train` left in a folder; see `Scope.predict`."""
    forest, scope = load(checkpoint)
    return scope.predict(videos, detections, tracks, partial(probabilities, forest) if forest else None)


def probabilities(forest: Forest, people: People) -> NDArray[np.float64]:
    """Probabilities of the actions, `(actions,)`: the mean over a video's people by weight, and their mirror images."""
    views, weights = _seen(people)
    return np.average(forest.probabilities(views), axis=0, weights=weights)
