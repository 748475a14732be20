"""Training a network to find people, parts and states in the last frame of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.boxes import iou, paired_iou
from tps_pipeline.clips.augment import draw_warp, warp_and_tint
from tps_pipeline.clips.normalisation import Pixels
from tps_pipeline.detection.loss import complete_iou_loss
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import swapped
from tps_pipeline.methods.clips.classifier import normalise, pixels_of
from tps_pipeline.methods.end_to_end.classifier import Findings, build, find
from tps_pipeline.methods.end_to_end.key_frames import KeyFrame, KeyFrameVideo, joined, key_frame_videos
from tps_pipeline.methods.end_to_end.loss import box_loss, heat_loss, part_loss, places_of
from tps_pipeline.methods.lessons import Draw, TrainingClips, begin, groups_of, held_out_clips, saving, start_from
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, target_counts
from tps_pipeline.methods.people.training import VISIBLE, jittered, warped
from tps_pipeline.models.end_to_end import EndToEndNet, Found, Maps
from tps_pipeline.models.relations import People
from tps_pipeline.models.weights import load_checkpoint, load_into
from tps_pipeline.models.yolov7_layers import STRIDES
from tps_pipeline.psc import PART_IOU, PERSON_IOU
from tps_pipeline.reading import Reads
from tps_pipeline.training import loop

FIGURE = "part_correctness"
"""The share of labelled parts that are found and get the right state, as PSC counts them."""
WHITE = 255
"""The brightest that a pixel can be."""
STRIDE = STRIDES[0]
"""Pixels of a place of the heat map."""
SHARES = 4096
"""Shares of the picture become pixels so small that it does not matter that boxes of pixels include their corners."""


def fit(
    settings: recipe.EndToEnd,
    train: Reads,
    val: Reads,
    *,
    draw: Draw[KeyFrameVideo],
    folder: Path,
    seed: int,
    weights: Path | None,
) -> dict[str, float]:
    """Train a network and leave it in a folder, with its labels, its settings and how frequent each state is.

    Args:
        settings: The recipe's entry.
        train: What to learn from.
        val: What to measure on; may have no videos.
        draw: Chooses clips.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.
        weights: Imported weights for the backbone or the body to start from.

    Returns:
        Loss and, measured on `val`, the share of labelled parts that are found and get the right state.

    Raises:
        WeightsError: The recipe names weights that were not given.
    """
    space = begin(train, pairs="all", seed=seed)
    model = build(settings, space)
    begin_with(weights, model, settings)
    videos, held_out = (key_frame_videos(source, space) for source in (train, val))
    every = [key_frame.targets for video in videos for key_frame in video.key_frames]
    targets = np.concatenate([np.empty((0, len(space.parts)), np.int64), *every])
    counts = torch.from_numpy(target_counts(targets, space))
    task = loop.Task(
        model,
        TrainingClips(videos, draw, settings, partial(augmented, settings, space)),
        partial(loss, settings, space, counts),
        collate,
        evaluate=correctness_on(held_out, settings, space, draw) if held_out else None,
        save=saving(settings, space, targets, folder),
        groups=groups_of(settings),
        figure=FIGURE,
    )
    fitted = loop.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", FIGURE)}


def begin_with(weights: Path | None, model: EndToEndNet, settings: recipe.EndToEnd) -> None:
    """Load imported weights into the network of the section that names them, if one does.

    Raises:
        WeightsError: One does, but they were not given.
    """
    named = settings.body.weights
    if named is None:
        start_from(weights, model.look.get_submodule("backbone"), settings.network)
    elif weights is None:
        raise WeightsError(f"the weights {named} were not given; set `weights: null` or import them")
    else:
        begin_body(model.look.get_submodule("body"), weights, pixels_of(settings.network))


def begin_body(body: nn.Module, weights: Path, pixels: Pixels) -> None:
    """Load a YOLOv7's weights, which expects pixels from 0 to 1, into a body that sees normalised ones.

    What is subtracted and divided by goes into its first convolution and the mean that is subtracted after it.

    Args:
        body: Gets them.
        weights: The imported weights.
        pixels: How its pixels are normalised.
    """
    tensors = load_checkpoint(weights)[0]
    kernel, mean = (tensors[f"stem.0.{name}"].float() for name in ("conv.weight", "norm.running_mean"))
    scale, shift = (torch.tensor(values)[:, None, None] / WHITE for values in (pixels.std, pixels.mean))
    first = {"stem.0.conv.weight": kernel * scale, "stem.0.norm.running_mean": mean - (kernel * shift).sum((1, 2, 3))}
    load_into(body, tensors | first)


def loss(
    settings: recipe.EndToEnd, space: LabelSpace, counts: Tensor, network: nn.Module, batch: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """How far a network is from a batch, and in what.

    Args:
        settings: The recipe's entry.
        space: The labels.
        counts: How often each label is a training target, `(labels,)`.
        network: Looks at it.
        batch: From `collate`.
    """
    boxes, parts, clip_of = batch["boxes"], batch["parts"], batch["clip_of"]
    clips, side = batch["clips"], settings.image_size // STRIDE
    places = places_of(boxes, clip_of, torch.Size([len(clips), side, side]), spread=settings.spread)
    whom, where = partial(taught, batch, places.middle), partial(shown, batch)
    maps, _, described = network(normalise(clips, settings.network), whom, where)
    states = described.states.sum() * 0  # there may be nobody whose parts are labelled
    if (labelled := (batch["targets"] >= 0).any(1)).any():
        logits, targets = described.states[labelled], batch["targets"][labelled]
        kind, long_tail = settings.loss, settings.long_tail
        states = part_state_loss(logits, targets, space, kind=kind, long_tail=long_tail, counts=counts)
    terms = {
        "people": heat_loss(maps.heat, places.heat) * settings.gains.people,
        "boxes": box_loss(maps, places, boxes, clip_of) * settings.gains.boxes,
        "parts": part_loss(described, parts) * settings.gains.parts,
        "states": states * settings.gains.states,
    }
    return torch.stack([*terms.values()]).sum(), terms


def taught(batch: dict[str, Tensor], middle: Tensor, maps: Maps) -> Found:
    """The annotated people of a batch, some in the boxes that the network finds them in, if it does.

    Args:
        batch: From `collate`.
        middle: Row and column of each one's middle, `(N, 2)`.
        maps: Of its clips.
    """
    found = maps.people[batch["clip_of"], *middle.unbind(1)].detach()
    near = complete_iou_loss(found, batch["boxes"]) < 1 - PERSON_IOU
    people = torch.where((batch["own"] & near)[:, None], found, batch["people"])
    return Found(People(people, batch["clip_of"]), people.new_ones(len(people)))


def shown(batch: dict[str, Tensor], found: Tensor) -> Tensor:
    """Where the states of a batch's parts are looked for: as people, some in the boxes that the network finds."""
    return torch.where((batch["own"][:, None] | batch["rough"].isnan().any(2))[..., None], found, batch["rough"])


