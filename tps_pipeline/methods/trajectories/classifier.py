"""Training and use of the network that names states from the boxes of people's parts over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tps_pipeline import outputs, recipe
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.tracks import track
from tps_pipeline.device import choose_device
from tps_pipeline.labels import PARTS, swap
from tps_pipeline.methods.part_state_loss import part_state_loss, part_state_scores
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, with_states
from tps_pipeline.methods.trajectories.sequences import People, arrange, at_steps, augment
from tps_pipeline.models.part_trajectory import PartTrajectoryNet
from tps_pipeline.models.weights import load_checkpoint, load_strictly, save_checkpoint
from tps_pipeline.outputs import ACTIONS, STATE_LABELS
from tps_pipeline.reading import Reads
from tps_pipeline.training import loop

FILE = "model.safetensors"
TOGETHER = 256
"""Sequences classified at once."""


@dataclass(frozen=True)
class Labelled:
    """Annotated people, with the label of each of their parts, ``(N, 10)``, and their videos' actions, ``(N, A)``."""

    people: People
    targets: NDArray[np.int64]
    actions: NDArray[np.float32]


def fit(settings: recipe.PartTrajectory, train: Reads, val: Reads, *, folder: Path, seed: int) -> dict[str, float]:
    """Train a network on annotated people and leave it in a folder, with its labels, actions and settings.

    Args:
        settings: The recipe's entry.
        train: What to learn from.
        val: What to measure on; may have no videos.
        folder: Gets ``model.safetensors`` and the logs.
        seed: Of everything random.

    Returns:
        Loss and, measured on ``val``, the share of labelled parts that get the right state.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    space = mirror_closed(LabelSpace.of(train(STATE_LABELS), pairs="all"))
    names = sorted(set(train(ACTIONS)["action"].to_pylist())) if settings.action else []
    known, held_out = (labelled(source, space, names, settings) for source in (train, val))

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(batch["corners"], batch["confidences"], batch["actions"])
        return part_state_loss(logits.flatten(0, 1), batch["targets"].flatten(0, 1), space, kind="softmax"), {}

    def evaluate(network: nn.Module) -> dict[str, float]:
        best = space.best(classify(network, held_out.people, held_out.actions, space))
        right = np.equal(best, held_out.targets)[held_out.targets >= 0]
        return {"part_accuracy": float(right.mean())}

    def save(trained: nn.Module) -> None:
        metadata = {
            "labels": space.to_json(),
            "actions": json.dumps(names),
            "settings": settings.model_dump_json(exclude={"inference"}),
        }
        save_checkpoint(folder / FILE, trained.state_dict(), metadata=metadata)

    task = loop.Task(
        PartTrajectoryNet(settings.network, len(space), len(names)),
        TrainingSequences(known, settings, space=space),
        loss,
        collate=collate,
        evaluate=evaluate if (held_out.targets >= 0).any() else None,
        save=save,
    )
    fitted = loop.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "part_accuracy")}


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
    state, metadata = load_checkpoint(checkpoint / FILE)
    settings = recipe.PartTrajectory.model_validate_json(metadata["settings"])
    space, names = LabelSpace.from_json(metadata["labels"]), json.loads(metadata["actions"])
    network = PartTrajectoryNet(settings.network, len(space), len(names))
    load_strictly(network, state)
    people = arrange(detections, detections, tracks, stride=settings.stride, threshold=inference.part_threshold)
    rows = video_actions.to_pylist() if video_actions else []
    shown = {row["video_id"]: dict(row["probabilities"]) for row in rows}
    scores = classify(network.to(choose_device()).eval(), people, _actions(people, shown, names), space)
    return with_states(detections, space, scores, people.person_of_part)


def mirror_closed(space: LabelSpace) -> LabelSpace:
    """A label space with the mirror images of its pairs, so that every label has one."""
    return LabelSpace(tuple(sorted({*space.pairs, *((swap(part), state) for part, state in space.pairs)})))


def labelled(source: Reads, space: LabelSpace, names: list[str], settings: recipe.PartTrajectory) -> Labelled:
    """The annotated people of some shards, linked over the annotated frames."""
    people, parts = source(outputs.PEOPLE), source(outputs.PARTS)
    arranged = arrange(people, parts, track(people), stride=settings.stride)
    targets = np.full((len(arranged.videos), len(PARTS)), UNLABELLED)
    pairs = list(zip(parts["part"].to_pylist(), parts["state"].to_pylist(), strict=True))
    labels = [space.labels.get(pair, UNLABELLED) for pair in pairs]
    targets[arranged.person_of_part, [PARTS.index(part) for part, _ in pairs]] = labels
    rows = source(ACTIONS).to_pylist()
    shown = {row["video_id"]: {row["action"]: 1.0} for row in rows}
    return Labelled(arranged, targets, _actions(arranged, shown, names))


class TrainingSequences:
    """Sequences of annotated people in which something is labelled, augmented."""

    def __init__(self, known: Labelled, settings: recipe.PartTrajectory, *, space: LabelSpace) -> None:
        self.known, self.settings, self.space = known, settings, space
        people, has_label = known.people, np.max(known.targets, axis=1) >= 0
        pairs = zip(people.sequences, people.steps, strict=True)
        self.sequences = [(own, steps) for own, steps in pairs if has_label[own].any()]

    def __len__(self) -> int:
        return len(self.sequences)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, NDArray]:
        """A sequence ``(T, 11, ...)`` with targets ``(T, 10)`` and the actions' probabilities ``(A,)``."""
        own, steps = self.sequences[index]
        first = int(rng.choice(steps[steps <= max(0, int(steps[-1]) + 1 - self.settings.frames)]))
        inside = (steps >= first) & (steps < first + self.settings.frames)
        own, steps = own[inside], steps[inside] - first
        boxes = augment(at_steps(self.known.people.boxes, own, steps), self.settings.augment, rng)
        targets = np.full((len(boxes.confidences), len(PARTS)), UNLABELLED)
        targets[steps] = self.known.targets[own]
        actions = self.known.actions[own[0]] * np.float32(rng.random() >= self.settings.augment.drop)
        if rng.random() < self.settings.augment.flip:
            boxes, targets = boxes.mirrored(), self.space.mirrored(targets)
        return {**boxes._asdict(), "targets": targets, "actions": actions}


