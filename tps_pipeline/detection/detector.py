"""A trained detector: a checkpoint that says what it is, and the network made ready for pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tps_pipeline import recipe
from tps_pipeline.detection.augment import letterbox
from tps_pipeline.errors import WeightsError
from tps_pipeline.models.weights import load_checkpoint, load_strictly, save_checkpoint
from tps_pipeline.models.yolov7 import YOLOv7


@dataclass(frozen=True)
class Detector:
    """A network ready for pictures.

    Attributes:
        network: Fused, in evaluation mode.
        labels: Class names in the network's order.
        size: Side of the network's square input in pixels.
    """

    network: YOLOv7
    labels: tuple[str, ...]
    size: int

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Look at pictures, letterboxed into one batch.

        Args:
            pictures: RGB, (H, W, 3) each, of any sizes.

        Returns:
            For each picture all boxes (N, 4) in its continuous pixels, which may reach beyond it, and their score for
            every class (N, C); nothing suppressed.
        """
        squares, places = zip(*(letterbox(picture, self.size) for picture in pictures), strict=True)
        device = next(self.network.parameters()).device
        decoded, _ = self.network(as_input(np.stack(squares)).to(device))
        boxes, scores = (found.cpu().numpy() for found in boxes_and_scores(decoded))
        return [(place.undo(b), s) for place, b, s in zip(places, boxes, scores, strict=True)]


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (B, H, W, 3), RGB, as the network takes them: (B, 3, H, W) in 0..1, channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def boxes_and_scores(decoded: Tensor) -> tuple[Tensor, Tensor]:
    """The network's decoded output as boxes and scores.

    Args:
        decoded: (..., 5 + C): centre, width and height, objectness, class probabilities.

    Returns:
        Boxes x1 y1 x2 y2 (..., 4), and objectness times class probability (..., C). With a single class the score is
        the objectness, as no class loss trains the other factor.
    """
    center, half = decoded[..., :2], decoded[..., 2:4] / 2
    objectness, classes = decoded[..., 4:5], decoded[..., 5:]
    scores = objectness if classes.shape[-1] == 1 else objectness * classes
    return torch.cat((center - half, center + half), -1), scores


def build(settings: recipe.Yolov7, *, classes: int, anchors: ArrayLike | None = None) -> YOLOv7:
    """The network of a recipe, with random weights, channels last in memory (a fifth faster on CPUs)."""
    network = YOLOv7(settings.variant, classes=classes, width=settings.width, depth=settings.depth, anchors=anchors)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def save(path: Path, state_dict: Mapping[str, Tensor], settings: recipe.Detector, labels: Sequence[str]) -> None:
    """Write a checkpoint that ``load`` needs nothing beside: weights and anchors, labels, settings."""
    described = {"labels": json.dumps(list(labels)), "settings": settings.model_dump_json()}
    save_checkpoint(path, state_dict, metadata=described)


def load(path: Path, *, device: str | None = None) -> Detector:
    """Read a detector that ``save`` wrote.

    Args:
        path: The checkpoint.
        device: Where it will run; by default a GPU if there is one.

    Raises:
        WeightsError: The file is missing or damaged, or is no detector of ours.
    """
    tensors, described = load_checkpoint(path)
    try:
        settings = recipe.Detector.model_validate_json(described["settings"])
        labels = tuple(json.loads(described["labels"]))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: does not say which detector it is ({error}); train it again") from error
    network = build(settings.network, classes=len(labels))
    load_strictly(network, tensors)
    network.fuse().requires_grad_(False).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Detector(network, labels, settings.image_size)
