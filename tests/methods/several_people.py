"""Small labelled videos of several people: squares that rise or fall, each with a white edge on one side."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import outputs, tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.labels import PARTS
from tps_pipeline.reading import InMemory

SIZE, FRAMES, SIDE = 64, 12, 20
LEFT = (0, 22, 44)
"""Where the squares are, from left to right."""


class Square(NamedTuple):
    """Someone in a video."""

    place: int
    up: bool
    bright: bool
    left: bool

    def box(self, frame: int) -> tuple[int, int, int, int]:
        top = (32 - 2 * frame) if self.up else (10 + 2 * frame)
        return LEFT[self.place], top, LEFT[self.place] + SIDE - 1, top + SIDE - 1

    def part_box(self, part: str, frame: int) -> tuple[int, int, int, int]:
        """The head is the upper half, the hip the lower one, each arm a side."""
        x1, y1, x2, y2 = self.box(frame)
        half = SIDE // 2
        cut = {"head": (0, 0, 0, -half), "hip": (0, half, 0, 0), "left_arm": (0, 0, -half, 0)}
        left, upper, right, lower = cut.get(part, (half, 0, 0, 0))
        return x1 + left, y1 + upper, x2 + right, y2 + lower

    def states(self) -> dict[str, str]:
        """The hip tells the motion, the head the colour, the arms the edge."""
        arms = {"left_arm": "none", "right_arm": "none"} | {"left_arm" if self.left else "right_arm": "raise"}
        return {"hip": "up" if self.up else "down", "head": "bright" if self.bright else "dark"} | arms


def people(index: int) -> list[Square]:
    """The one to three people of a video."""
    random = np.random.default_rng(index)
    places = random.permutation(3)[: random.integers(1, 4)]
    return [Square(int(place), *map(bool, random.integers(0, 2, 3))) for place in places]


def write_video(path: Path, squares: list[Square]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for frame in range(FRAMES):
            picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
            for square in squares:
                x1, y1, x2, y2 = square.box(frame)
                body = picture[y1 : y2 + 1, x1 : x2 + 1]
                body[:] = (200, 120, 20) if square.bright else (20, 60, 140)
                body[:, slice(0, 6) if square.left else slice(-6, None)] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def make(folder: Path, indices: range) -> InMemory:
    """Videos with annotations of every second frame; in frames 1, 6, ... everyone is detected, and a faint ghost."""
    folder.mkdir(parents=True, exist_ok=True)
    videos, labelled, annotated, parts, detections, tracks = [], [], [], [], [], []
    for index in indices:
        name, squares = f"video_{index:03d}", people(index)
        write_video(folder / f"{name}.mp4", squares)
        videos.append(
            {
                "video_id": name, "split": "train", "action": "move", "path": f"{name}.mp4", "n_frames": FRAMES,
                "fps": 25.0, "width": SIZE, "height": SIZE, "rotation": 0, "sha256": "", "status": "ok", "error": None,
            }
        )  # fmt: skip
        for frame in range(0, FRAMES, 2):
            labelled.append({"video_id": name, "frame": frame + 1, "n_people": len(squares)})
            for person, square in enumerate(squares):
                key = {"video_id": name, "frame": frame + 1, "person": person}
                key |= dict(zip(tables.BOX, square.box(frame), strict=True))
                annotated.append(key)
                for part, state in square.states().items():
                    box = dict(zip(tables.BOX, square.part_box(part, frame), strict=True))
                    parts.append(key | box | {"part": part, "state": state})
        for frame in range(0, FRAMES, 5):
            found = [(square.box(frame), 0.9) for square in squares] + [((0, 0, 9, 9), 0.05)]
            for person, (box, score) in enumerate(found):
                key = {"video_id": name, "frame": frame + 1, "person": person, "person_score": score, "part_score": 0.5}
                boxes = [*zip(tables.PERSON_BOX, box, strict=True), *zip(tables.BOX, box, strict=True)]
                detections += [key | dict(boxes) | {"part": part} for part in PARTS]
                tracks.append(key | {"track_id": person})
    content = {
        outputs.VIDEOS: tables.conform(pd.DataFrame(videos), tables.VIDEOS),
        outputs.LABELLED_FRAMES: tables.conform(pd.DataFrame(labelled), tables.LABELLED_FRAMES),
        outputs.PEOPLE: tables.conform(pd.DataFrame(annotated), tables.PEOPLE),
        outputs.PARTS: tables.conform(pd.DataFrame(parts), tables.PARTS),
        outputs.TRACKS: tables.conform(pd.DataFrame(tracks), tables.TRACKS),
        outputs.DETECTIONS: tables.conform(pd.DataFrame(detections), tables.DETECTIONS),
    }
    content[outputs.STATE_LABELS] = state_labels(content[outputs.PARTS])
    return InMemory(content, data=folder)


def accuracy(predicted: pa.Table, part: str) -> float:
    """The share of people a part of whom gets the state that it has."""
    rows = [row for row in predicted.select([*tables.KEYS, "state"]).to_pylist() if row["part"] == part]
    right = [row["state"] == people(int(row["video_id"][-3:]))[row["person"]].states()[part] for row in rows]
    return float(np.mean(right))