def collate(samples: Sequence[dict[str, NDArray]]) -> dict[str, Tensor]:
    """Sequences of one length: nobody is seen, and nothing labelled, after a shorter one's end."""
    padding = {"corners": 0, "confidences": 0, "targets": UNLABELLED}
    batch = {
        name: pad_sequence([torch.from_numpy(s[name]) for s in samples], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
    return batch | {"actions": torch.from_numpy(np.stack([sample["actions"] for sample in samples]))}


@torch.inference_mode()
def classify(
    network: nn.Module, people: People, actions: NDArray[np.float32], space: LabelSpace
) -> NDArray[np.float32]:
    """Score the states of everyone's parts: the mean of what is seen and of its mirror image.

    Args:
        network: In eval mode, on the device that it is to run on.
        people: Whom to classify.
        actions: Probabilities of the actions for each of them, ``(N, A)``.
        space: The labels; each has its mirror image.

    Returns:
        Probabilities among the states of each part, ``(N, labels)``.
    """
    device = next(network.parameters()).device
    mirror = space.mirrored_labels
    scores = np.zeros((len(people.videos), len(space)), np.float32)
    order = np.argsort([steps[-1] for steps in people.steps], kind="stable")
    for some in (order[at : at + TOGETHER] for at in range(0, len(order), TOGETHER)):
        found = []
        for flipped in (False, True):
            boxes = [at_steps(people.boxes, people.sequences[i], people.steps[i]) for i in some]
            boxes = [each.mirrored() for each in boxes] if flipped else boxes
            corners, confidences = (
                pad_sequence([torch.from_numpy(each[k]) for each in boxes], batch_first=True).to(device) for k in (0, 1)
            )
            seen = torch.from_numpy(actions[[people.sequences[i][0] for i in some]]).to(device)
            logits = network(corners, confidences, seen)
            chances = part_state_scores(logits.flatten(0, 1), space, kind="softmax").view(logits.shape).cpu().numpy()
            found.append(chances[..., mirror] if flipped else chances)
        for i, of_sequence in zip(some, (found[0] + found[1]) / 2, strict=True):
            scores[people.sequences[i]] = of_sequence[people.steps[i]]
    return scores


def _actions(people: People, shown: dict[str, dict[str, float]], names: list[str]) -> NDArray[np.float32]:
    """Probabilities of the named actions in each person's video, ``(N, A)``."""
    videos, of_person = np.unique(people.videos, return_inverse=True)
    rows = [[shown[video].get(name, 0.0) for name in names] for video in videos.tolist()]
    return np.array(rows, np.float32).reshape(len(videos), len(names))[of_person]
