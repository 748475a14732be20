"""Training a network to name states from the boxes of people's parts over time, annotated or detected ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tps_pipeline import outputs, recipe
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.tracks import track
from tps_pipeline.labels import swap
from tps_pipeline.methods.lessons import on_device
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, target_counts
from tps_pipeline.methods.trajectories.classifier import action_probabilities, build, classify
from tps_pipeline.methods.trajectories.mistakes import Mistakes
from tps_pipeline.methods.trajectories.sequences import (
    Trajectories,
    annotated_of_detected,
    arrange,
    at_steps,
    augment,
    persons,
    states_of_detected,
    stretch,
)
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.outputs import ACTIONS, STATE_LABELS
from tps_pipeline.parsing import translate
from tps_pipeline.reading import Reads
from tps_pipeline.tables import distinct
from tps_pipeline.training import loop
from tps_pipeline.training.checkpoint import WEIGHTS


@dataclass(frozen=True)
class Labelled:
    """People, with the label of each of their parts, `(N, parts)`, and their videos' actions, `(N, A)`."""

    people: Trajectories
    """Their parts' boxes over time."""
    targets: NDArray[np.int64]
    """Labels in the label space, `UNLABELLED` where there is none."""
    actions: NDArray[np.float32]
    """Of the A known actions, how likely each is."""
    detected: bool
    """Whether their boxes are detected ones."""


