"""A picture of what a detector trains on: the same images under each augmentation, with boxes and labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tps_pipeline.data.kinetics_tps import Annotations, read_all
from tps_pipeline.data.layout import find_videos
from tps_pipeline.detection.augment import Example
from tps_pipeline.detection.datasets import (
    DetectorImages,
    Flip,
    part_samples,
    part_state_samples,
    person_samples,
    single_stage_samples,
)
from tps_pipeline.detection.fitting import fitted
from tps_pipeline.drawing.contact_sheet import contact_sheet
from tps_pipeline.drawing.frame import DARK, LEFT, MIDDLE, PERSON, RIGHT
from tps_pipeline.errors import DataError, RecipeError
from tps_pipeline.recipe import BoxAugmentation, Detector, Recipe
from tps_pipeline.tables import distinct
from tps_pipeline.video.frames import FrameFile, extract

SampleKind = Literal["person", "part", "single_stage", "part_state"]
"""The training images that can be looked at."""

COLUMNS = 4
"""Images shown."""
SHOWN = BoxAugmentation(
    mosaic=1.0, mixup=1.0, rotation=20.0, translate=0.2, scale=0.5, shear=15.0, perspective=0.001,
    hue=0.3, saturation=0.7, value=0.4,
)  # fmt: skip
"""How far an augmentation goes at least, to be seen."""
AUGMENTATIONS = tuple(name for name in BoxAugmentation.model_fields if name != "flip")
"""What can be shown alone."""

_CELL = 480
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def preview(
    data: Path, settings: Recipe, *, detector: SampleKind, augmentations: Sequence[str] = (), seed: int = 0
) -> NDArray[np.uint8]:
    """Draw a contact sheet, one row an augmentation and one column an image.

    The first row shows the images as they are, the second mirrored; then comes each augmentation alone, at least as
    strong as `SHOWN`, and last all of them as the recipe has them. Of some videos' frames those images are shown that
    have the most boxes. Left parts are orange, right parts
    blue, other parts purple, people white.

    Args:
        data: A Kinetics-TPS folder.
        settings: The recipe.
        detector: Whose data set to show.
        augmentations: Which of `AUGMENTATIONS` to show; by default those that the recipe has.
        seed: Of the choice of frames and of everything random.

    Returns:
        RGB, (H, W, 3).

    Raises:
        DataError: No labelled training video can be read.
        RecipeError: The recipe has no such detector.
    """
    used, margin = _detector(settings, detector)
    shown = augmentations or [name for name in AUGMENTATIONS if getattr(used.augment, name)]
    annotations = read_all(data)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        frames = FrameFile(_extract(data, annotations, Path(folder) / "frames.arrow", rng))
        samples = _samples(detector, annotations, frames.index, margin=margin, flip=used.augment.flip)
        labels = distinct(samples["label"].drop_null())

        def images(only_plain: bool, augmentation: BoxAugmentation) -> DetectorImages:
            rows = samples.filter(~pc.field("flipped")) if only_plain else samples
            size = fitted(used, samples)[0].pixels
            return DetectorImages(rows, [frames], labels, size=size, augmentation=augmentation)

        every = images(False, used.augment)
        fullest_first = sorted(range(len(every)), key=lambda i: -len(every.example(i).labels))
        columns = fullest_first[:COLUMNS]
        rows = [("as it is", [every.example(i) for i in columns])]
        if used.augment.flip != "none":
            rows.append((f"flip ({used.augment.flip})", [every.example(i, mirrored=True) for i in columns]))
        for name in shown:
            caption, augmentation = _alone(used.augment, name)
            alone = images(True, augmentation)
            rows.append((caption, [alone.sample(i, np.random.default_rng((seed, i))) for i in columns]))
        rows.append(("all, as in the recipe", [every.sample(i, np.random.default_rng((seed, i))) for i in columns]))
        pictures = [draw(example, labels) for _, examples in rows for example in examples]
    captions = [caption for caption, examples in rows for _ in examples]
    return contact_sheet(pictures, captions, columns=len(columns), width=_CELL)


def draw(example: Example, labels: Sequence[str]) -> NDArray[np.uint8]:
    """A square picture of an image with its boxes in the colours of their sides, and their labels."""
    scale = _CELL / max(example.image.shape[:2])
    canvas = np.asarray(cv2.resize(example.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    boxes = np.rint(example.boxes * scale).astype(int).tolist()
    names = [labels[int(label)] for label in example.labels]
    for (x1, y1, x2, y2), name in zip(boxes, names, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), _color(name), 2)
    for (x1, y1, _, _), name in zip(boxes, names, strict=True):
        (width, height), below = cv2.getTextSize(name, _FONT, 0.35, 1)
        x = int(np.clip(x1, 0, max(0, canvas.shape[1] - width)))
        y = max(y1, height + below)
        cv2.rectangle(canvas, (x, y - height - below), (x + width, y), DARK, -1)
        cv2.putText(canvas, name, (x, y - below + 1), _FONT, 0.35, _color(name), 1, cv2.LINE_AA)
    top, left = (_CELL - canvas.shape[0]) // 2, (_CELL - canvas.shape[1]) // 2
    square = np.full((_CELL, _CELL, 3), DARK, np.uint8)
    square[top : top + canvas.shape[0], left : left + canvas.shape[1]] = canvas
    return square


def _color(label: str) -> tuple[int, int, int]:
    sides = {"left": LEFT, "right": RIGHT, "person": PERSON}
    return sides.get(label.partition("_")[0], MIDDLE)


def _alone(used: BoxAugmentation, name: str) -> tuple[str, BoxAugmentation]:
    """One augmentation without the others, strong enough to be seen, and what is written below it."""
    strength, asked = max(getattr(used, name), getattr(SHOWN, name)), getattr(used, name)
    return f"{name} {strength:g} (recipe: {asked:g})", BoxAugmentation.model_validate({name: strength})


def _detector(settings: Recipe, kind: SampleKind) -> tuple[Detector, float]:
    """The recipe's detector of a kind, and the margin of its crops if it looks at crops."""
    if kind == "part_state":
        for method in settings.part_state_detectors.values():
            return method.detector, method.crop_margin
        raise RecipeError("the recipe has no method of the kind part_state_detector")
    detector = getattr(settings, f"{kind}_detector")
    if detector is None:
        raise RecipeError(f"the recipe has no {kind}_detector")
    return detector, settings.two_stage.crop_margin


