"""Training a detector on its samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.detection import fitting
from tps_pipeline.detection.augment import Example
from tps_pipeline.detection.average_precision import precision_of_classes
from tps_pipeline.detection.datasets import DetectorImages
from tps_pipeline.detection.detector import as_input, boxes_and_scores, build, load, save
from tps_pipeline.detection.heat_map_loss import HeatMapLoss
from tps_pipeline.detection.loss import DetectionLoss
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.models.heat_maps import HeatMaps
from tps_pipeline.models.weights import load_checkpoint, load_into
from tps_pipeline.models.yolov7 import YOLOv7
from tps_pipeline.models.yolov7_layers import STRIDES
from tps_pipeline.training.budget import batch_size
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.training.loop import Task, fit, processes
from tps_pipeline.video.frames import FrameFile

EVALUATION_BATCH = 32
"""Images in a forward pass of the evaluation."""

EVALUATION_THRESHOLD, EVALUATION_IOU = 0.01, 0.65
"""Score and overlap at which the validation images' boxes are dropped (YOLOv7's test settings, threshold raised)."""


def train(
    settings: recipe.Detector,
    samples: pa.Table,
    frames: Sequence[FrameFile],
    labels: Sequence[str],
    *,
    val_samples: pa.Table,
    val_frames: Sequence[FrameFile],
    folder: Path,
    seed: int,
    weights: Path | None = None,
    accelerator: str = "auto",
) -> dict[str, float]:
    """Train a detector and write `model.safetensors` (for `detector.load`) and the training's logs.

    Args:
        settings: The recipe's section.
        samples: `tables.SAMPLES` to train on.
        frames: Where their frames are.
        labels: Class names in the network's order.
        val_samples: `tables.SAMPLES` to evaluate on; their mirrored halves are left out. May be empty.
        val_frames: Where their frames are.
        folder: Where everything is written; a training cut off goes on from what is there.
        seed: Of initial weights, data order and augmentation.
        weights: A checkpoint of the same network to start from; what does not fit starts afresh.
        accelerator: See `training.fit`.

    Returns:
        What `auto` has come to; of the epoch that was kept the losses, and `ap` and `ap50` on the validation images
        (means over the classes there).

    Raises:
        TpsError: There are no samples, or training diverged.
        WeightsError: Nothing in `weights` fits.
    """
    settings, came_to = fitting.fitted(settings, samples)
    size = settings.pixels
    images = DetectorImages(samples, frames, labels, size=size, augmentation=settings.augment)
    validation = DetectorImages(val_samples.filter(~pc.field("flipped")), val_frames, labels, size=size)
    torch.manual_seed(seed)
    anchors, fit_of_anchors = fitting.anchors(settings.network, images, seed=seed)
    network = build(settings.network, classes=len(labels), anchors=anchors)
    if weights is not None:
        load_into(network, load_checkpoint(weights)[0], keep=["head.anchors", "anchors"])
    criterion = _criterion(network, settings)
    each = batch_size(settings.training, len(images))
    together = settings.training.global_batch or each * processes()
    beside = {"batch_size": float(each)} if settings.training.batch_size == "auto" else {}

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, int]) -> tuple[Tensor, dict[str, Tensor]]:
        pictures, objects, most = batch
        total, parts = criterion.to(pictures.device)(model(pictures), objects, most)
        # YOLOv7's learning rate is for a sum over the accumulated batches, and processes, where the loop averages.
        return total * (together / len(pictures)), parts

    task = Task(
        network,
        images,
        loss=loss,
        collate=collate,
        evaluate=(lambda model: evaluate(model, validation, classes=len(labels))) if len(validation) else None,
        save=lambda model: save(folder / WEIGHTS, model.state_dict(), settings, labels),
        figure="ap",
    )
    metrics = fit(task, settings.training, folder=folder, seed=seed, accelerator=accelerator).metrics
    return {**came_to, **fit_of_anchors, **beside, **metrics}


def _criterion(network: YOLOv7 | HeatMaps, settings: recipe.Detector) -> DetectionLoss | HeatMapLoss:
    """What the network is trained with."""
    if isinstance(network, HeatMaps):
        return HeatMapLoss(network.anchors)
    head, gains = network.head, settings.gains.model_dump()
    return DetectionLoss(head.anchors, STRIDES, classes=head.classes, image_size=settings.pixels, **gains)


def validate(checkpoint: Path, samples: pa.Table, frames: Sequence[FrameFile]) -> dict[str, float]:
    """How good a trained detector is on other images than it was evaluated on then.

    Args:
        checkpoint: What `train` wrote.
        samples: `tables.SAMPLES`; their mirrored halves are left out.
        frames: Where their frames are.

    Returns:
        `ap` and `ap50`, means over the classes there.
    """
    trained = load(checkpoint)
    images = DetectorImages(samples.filter(~pc.field("flipped")), frames, trained.labels, size=trained.size)
    with torch.no_grad():
        return evaluate(trained.network, images, classes=len(trained.labels))


def collate(examples: Sequence[Example]) -> tuple[Tensor, Tensor, int]:
    """A batch of augmented images.

    Returns:
        Images (B, 3, S, S) in 0..1; objects (M, 6): image, class, centre x and y, width and height as shares of S; and
        how many the image has that has most.
    """
    objects = []
    for i, example in enumerate(examples):
        low, high = example.boxes[:, :2], example.boxes[:, 2:]
        shares = np.concatenate(((low + high) / 2, high - low), 1) / example.image.shape[0]
        objects.append(np.column_stack((np.full(len(shares), i), example.labels, shares)))
    pictures = np.stack([example.image for example in examples])
    most = max(len(example.boxes) for example in examples)
    return as_input(pictures), torch.from_numpy(np.concatenate(objects).astype(np.float32)), most


def evaluate(network: nn.Module, images: DetectorImages, *, classes: int) -> dict[str, float]:
    """Average precision on letterboxed, otherwise unchanged images: `ap` and `ap50`, means over classes."""
    device = next(network.parameters()).device
    found: list[dict[str, Tensor]] = []
    truth: list[dict[str, Tensor]] = []
    for start in range(0, len(images), EVALUATION_BATCH):
        indices = range(start, min(start + EVALUATION_BATCH, len(images)))
        batch = [images.sample(i, np.random.default_rng(0)) for i in indices]
        decoded, _ = network(collate(batch)[0].to(device))
        kept = suppress(*boxes_and_scores(decoded.cpu()), threshold=EVALUATION_THRESHOLD, iou=EVALUATION_IOU)
        found += [{"boxes": boxes, "scores": scores, "labels": labels} for boxes, scores, labels in kept]
        truth += [{"boxes": torch.from_numpy(e.boxes), "labels": torch.from_numpy(e.labels)} for e in batch]
    ap, ap50 = precision_of_classes(found, truth, classes=classes)
    return {"ap": float(np.nanmean(ap)), "ap50": float(np.nanmean(ap50))}
