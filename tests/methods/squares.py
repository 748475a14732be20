"""Small labelled videos: a square with a white edge on one side rises and falls."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import outputs, tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.labels import PARTS
from tps_pipeline.methods import Method
from tps_pipeline.reading import InMemory

SIZE, FRAMES = 48, 24


def write_video(path: Path, tops: np.ndarray, *, left: bool, color: tuple[int, int, int]) -> None:
    """A square whose upper edge is at `tops` in each frame, with a white edge on its left or its right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for top in tops:
            picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
            rows = slice(int(top), int(top) + 16)
            picture[rows, 16:32] = color
            picture[rows, slice(16, 22) if left else slice(26, 32)] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def states(index: int) -> list[dict[str, str]]:
    """The states of each frame of a video: its head tells the colour, its hip the motion, its arms the edge."""
    first, second = ("up", "down") if index // 4 % 2 else ("down", "up")
    turn = FRAMES // 3 if index % 3 else 2 * FRAMES // 3
    arm = "left_arm" if index % 2 else "right_arm"
    steady = {"head": "bright" if index // 2 % 2 else "dark", "left_arm": "none", "right_arm": "none"}
    return [steady | {arm: "raise", "hip": first if frame < turn else second} for frame in range(FRAMES)]


def make(folder: Path, indices: range) -> InMemory:
    """Videos with their annotations (every second frame), and detections of all parts in frames 1, 6, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    videos, parts, detections = [], [], []
    for index in indices:
        name, labels = f"video_{index:03d}", states(index)
        steps = np.array([-2 if row["hip"] == "up" else 2 for row in labels])
        tops = np.cumsum(steps) - steps[0]
        tops = tops - tops.min()
        bright = labels[0]["head"] == "bright"
        color = (200, 120, 20) if bright else (20, 60, 140)
        write_video(folder / f"{name}.mp4", tops, left=labels[0]["left_arm"] == "raise", color=color)
        videos.append(
            {
                "video_id": name, "split": "train", "action": "move", "path": f"{name}.mp4", "n_frames": FRAMES,
                "fps": 25.0, "width": SIZE, "height": SIZE, "rotation": 0, "sha256": "", "status": "ok", "error": None,
            }
        )  # fmt: skip
        box = dict.fromkeys(tables.BOX, 0)
        for frame in range(0, FRAMES, 2):
            key = {"video_id": name, "frame": frame + 1, "person": 0}
            parts += [key | box | {"part": part, "state": state} for part, state in labels[frame].items()]
        for frame in range(0, FRAMES, 5):
            for person in range(2):
                key = {"video_id": name, "frame": frame + 1, "person": person, "person_score": 0.5, "part_score": 0.5}
                detections += [key | box | dict.fromkeys(tables.PERSON_BOX, 0) | {"part": part} for part in PARTS]
    content = {
        outputs.VIDEOS: tables.conform(pd.DataFrame(videos), tables.VIDEOS),
        outputs.PARTS: tables.conform(pd.DataFrame(parts), tables.PARTS),
        outputs.DETECTIONS: tables.conform(pd.DataFrame(detections), tables.DETECTIONS),
    }
    content[outputs.STATE_LABELS] = state_labels(content[outputs.PARTS])
    return InMemory(content, data=folder)


def train(method: Method, folder: Path) -> tuple[Path, dict[str, float]]:
    """Train a method on 48 videos and measure it on 8 others: its checkpoint and its figures."""
    (folder / "checkpoint").mkdir()
    sources = make(folder / "train", range(48)), make(folder / "val", range(100, 108))
    return folder / "checkpoint", method.fit(*sources, folder / "checkpoint", seed=0)


def accuracy(predicted: pa.Table, part: str) -> float:
    """The share of detections of a part that have the state that their frame has."""
    rows = [row for row in predicted.select(["video_id", "frame", "part", "state"]).to_pylist() if row["part"] == part]
    true = [states(int(row["video_id"][-3:]))[row["frame"] - 1][part] for row in rows]
    return float(np.mean([row["state"] == state for row, state in zip(rows, true, strict=True)]))
