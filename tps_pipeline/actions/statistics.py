"""Member `statistics`: randomised trees on statistics of tracked people's detected part boxes; no network, no epochs.

Each person is a row of numbers (`motion`). As the skeleton network does, the trees learn from boxes that are detected:
annotated ones leave out what is hidden, and trees take notice.

Measured on detected boxes of generated videos: the demo's six actions 0.93 of the test videos from 8 training videos
each, 0.94 from 48; six others from 8 each 0.60, all nineteen from 12 each 0.69. The skeleton network 0.86, 0.87, 0.60
and 0.46. In 5 random splits each of the same videos what two parts have to do with each other gained 0.04; spectra and
autocorrelations lost up to 0.03, and so did the people's log probabilities in place of their probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe
from tps_pipeline.actions.motion import described
from tps_pipeline.actions.people import People, people_of
from tps_pipeline.actions.probabilities import action_indices, as_table, frequencies, ids
from tps_pipeline.labels import PARTS
from tps_pipeline.models.described import description_of
from tps_pipeline.models.forest import Forest
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS

FAINTEST = 0.02
"""Share of what a video's people weigh together below which one is not looked at: detectors find many that are none,
and each would make the trees larger."""
UNKNOWN_RATE = 25.0
"""Frames a second of a video that does not tell."""


class Rows(NamedTuple):
    """The people of a video as trees see them.

    Attributes:
        views: Their numbers, and those of their mirror images, `(2, people, F)`.
        weights: How much each says of the video, as shares, `(people,)`.
    """

    views: NDArray[np.float32]
    weights: NDArray[np.float64]


def _rows(videos: pa.Table, people: Mapping[str, People], settings: recipe.StatisticsAction) -> list[Rows | None]:
    """The people of each video but for faint ones; None for nobody."""
    return [
        _described(people[video], settings.stride / (fps or UNKNOWN_RATE)) if video in people else None
        for video, fps in zip(ids(videos), videos["fps"].to_pylist(), strict=True)
    ]


def _described(people: People, seconds: float) -> Rows:
    shares = people.weights / people.weights.sum()
    seen = [boxes for boxes, share in zip(people.sequences, shares.tolist(), strict=True) if share >= FAINTEST]
    sides = seen, [boxes.mirrored(people.parts) for boxes in seen]
    views = [[described(boxes, seconds, people.parts) for boxes in side] for side in sides]
    return Rows(np.array(views), shares[shares >= FAINTEST])


def train(
    known: tuple[pa.Table, dict[str, People]],
    held_out: tuple[pa.Table, dict[str, People]],
    actions: list[str],
    settings: recipe.StatisticsAction,
    *,
    parts: tuple[str, ...] = PARTS,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """Grow the trees and leave them in a folder, with the actions, their frequencies and the settings.

    Args:
        known: Training videos, `tables.VIDEOS`, and who was detected in them (`people_of`); those without people are
            left out.
        held_out: Videos to measure accuracy on, alike; there may be none.
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
    (videos, people), (val, val_people) = known, held_out
    shown, true = action_indices(videos, actions), action_indices(val, actions)
    usual = frequencies(shown, len(actions))
    named = zip(_rows(videos, people, settings), shown.tolist(), strict=True)
    lessons = [(rows, action) for rows, action in named if rows]
    forest = _grown(lessons, len(actions), settings, seed=seed) if lessons else None
    metadata = {
        "actions": json.dumps(actions),
        "frequencies": json.dumps(usual),
        "settings": settings.model_dump_json(),
        **({} if parts == PARTS else {"parts": json.dumps(parts)}),
    }
    save_checkpoint(folder / WEIGHTS, forest.tensors() if forest else {}, metadata=metadata)
    if not forest or not len(val):
        return {}
    found = probabilities(forest, _rows(val, val_people, settings), usual)
    return {"accuracy": float(np.equal(np.argmax(found, axis=1), true).mean())}


def _grown(
    lessons: Sequence[tuple[Rows, int]], actions: int, settings: recipe.StatisticsAction, *, seed: int
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
    features = np.concatenate([view for rows, _ in lessons for view in rows.views])
    weights = np.concatenate([rows.weights for rows, _ in lessons for _ in rows.views])
    labels = np.concatenate([np.full(rows.views.shape[:2], action).ravel() for rows, action in lessons])
    return Forest.grown(trees.fit(features, labels, sample_weight=weights), actions)


class Classifier(NamedTuple):
    """Grown trees as they are used.

    Attributes:
        forest: None if nobody was detected in any training video.
        settings: The recipe's section that they were grown with.
        parts: Whose boxes they take.
        actions: What they tell apart, in the order of their probabilities.
        frequencies: How often each of them was trained on, as shares.
    """

    forest: Forest | None
    settings: recipe.StatisticsAction
    parts: tuple[str, ...]
    actions: list[str]
    frequencies: list[float]


@kept
def load(checkpoint: Path) -> Classifier:
    """What `train` left in a folder."""
    tensors, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        settings = recipe.StatisticsAction.model_validate_json(metadata["settings"])
        actions, usual = json.loads(metadata["actions"]), json.loads(metadata["frequencies"])
        parts = tuple(json.loads(metadata["parts"])) if "parts" in metadata else PARTS
    return Classifier(Forest.of(tensors, len(actions)) if tensors else None, settings, parts, actions, usual)


def predict(checkpoint: Path, videos: pa.Table, detections: pa.Table, tracks: pa.Table) -> pa.Table:
    """Predict the action of every video; one in which nobody was detected gets the training videos' frequencies.

    Args:
        checkpoint: The folder that `train` left.
        videos: `tables.VIDEOS`; actions in it are not looked at.
        detections: `tables.DETECTIONS` of the same videos.
        tracks: `tables.TRACKS` of the same people.

    Returns:
        A table of `tables.VIDEO_ACTIONS`, a row for each video.
    """
    forest, settings, parts, actions, usual = load(checkpoint)
    rows = _rows(videos, people_of(detections, tracks, settings, parts=parts), settings)
    return as_table(ids(videos), actions, probabilities(forest, rows, usual).tolist())


def probabilities(forest: Forest | None, videos: Sequence[Rows | None], usual: list[float]) -> NDArray[np.float64]:
    """Probabilities of the actions for each video: the mean over its people by weight, each seen mirrored as well.

    Args:
        forest: The trees; None for none.
        videos: The people of each; None for nobody.
        usual: What is said of a video with nobody, or without trees.

    Returns:
        `(videos, actions)`.
    """
    found = np.tile(np.array(usual), (len(videos), 1))
    for row, people in enumerate(videos):
        if people and forest:
            plain, mirrored = map(forest.probabilities, people.views)
            found[row] = np.average((plain + mirrored) / 2, axis=0, weights=people.weights)
    return found
