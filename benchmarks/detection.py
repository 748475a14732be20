"""Two-stage detection, from extracted frames to rows: ours against the loop one would write first, in the same run.

    python benchmarks/detection.py [--networks demo paper] [--rounds 3] [--frames N]

Frames of generated video with groups of people are extracted; the networks are those of a recipe's two detectors, with
random weights. The person threshold lets through as many candidates as a trained network does at 0.01, and three people
a frame are kept. The ways:

- `loop`: frame by frame and person by person, with the network as it is trained, layer by layer in float32;
- `loop_fused`: the same loop with our network as we infer with it, so that only the order of work differs;
- `ours`: `two_stage.find` in float32 on squares: the same boxes (checked);
- `ours_rectangle`: the same without the grey that a picture's shape does not need;
- `ours_paper`: that in bfloat16, as the paper recipe has it;
- `ultralytics`: the loop with its YOLOv8l, which costs about as much as YOLOv7-X, on frames and on thirds of them: an
  outside yardstick, only if it is installed (AGPL-3.0, nothing of ours needs it), and only for the paper's networks.

The ways take turns. Prints one JSON line a recipe: median frames a second, and how many times faster each way is than
`loop`, as the median over rounds.
"""

import argparse
import importlib.util
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torchvision.ops import nms

from tps_pipeline import recipe, tables
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.data.layout import find_videos
from tps_pipeline.data.synthetic import generate
from tps_pipeline.detection.augment import letterbox
from tps_pipeline.detection.datasets import crops
from tps_pipeline.detection.detector import TrainedDetector, as_input, boxes_and_scores, build
from tps_pipeline.detection.two_stage import find, inside, to_pixels
from tps_pipeline.labels import PARTS, PERSON
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile, extract

PEOPLE = 3
CANDIDATES = 60
"""Boxes of a frame over the person threshold; about what the demo's trained detector finds."""
ALIKE = 0.75
"""Share of corners that have to be the same: sums in another order let another of two nearly equal random boxes win."""
SIZES = {"demo": (320, 240, 96), "paper": (640, 360, 4)}
"""Width and height of the frames, and how many, for each recipe's networks."""


