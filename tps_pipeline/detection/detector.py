"""A trained detector: a checkpoint that says what it is, and the network made ready for pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.export import Dim

from tps_pipeline import recipe
from tps_pipeline.detection.augment import Letterbox, letterbox
from tps_pipeline.device import choose_device
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PERSON
from tps_pipeline.models import onnx
from tps_pipeline.models.conversion import OURS
from tps_pipeline.models.described import built_as_described, description_of
from tps_pipeline.models.heat_maps import HeatMaps
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.models.yolov7 import YOLOv7
from tps_pipeline.models.yolov7_layers import STRIDES

COCO_CLASSES, COCO_SIZE = 80, 640
"""What published YOLOv7 weights know, `person` first (cocodataset.org), and the pixels that they were trained at."""

BATCH = 32
"""Pictures that go through a network at once."""


Reduce = Callable[[Tensor, Tensor], Iterable[tuple[Tensor, ...]]]
"""Of all boxes in a batch (B, N, 4) and their score for every class (B, N, C), what is wanted of each picture: some
boxes (n, 4), then anything else about them."""


class Batch(NamedTuple):
    """Pictures of one shape, as a network takes them.

    Attributes:
        rows: Which of the pictures that were prepared these are.
        images: RGB, (B, h, w, 3), uint8.
        places: How each picture lies in its image.
    """

    rows: list[int]
    images: NDArray[np.uint8]
    places: list[Letterbox]


@dataclass(frozen=True)
class TrainedDetector:
    """A network ready for pictures.

    Attributes:
        network: Fused, in evaluation mode.
        labels: Class names in the network's order.
        size: Longer side of the network's input in pixels.
        canvas: See `recipe.DetectorInference`.
        precision: See `recipe.DetectorInference`.
        only: The one class of the network's that is looked at, where it knows others beside; None for all.
    """

    network: nn.Module
    labels: tuple[str, ...]
    size: int
    canvas: Literal["square", "rectangle"] = "square"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    only: int | None = None

    def prepare(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Batch]:
        """Letterbox pictures, and batch those of one shape.

        Args:
            pictures: RGB, (H, W, 3) each, of any sizes.
        """
        grid = STRIDES[-1] if self.canvas == "rectangle" else None
        of_shape: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8], Letterbox]]] = {}
        for row, picture in enumerate(pictures):
            image, place = letterbox(picture, self.size, grid=grid)
            of_shape.setdefault(image.shape, []).append((row, image, place))
        batches = (
            zip(*each[i : i + BATCH], strict=True) for each in of_shape.values() for i in range(0, len(each), BATCH)
        )
        return [Batch([*rows], np.stack(images), [*places]) for rows, images, places in batches]

    @torch.inference_mode()
    def __call__(self, batches: Sequence[Batch], reduce: Reduce = zip) -> list[tuple[NDArray[Any], ...]]:
        """Look at pictures.

        Args:
            batches: The pictures, from `prepare`.
            reduce: What is wanted of them; by default all boxes with their scores, nothing suppressed.

        Returns:
            For each picture, in the order in which they were prepared, what `reduce` gives. Boxes are in the
            picture's continuous pixels and may reach beyond it.
        """
        device = next(self.network.parameters()).device
        found: list[tuple[NDArray[Any], ...]] = [()] * sum(len(batch.rows) for batch in batches)
        for batch in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
                decoded, *_ = self.network(as_input(batch.images).to(device))
            found_boxes, scores = boxes_and_scores(decoded)
            reduced = reduce(found_boxes, scores if self.only is None else scores[..., self.only, None])
            for row, place, (boxes, *others) in zip(batch.rows, batch.places, reduced, strict=True):
                found[row] = (place.undo(boxes.cpu().numpy()), *(values.cpu().numpy() for values in others))
        return found


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


def build(
    settings: recipe.Yolov7 | recipe.HeatMaps, *, classes: int, anchors: ArrayLike | None = None
) -> YOLOv7 | HeatMaps:
    """The network of a recipe, with random weights, channels last in memory (a fifth faster on CPUs)."""
    kind = HeatMaps if isinstance(settings, recipe.HeatMaps) else YOLOv7
    network = kind(settings.variant, classes=classes, width=settings.width, depth=settings.depth, anchors=anchors)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def save(path: Path, state_dict: Mapping[str, Tensor], settings: recipe.Detector, labels: Sequence[str]) -> None:
    """Write a checkpoint that `load` needs nothing beside: weights and anchors, labels, settings."""
    about = {"labels": json.dumps(list(labels)), "settings": settings.model_dump_json(exclude={"inference"})}
    save_checkpoint(path, state_dict, metadata=about)


def exported_with() -> tuple[Tensor, dict[int, Any]]:
    """Pictures to export a detector with, and which dimensions may have another size: any that its strides divide."""
    last = STRIDES[-1]
    return torch.zeros(2, 3, 2 * last, 3 * last), {0: Dim("batch"), 2: last * Dim("rows"), 3: last * Dim("columns")}


@kept
def load(
    path: Path, *, inference: recipe.DetectorInference | None = None, device: str | None = None
) -> TrainedDetector:
    """Read a detector that `save` wrote.

    Args:
        path: The checkpoint.
        inference: How it looks at pictures; it does not say so itself. The recipe's defaults without.
        device: Where it will run; by default a GPU if there is one.

    Raises:
        WeightsError: The file is missing or damaged, or is no detector of ours.
    """
    tensors, described = load_checkpoint(path)
    return _ready(path, tensors, described, inference=inference, device=device)


@kept
def used(
    path: Path,
    *,
    size: int | None = None,
    inference: recipe.DetectorInference | None = None,
    device: str | None = None,
) -> TrainedDetector:
    """Make imported weights a detector of people, without any training.

    Args:
        path: Of a YOLOv7 that knows COCO's classes, or of a person detector of ours (`tps weights import`).
        size: See `recipe.UsedDetector.image_size`.
        inference: See `load`.
        device: See `load`.

    Raises:
        WeightsError: The file is missing or damaged, or is no detector of people.
    """
    tensors, described = load_checkpoint(path)
    if described.get("kind") == OURS:
        about = {"labels": described["labels"], "settings": described["detector"]}
        detector = _ready(path, tensors, about, inference=inference, device=device)
        if PERSON not in detector.labels:
            raise WeightsError(f"{path}: detects {', '.join(detector.labels)}; needed is a detector of people")
        only = None if len(detector.labels) == 1 else detector.labels.index(PERSON)
        return replace(detector, labels=(PERSON,), size=size or detector.size, only=only)
    if described.get("classes") != str(COCO_CLASSES) or "variant" not in described.get("settings", ""):
        kind = described.get("kind", "unknown")
        raise WeightsError(
            f"{path}: weights of the kind {kind} are no detector that knows COCO's {COCO_CLASSES} classes; name "
            "imported weights of yolov7_tiny or yolov7x as published, or a person detector of ours"
        )
    with description_of(path):
        settings = recipe.Yolov7.model_validate_json(described["settings"])
    network = built_as_described(path, lambda: build(settings, classes=COCO_CLASSES), tensors)
    return _in_use(network, (PERSON,), size or COCO_SIZE, inference, device, only=0)


def _ready(
    path: Path,
    tensors: Mapping[str, Tensor],
    described: Mapping[str, str],
    *,
    inference: recipe.DetectorInference | None,
    device: str | None,
) -> TrainedDetector:
    """The detector of a checkpoint's tensors and strings."""
    with description_of(path):
        settings = recipe.Detector.model_validate_json(described["settings"])
        labels = tuple(json.loads(described["labels"]))
    network = built_as_described(path, lambda: build(settings.network, classes=len(labels)), tensors)
    return _in_use(network, labels, settings.pixels, inference, device)


def _in_use(
    network: YOLOv7 | HeatMaps,
    labels: tuple[str, ...],
    size: int,
    inference: recipe.DetectorInference | None,
    device: str | None,
    *,
    only: int | None = None,
) -> TrainedDetector:
    """A network with its weights where it will run, by whatever runs it."""
    network.fuse().requires_grad_(False).to(choose_device(device))
    how = inference or recipe.DetectorInference()
    example, dynamic = exported_with()
    run = onnx.as_asked(network, example, dynamic=dynamic)
    return TrainedDetector(run, labels, size, how.canvas, how.precision, only=only)
