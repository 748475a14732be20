"""A trained network that names states from the boxes of people's parts over time, as it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from tps_pipeline import recipe
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.device import choose_device
from tps_pipeline.methods.part_state_loss import part_state_scores
from tps_pipeline.methods.part_states import LabelSpace, with_states
from tps_pipeline.methods.trajectories.sequences import Trajectories, arrange, at_steps
from tps_pipeline.models.described import built_as_described, description_of
from tps_pipeline.models.kept import kept
from tps_pipeline.models.part_trajectory import PartTrajectoryNet
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS

TOGETHER = 256
"""Sequences of one video that are classified at once."""


def build(settings: recipe.PartTrajectoryNet, space: LabelSpace, actions: int) -> PartTrajectoryNet:
    """The network of a recipe's section that names these labels and takes so many actions' probabilities."""
    return PartTrajectoryNet(
        width=settings.width,
        blocks=settings.blocks,
        kernel=settings.kernel,
        parts=len(space.parts),
        labels=len(space),
        actions=actions,
    )


class Classifier(NamedTuple):
    """A trained network as it is used.

    Attributes:
        network: In eval mode, on the device that it is to run on.
        settings: The recipe's entry that it was trained with.
        space: Its labels.
        actions: Whose probabilities it takes.
    """

    network: PartTrajectoryNet
    settings: recipe.PartTrajectory
    space: LabelSpace
    actions: list[str]


@kept
def load(checkpoint: Path) -> Classifier:
    """The network that `training.fit` left in a folder."""
    state, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        settings = recipe.PartTrajectory.model_validate_json(metadata["settings"])
        space, names = LabelSpace.from_json(metadata["labels"]), json.loads(metadata["actions"])
    network = built_as_described(checkpoint / WEIGHTS, lambda: build(settings.network, space, len(names)), state)
    return Classifier(network.to(choose_device()).eval(), settings, space, names)


def predict(
    checkpoint: Path,
    detections: pa.Table,
    tracks: pa.Table,
    video_actions: pa.Table | None = None,
    *,
    inference: recipe.PartTrajectoryInference,
) -> pa.Table:
    """Give every part of everyone detected its likeliest state, also parts that are too faint to be looked at.

    Args:
        checkpoint: The folder that `fit` left.
        detections: `tables.DETECTIONS`.
        tracks: `tables.TRACKS` of the same people.
        video_actions: `tables.VIDEO_ACTIONS` of the same videos, if the network takes them.
        inference: How the network is used.

    Returns:
        A table of `tables.PREDICTIONS`.
    """
    prepare_cpu()
    network, settings, space, names = load(checkpoint)
    people = arrange(
        detections,
        detections,
        tracks,
        space.parts,
        stride=settings.stride,
        threshold=inference.part_threshold,
    )
    rows = video_actions.to_pylist() if video_actions else []
    shown = {row["video_id"]: dict(row["probabilities"]) for row in rows}
    scores = classify(network, people, action_probabilities(people, shown, names), space)
    return with_states(detections, space, scores, people.person_of_part)


@torch.inference_mode()
def classify(
    network: nn.Module, people: Trajectories, actions: NDArray[np.float32], space: LabelSpace
) -> NDArray[np.float32]:
    """Score the states of everyone's parts: the mean of what is seen and of its mirror image.

    Args:
        network: In eval mode, on the device that it is to run on.
        people: Whom to classify.
        actions: Probabilities of the actions for each of them, `(N, A)`.
        space: The labels; each has its mirror image.

    Returns:
        Probabilities among the states of each part, `(N, labels)`.
    """
    device = next(network.parameters()).device
    mirror = space.mirrored_labels
    scores = np.zeros((len(people.videos), len(space)), np.float32)
    for batch in _batches(people):
        views = []
        for flipped in (False, True):
            boxes = [at_steps(people.boxes, people.sequences[i], people.steps[i]) for i in batch]
            boxes = [sequence.mirrored(space.parts) for sequence in boxes] if flipped else boxes
            corners, confidences = (
                pad_sequence([torch.from_numpy(sequence[k]) for sequence in boxes], batch_first=True).to(device)
                for k in (0, 1)
            )
            seen = torch.from_numpy(actions[[people.sequences[i][0] for i in batch]]).to(device)
            logits = network(corners, confidences, seen)
            chances = part_state_scores(logits.flatten(0, 1), space, kind="softmax").view(logits.shape).cpu().numpy()
            views.append(chances[..., mirror] if flipped else chances)
        for i, of_sequence in zip(batch, (views[0] + views[1]) / 2, strict=True):
            scores[people.sequences[i]] = of_sequence[people.steps[i]]
    return scores


def _batches(people: Trajectories) -> Iterator[NDArray[np.int64]]:
    """Sequences of like length, of one video each: no video is to depend on what is beside it in the last digits."""
    lengths = np.array([steps[-1] for steps in people.steps], np.int64)
    videos = np.unique([people.videos[rows[0]] for rows in people.sequences], return_inverse=True)[1]
    order = np.lexsort((lengths, videos))
    for of_video in np.split(order, np.flatnonzero(np.diff(videos[order])) + 1):
        yield from (of_video[at : at + TOGETHER] for at in range(0, len(of_video), TOGETHER))


def action_probabilities(
    people: Trajectories, shown: dict[str, dict[str, float]], names: list[str]
) -> NDArray[np.float32]:
    """Probabilities of the named actions in each person's video, `(N, A)`."""
    videos, of_person = np.unique(people.videos, return_inverse=True)
    rows = [[shown[video].get(name, 0.0) for name in names] for video in videos.tolist()]
    return np.array(rows, np.float32).reshape(len(videos), len(names))[of_person]