def make_frames(folder: Path, width: int, height: int, count: int) -> FrameFile:
    """Extracted frames of groups of dancing people."""
    videos = 1 + count // 12
    generate(folder / "data", videos=videos, seed=0, classes=["salsa_dancing"], width=width, height=height, frames=60)
    found = find_videos(folder / "data")[0]
    wanted = [(v.video_id, folder / "data" / v.path, [1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 51, 56]) for v in found]
    extract(
        [(video, path, frames[: max(1, count // videos)]) for video, path, frames in wanted], folder / "frames.arrow"
    )
    return FrameFile(folder / "frames.arrow")


def random_network(settings: recipe.Detector, classes: int, frames: FrameFile) -> nn.Module:
    """A network that has never learned, its norms fitted to the frames: its outputs differ from place to place."""
    torch.manual_seed(0)
    network = build(settings.network, classes=classes).to(memory_format=torch.contiguous_format)  # pyright: ignore
    squares = [letterbox(frames.frame(*key), settings.pixels)[0] for key in frames.keys()[:4]]
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # a plain mean over what it sees
    with torch.no_grad():
        network.train()(as_input(np.stack(squares)))
    return network.eval()


def fused(network: nn.Module, labels: tuple[str, ...], settings: recipe.Detector) -> TrainedDetector:
    copy = build(settings.network, classes=len(labels))
    copy.load_state_dict(network.state_dict())
    return TrainedDetector(copy.fuse().requires_grad_(False), labels, settings.pixels)


def person_threshold(frames: FrameFile, detector: TrainedDetector) -> float:
    """The score that `CANDIDATES` boxes of a frame reach on average."""
    pictures = [frames.frame(*key) for key in frames.keys()[:8]]
    scores = np.stack([scores[:, 0] for _, scores in detector(detector.prepare(pictures))])
    return float(np.sort(scores.ravel())[-CANDIDATES * len(pictures)])


@torch.inference_mode()
def loop(
    frames: FrameFile, person: nn.Module, part: nn.Module, sizes: tuple[int, int], settings: recipe.TwoStage
) -> pa.Table:
    """Frame by frame, person by person."""

    def look(network: nn.Module, picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        square, place = letterbox(picture, size)
        decoded, _ = network(as_input(square[None]).contiguous())
        boxes, scores = boxes_and_scores(decoded[0])
        return place.undo(boxes.numpy()), scores.numpy()

    rows: list[tuple[Any, ...]] = []
    for video, frame in frames.keys():  # noqa: SIM118
        picture = frames.frame(video, frame)
        size = (picture.shape[1], picture.shape[0])
        boxes, scores = look(person, picture, sizes[0])
        likely = scores[:, 0] >= settings.person_threshold
        boxes, scores = boxes[likely], scores[likely, 0]
        kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), settings.person_iou).numpy()
        kept = kept[inside(boxes[kept], size)][: settings.people_per_frame]
        people = to_pixels(boxes[kept], size)
        for number, (box, score) in enumerate(zip(people, scores[kept], strict=True)):
            x1, y1, x2, y2 = crops(box[None], np.array(size), margin=settings.crop_margin)[0]
            found, likelihood = look(part, picture[y1 : y2 + 1, x1 : x2 + 1], sizes[1])
            best = likelihood.argmax(0)
            corners = to_pixels(found[best] + np.array((x1, y1, x1, y1), np.float32), size)
            for name, corner, part_score in zip(PARTS, corners, likelihood.max(0), strict=True):
                rows.append((video, frame, number, score, *box, name, score * part_score, *corner))
    columns = ["video_id", "frame", "person", "person_score", *PERSON_BOX, "part", "part_score", *BOX]
    return tables.conform(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), tables.DETECTIONS)


def yardstick(frames: FrameFile, size: int) -> Callable[[], int]:
    """YOLOv8l on every frame and on three crops of it."""
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    network = YOLO("yolov8l.yaml")

    def run() -> int:
        for key in frames.keys():  # noqa: SIM118
            picture = frames.frame(*key)
            width = picture.shape[1]
            thirds = [picture[:, i * width // 3 : (i + 1) * width // 3] for i in range(PEOPLE)]
            for each in (picture, *thirds):
                network.predict(np.ascontiguousarray(each), imgsz=size, verbose=False)
        return len(frames)

    return run


def measure(name: str, rounds: int, count: int | None) -> dict[str, Any]:
    settings = recipe.load(name)
    width, height, usual = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        frames = make_frames(Path(folder), width, height, count or usual)
        detectors = settings.trained_detectors
        labels = ((PERSON,), PARTS)
        plain = [random_network(d, len(names), frames) for d, names in zip(detectors, labels, strict=True)]
        ours = [fused(network, names, d) for network, d, names in zip(plain, detectors, labels, strict=True)]
        narrow = [replace(d, canvas="rectangle") for d in ours]
        fast = [replace(d, precision="bf16-mixed") for d in narrow]
        sizes = (detectors[0].pixels, detectors[1].pixels)
        two_stage = recipe.TwoStage(
            person_threshold=person_threshold(frames, ours[0]), person_iou=settings.two_stage.person_iou,
            people_per_frame=PEOPLE,
        )  # fmt: skip
        ways: dict[str, Callable[[], Any]] = {
            "loop": lambda: loop(frames, plain[0], plain[1], sizes, two_stage),
            "loop_fused": lambda: loop(frames, ours[0].network, ours[1].network, sizes, two_stage),
            "ours": lambda: find(frames, ours[0], ours[1], settings=two_stage),
            "ours_rectangle": lambda: find(frames, narrow[0], narrow[1], settings=two_stage),
            "ours_paper": lambda: find(frames, fast[0], fast[1], settings=two_stage),
        }
        if name == "paper" and importlib.util.find_spec("ultralytics"):
            ways["ultralytics"] = yardstick(frames, sizes[0])
            prepare_cpu()  # it sets the number of threads
        one, other = ways["loop"](), ways["ours"]()
        same = np.mean(one.select([*BOX]).to_pandas().to_numpy() == other.select([*BOX]).to_pandas().to_numpy())
        if len(one) != len(other) or same < ALIKE:
            raise RuntimeError(f"{name}: the loop and ours find other boxes ({same:.4f} alike)")
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in random.sample(list(ways), len(ways)):
                began = time.perf_counter()
                ways[way]()
                seconds[way].append(time.perf_counter() - began)
    return {
        "networks": name,
        "frames": len(frames),
        "people": len(one) // len(PARTS),
        "threads": torch.get_num_threads(),
        "frames_per_s": {way: round(len(frames) / statistics.median(s), 2) for way, s in seconds.items()},
        "ratio": {
            way: round(statistics.median(a / b for a, b in zip(seconds["loop"], s, strict=True)), 2)
            for way, s in seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int)
    given = parser.parse_args()
    prepare_cpu()
    for name in given.networks:
        print(json.dumps(measure(name, given.rounds, given.frames)), flush=True)


if __name__ == "__main__":
    main()
