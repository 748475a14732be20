"""A scene where only the context tells the state is learned with it, and not by a head that sees the person alone."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.methods import build
from tps_pipeline.reading import InMemory

pytestmark = pytest.mark.whole

SIZE, FRAMES, SIDE = 160, 4, 32
"""Pixels of the picture; what a place of the narrow network sees is some 107 of them wide, so a person in one corner is
described by nothing of the opposite one."""


def scenes(folder: Path, indices: range) -> InMemory:
    """Videos of one and the same person, who holds something if and only if the far corner is red, not blue."""
    folder.mkdir()
    videos, people, parts = [], [], []
    for index in indices:
        name, red, random = f"video_{index:03d}", index % 2 == 0, np.random.default_rng(index)
        picture = np.full((SIZE, SIZE, 3), 60, np.uint8)
        picture[:SIDE, :SIDE] = 200
        left, top = random.integers(SIZE - SIDE - 12, SIZE - SIDE, 2)
        picture[top : top + SIDE, left : left + SIDE] = (230, 20, 20) if red else (20, 20, 230)
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
            for _ in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        videos.append(
            {
                "video_id": name, "split": "train", "action": "hold", "path": f"{name}.mp4", "n_frames": FRAMES,
                "fps": 25.0, "width": SIZE, "height": SIZE, "rotation": 0, "sha256": "", "status": "ok", "error": None,
            }
        )  # fmt: skip
        key = {"video_id": name, "frame": 1, "person": 0, "x1": 0, "y1": 0, "x2": SIDE - 1, "y2": SIDE - 1}
        people.append(key)
        parts.append(key | {"part": "left_arm", "state": "hold" if red else "bend"})
    content = {
        outputs.VIDEOS: tables.conform(pd.DataFrame(videos), tables.VIDEOS),
        outputs.PEOPLE: tables.conform(pd.DataFrame(people), tables.PEOPLE),
        outputs.PARTS: tables.conform(pd.DataFrame(parts), tables.PARTS),
    }
    content[outputs.STATE_LABELS] = state_labels(content[outputs.PARTS])
    return InMemory(content, data=folder)


def test_what_only_the_context_tells_is_learned_with_it_and_not_from_the_person_alone(tmp_path: Path) -> None:
    train, val = scenes(tmp_path / "train", range(32)), scenes(tmp_path / "val", range(100, 120))
    accuracy = {}
    for relation in ("person_context_person", "person"):
        settings = recipe.InstanceLevel.model_validate(
            {
                "kind": "instance_level", "relation": relation, "person_width": 16, "relation_width": 16,
                "network": {"depths": [1, 1, 1, 1], "stem": 8, "beta": 0.25}, "frames": FRAMES, "image_size": SIZE,
                "loss": "softmax", "augment": {"flip": 0.0}, "cache_megabytes": 64,
                "training": {
                    "epochs": 8, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.002, "warmup": 0.2,
                },
            }
        )  # fmt: skip
        (tmp_path / relation).mkdir()
        accuracy[relation] = build(settings).fit(train, val, tmp_path / relation, seed=0)["part_accuracy"]
    assert accuracy["person_context_person"] > 0.9
    assert accuracy["person"] == pytest.approx(0.5, abs=0.15)
