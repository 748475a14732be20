"""Pictures of grey people with parts of ten colours, a network that knows them by colour, and settings to train one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from tps_pipeline import recipe, tables
from tps_pipeline.detection.detector import TrainedDetector
from tps_pipeline.labels import PARTS

WIDTH, HEIGHT = 128, 96
GROUND = (0, 90, 0)
BODY = (200, 200, 200)
COLORS = [(250, 0, 25 * i) for i in range(10)]


class FindColors(nn.Module):
    """A network that knows its objects by their colours: a class's box is around its colour, two faint ones are not."""

    def __init__(self, colors: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.colors = nn.Parameter(torch.tensor(colors) / 255, requires_grad=False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        one_hot = torch.eye(len(self.colors))
        rows = []
        for image in images:
            for color, label in zip(self.colors, one_hot, strict=True):
                mask = (image - color[:, None, None]).abs().amax(0) < 0.045
                y, x = mask.nonzero(as_tuple=True)
                box = torch.tensor([3.0, 3, 5, 5])
                if len(x):
                    low, high = torch.stack((x.min(), y.min())), torch.stack((x.max(), y.max())) + 1
                    box = torch.cat(((low + high) / 2, high - low))
                rows.append(torch.cat((box, torch.tensor([0.8 if len(x) else 0.004]), label * 0.5)))
                rows.append(torch.cat((torch.tensor([-900.0, 9, 8, 8, 0.02]), label)))
        return torch.stack(rows).unflatten(0, (len(images), -1)), None


def network(colors: list[tuple[int, int, int]], labels: tuple[str, ...]) -> TrainedDetector:
    return TrainedDetector(FindColors(colors), labels, 128)  # type: ignore[arg-type]


def scene(left: int) -> tuple[np.ndarray, dict[str, tuple[int, int, int, int]]]:
    """A grey body with ten coloured parts, and where they are (inclusive corners)."""
    picture = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    picture[10:80, left : left + 50] = BODY
    boxes = {}
    for i, part in enumerate(PARTS):
        x, y = left + 5 + 22 * (i % 2), 13 + 13 * (i // 2)
        picture[y : y + 9, x : x + 15] = COLORS[i]
        boxes[part] = (x, y, x + 14, y + 8)
    return picture, boxes


def write_frames(path: Path, rows: list[tuple[str, int, bytes]]) -> Path:
    video, frame, jpeg = zip(*rows, strict=True)
    columns = {"video_id": video, "frame": frame, "width": [WIDTH] * len(rows), "height": [HEIGHT] * len(rows)}
    table = tables.conform(columns | {"jpeg": jpeg}, tables.FRAMES)
    with pa.ipc.new_file(str(path), tables.FRAMES) as file:
        for name in sorted(set(video)):
            file.write_table(table.filter(pc.equal(table["video_id"].cast(pa.string()), name)))
    return path


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()


def detector_settings(size: int, epochs: int = 1) -> recipe.Detector:
    return recipe.Detector(
        network=recipe.Yolov7(variant="tiny", width=0.125, anchors="kmeans"),
        image_size=size,
        training=recipe.Training(
            epochs=epochs, batch_size=4, optimizer="adamw", learning_rate=0.01, ema=0.9, weight_decay=0.01
        ),
        gains=recipe.DetectionGains(objectness=40.0, classification=2.0),
    )