def augmented(
    settings: recipe.EndToEnd,
    space: LabelSpace,
    clips: np.ndarray,
    key_frames: list[KeyFrame],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Training samples of some clips of a video, each augmented by itself with what is in it.

    Args:
        settings: The recipe's entry.
        space: The labels.
        clips: `(K, T, H, W, 3)` uint8.
        key_frames: What is in each.
        rng: Where all draws come from.

    Returns:
        `clip` `(T, H, W, 3)` uint8, its `key_frame`, and of its people: whether they are learned in the network's `own`
        boxes, or else in which (`people`, `rough`).
    """
    samples = []
    for clip, key_frame in zip(clips, key_frames, strict=True):
        clip, key_frame = moved(settings, space, clip, key_frame, rng)
        own = rng.random(len(key_frame.boxes)) < settings.own_boxes
        people, rough = (jittered(boxes, settings.box_jitter, rng) for boxes in (key_frame.boxes, key_frame.parts))
        samples.append({"clip": clip, "key_frame": key_frame, "own": own, "people": people, "rough": rough})
    return samples


def moved(
    settings: recipe.EndToEnd, space: LabelSpace, clip: np.ndarray, key_frame: KeyFrame, rng: np.random.Generator
) -> tuple[np.ndarray, KeyFrame]:
    """A clip and what is in it, moved alike; what is hardly left in the picture is not in it any more."""
    unmirrored = settings.augment.model_copy(update={"flip": 0.0})
    size = clip.shape[2], clip.shape[1]
    warp = draw_warp(*size, unmirrored, rng)
    clip = warp_and_tint(clip, warp, unmirrored, rng)
    boxes, left = warped(key_frame.boxes, warp, *size)
    parts, parts_left = warped(key_frame.parts.reshape(-1, 4), warp, *size)
    parts, gone = parts.reshape(key_frame.parts.shape), parts_left.reshape(key_frame.targets.shape) < VISIBLE
    parts[gone] = np.nan
    found = KeyFrame(boxes, parts, np.where(gone, UNLABELLED, key_frame.targets))
    found = KeyFrame(*(rows[left >= VISIBLE] for rows in found))
    if rng.random() < settings.augment.flip:
        return np.ascontiguousarray(clip[:, :, ::-1]), mirrored(found, space)
    return clip, found


def mirrored(key_frame: KeyFrame, space: LabelSpace) -> KeyFrame:
    """What is in the mirror image of a frame: left parts are right ones."""
    boxes, parts = (
        np.stack([1 - rows[..., 2], rows[..., 1], 1 - rows[..., 0], rows[..., 3]], -1)
        for rows in (key_frame.boxes, key_frame.parts[:, list(swapped(space.parts))])
    )
    return KeyFrame(boxes, parts, space.mirrored(key_frame.targets))


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch: clips `(B, T, H, W, 3)`, all that is in them as `joined` gives it, and the boxes it is learned in."""
    clips = torch.from_numpy(np.stack([sample["clip"] for sample in samples]))
    beside = {name: torch.from_numpy(np.concatenate([s[name] for s in samples])) for name in ("own", "people", "rough")}
    return {"clips": clips} | joined([sample["key_frame"] for sample in samples]) | beside


def correctness_on(
    videos: Sequence[KeyFrameVideo], settings: recipe.EndToEnd, space: LabelSpace, draw: Draw[KeyFrameVideo]
) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a network on held-out videos: the share of labelled parts that are found and get the right state."""
    again = held_out_clips(videos, draw, settings)

    def evaluate(network: nn.Module) -> dict[str, float]:
        device, right, labelled = next(network.parameters()).device, 0, 0
        for clips, key_frames in again():
            found = find(network, torch.from_numpy(clips).to(device), settings, space)
            for clip, key_frame in enumerate(key_frames):
                right += right_parts(found.some(found.clip_of == clip), key_frame, space)
                labelled += int((key_frame.targets >= 0).sum())
        return {FIGURE: right / max(1, labelled)}

    return evaluate


def right_parts(found: Findings, key_frame: KeyFrame, space: LabelSpace) -> int:
    """How many of a frame's labelled parts are found, with the person that they are of, and get the right state."""
    if not len(found.people) or not len(key_frame.boxes):
        return 0
    overlap = iou(*(boxes * SHARES for boxes in (key_frame.boxes, found.people)))
    nearest = overlap.argmax(1)
    matched = overlap.max(1) > PERSON_IOU
    there = paired_iou(key_frame.parts * SHARES, found.parts[nearest] * SHARES) >= PART_IOU
    same = space.best(found.states)[nearest] == key_frame.targets
    return int((matched[:, None] & there & same & (key_frame.targets >= 0)).sum())