def _extract(data: Path, annotations: Annotations, out: Path, rng: np.random.Generator) -> Path:
    """One labelled frame of each of some training videos."""
    labelled = annotations.labelled_frames.to_pandas().astype({"video_id": str})
    labelled = labelled[labelled.n_people > 0].groupby("video_id").frame.agg(list)
    videos = [v for v in find_videos(data)[0] if v.folder == "train" and v.video_id in labelled.index]
    if not videos:
        raise DataError(f"{data}: has no labelled training video; `tps data validate {data}` says more")
    chosen = [videos[i] for i in rng.permutation(len(videos))[: 4 * COLUMNS]]
    wanted = [(v.video_id, data / v.path, [int(rng.choice(labelled[v.video_id]))]) for v in chosen]
    extract(wanted, out)
    if not len(FrameFile(out)):
        raise DataError(f"{data}: none of {len(wanted)} videos can be read")
    return out


def _samples(kind: SampleKind, annotations: Annotations, frames: pa.Table, *, margin: float, flip: Flip) -> pa.Table:
    labelled, people, parts = annotations.labelled_frames, annotations.people, annotations.parts
    match kind:
        case "person":
            return person_samples(labelled, people, frames, flip=flip)
        case "single_stage":
            return single_stage_samples(labelled, people, parts, frames, flip=flip)
        case "part":
            return part_samples(people, parts, frames, margin=margin, flip=flip)
        case "part_state":
            return part_state_samples(people, parts, frames, margin=margin, flip=flip)