def fit(settings: recipe.PartTrajectory, train: Reads, val: Reads, *, folder: Path, seed: int) -> dict[str, float]:
    """Train a network on people with annotated states; leave it in a folder, with its labels, actions and settings.

    Args:
        settings: The recipe's entry.
        train: What to learn from.
        val: What to measure on; may have no videos.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.

    Returns:
        Loss and, measured on `val`, the share of labelled parts that get the right state; where detected boxes are
        learned from, those of people who are detected.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    space = mirror_closed(LabelSpace.of(train(STATE_LABELS), pairs="all"))
    names = distinct(train(ACTIONS)["action"]) if settings.action else []
    kinds = {"annotated": (False,), "detected": (True,), "both": (False, True)}[settings.boxes]
    known = [labelled(train, space, names, settings, detected=detected) for detected in kinds]
    mistakes = mistakes_of(train, known[0].people, known[-1].people, space) if settings.mistakes else None
    held_out = labelled(val, space, names, settings, detected=kinds[-1])
    counts = on_device(torch.from_numpy(target_counts(np.concatenate([each.targets for each in known]), space)))

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(batch["corners"], batch["confidences"], batch["actions"])
        logits, targets = logits.flatten(0, 1), batch["targets"].flatten(0, 1)
        tail, often = settings.long_tail, counts(logits.device)
        return part_state_loss(logits, targets, space, kind="softmax", long_tail=tail, counts=often), {}

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
        save_checkpoint(folder / WEIGHTS, trained.state_dict(), metadata=metadata)

    task = loop.Task(
        build(settings.network, space, len(names)),
        TrainingSequences(known, settings, space=space, mistakes=mistakes),
        loss,
        collate=collate,
        evaluate=evaluate if (held_out.targets >= 0).any() else None,
        save=save,
        figure="part_accuracy",
    )
    fitted = loop.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "part_accuracy")}


def mirror_closed(space: LabelSpace) -> LabelSpace:
    """A label space with the mirror images of its pairs, so that every label has one."""
    return LabelSpace(tuple(sorted({*space.pairs, *((swap(part), state) for part, state in space.pairs)})))


def labelled(
    source: Reads, space: LabelSpace, names: list[str], settings: recipe.PartTrajectory, *, detected: bool = False
) -> Labelled:
    """The annotated people of some shards, linked over the annotated frames; or those detected, with their states."""
    people, parts = source(outputs.PEOPLE), source(outputs.PARTS)
    if detected:
        found, threshold = source(outputs.DETECTIONS), settings.inference.part_threshold
        arranged = arrange(found, found, track(found), space.parts, stride=settings.stride, threshold=threshold)
        names_of, states = found["part"].to_pylist(), states_of_detected(found, people, parts)
    else:
        arranged = arrange(people, parts, track(people), space.parts, stride=settings.stride)
        names_of, states = parts["part"].to_pylist(), parts["state"].to_pylist()
    targets = np.full((len(arranged.videos), len(space.parts)), UNLABELLED)
    pairs = [(str(part), str(state)) for part, state in zip(names_of, states, strict=True)]
    labels = np.array([space.labels.get(pair, UNLABELLED) for pair in pairs], np.int64)
    place = translate([part for part, _ in pairs], space.parts)
    known = place >= 0
    targets[arranged.person_of_part[known], place[known]] = labels[known]
    rows = source(ACTIONS).to_pylist()
    shown = {video: {} for video in arranged.videos.tolist()} | {row["video_id"]: {row["action"]: 1.0} for row in rows}
    return Labelled(arranged, targets, action_probabilities(arranged, shown, names), detected)


def mistakes_of(source: Reads, annotated: Trajectories, detected: Trajectories, space: LabelSpace) -> Mistakes | None:
    """What the detector makes of the annotated people of some shards, None if it finds nobody of them.

    Args:
        source: What both are of.
        annotated: As `labelled` arranges them.
        detected: The same of those detected.
        space: The labels; its parts count.
    """
    found, parts = source(outputs.DETECTIONS), source(outputs.PARTS)
    theirs = annotated_of_detected(found, source(outputs.PEOPLE))
    right = dict(zip(persons(parts), annotated.person_of_part.tolist(), strict=True))
    same = dict(zip(persons(found), detected.person_of_part.tolist(), strict=True))
    each = (
        (right.get((video, frame, theirs.get((video, frame, person), -1)), -1), at)
        for (video, frame, person), at in same.items()
    )
    pairs = np.array([pair for pair in each if min(pair) >= 0], np.int64).reshape(-1, 2)
    return Mistakes.of(annotated, detected, pairs, space.parts) if len(pairs) else None


class TrainingSequences:
    """Sequences of people in which something is labelled, augmented."""

    def __init__(
        self,
        known: Sequence[Labelled],
        settings: recipe.PartTrajectory,
        *,
        space: LabelSpace,
        mistakes: Mistakes | None = None,
    ) -> None:
        self.settings, self.space, self.mistakes = settings, space, mistakes
        self.sequences = [
            (each, rows, steps)
            for each in known
            for rows, steps in zip(each.people.sequences, each.people.steps, strict=True)
            if (each.targets[rows] >= 0).any()
        ]

    def __len__(self) -> int:
        return len(self.sequences)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """A sequence `(T, 1 + parts, ...)` with targets `(T, parts)` and the actions' probabilities `(A,)`."""
        known, rows, steps = self.sequences[index]
        first = self._start(steps, known.targets[rows], rng)
        inside = (steps >= first) & (steps < first + self.settings.frames)
        rows, steps = rows[inside], steps[inside] - first
        boxes, detected = at_steps(known.people.boxes, rows, steps), known.detected
        if self.mistakes and not detected and rng.random() < self.settings.mistakes:
            boxes, detected = self.mistakes.made_of(boxes, rng), True
        boxes = (stretch if detected else augment)(boxes, self.settings.augment, rng)
        targets = np.full((len(boxes.confidences), len(self.space.parts)), UNLABELLED)
        targets[steps] = known.targets[rows]
        actions = known.actions[rows[0]] * np.float32(rng.random() >= self.settings.augment.drop)
        if rng.random() < self.settings.augment.flip:
            boxes, targets = boxes.mirrored(self.space.parts), self.space.mirrored(targets)
        return {**boxes._asdict(), "targets": targets, "actions": actions}

    def _start(self, steps: NDArray[np.int64], targets: NDArray[np.int64], rng: np.random.Generator) -> int:
        """Where to cut: as many steps as are wanted follow if there are, and one of them is labelled."""
        frames, told = self.settings.frames, steps[(targets >= 0).any(axis=1)]
        starts = steps[steps <= max(0, int(steps[-1]) + 1 - frames)]
        starts = starts[np.searchsorted(told, starts + frames) > np.searchsorted(told, starts)]
        return int(rng.choice(starts if len(starts) else told))


def collate(samples: Sequence[dict[str, NDArray[Any]]]) -> dict[str, Tensor]:
    """Sequences of one length: nobody is seen, and nothing labelled, after a shorter one's end."""
    padding = {"corners": 0, "confidences": 0, "targets": UNLABELLED}
    batch = {
        name: pad_sequence([torch.from_numpy(s[name]) for s in samples], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
    return batch | {"actions": torch.from_numpy(np.stack([sample["actions"] for sample in samples]))}
