"""Generated pictures that vary as real ones do, kept in files: what the shipped detectors learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline.data.synthetic.cast import ACTIONS
from tps_pipeline.data.synthetic.varied.video import frames_of, shoot
from tps_pipeline.tables import BOX
from tps_pipeline.video.frames import FrameFile, write_frames

SIZE, QUALITY = (352, 264), 88
"""Width and height of a picture of usual shape, quality of the JPEGs."""

_PERSON = ["video_id", "frame", "person"]


def pictures(folder: Path, number: int, *, takes: int, frames: int, seed: int) -> tuple[FrameFile, pa.Table, pa.Table]:
    """One file of pictures, drawn if it is not there yet.

    Args:
        folder: Where files are kept.
        number: Of the file; each has other pictures.
        takes: Videos in it.
        frames: Pictures of each video.
        seed: Of all pictures.

    Returns:
        The pictures, the people on them (columns of `tables.PEOPLE`), and their parts (columns of `tables.PARTS`).
    """
    name = f"pictures-{number:03d}"
    path = folder / f"{name}.arrow"
    beside = [folder / f"{name}.{what}.parquet" for what in ("people", "parts")]
    if not path.exists():
        drawn: dict[int, np.ndarray] = {}
        people: list[tuple[Any, ...]] = []
        parts: list[tuple[Any, ...]] = []
        for take in range(takes * number, takes * (number + 1)):
            rng = np.random.default_rng([seed, take])
            video = shoot([*ACTIONS][take % len(ACTIONS)], frames=frames, size=SIZE, rng=rng)
            for picture, label in frames_of(video, np.ones(frames, bool)):
                frame = len(drawn) + 1
                drawn[frame] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                humans: list[dict[str, Any]] = label["humans"] if label else []
                for person, human in enumerate(humans):
                    people.append((name, frame, person, *human["box"]))
                    known = human["parts"].values()
                    parts += [(name, frame, person, each["name"], each["verb"], *each["box"]) for each in known]
        pd.DataFrame(people, columns=[*_PERSON, *BOX]).to_parquet(beside[0])
        pd.DataFrame(parts, columns=[*_PERSON, "part", "state", *BOX]).to_parquet(beside[1])
        write_frames(path.with_suffix(".part"), name, drawn, quality=QUALITY)
        path.with_suffix(".part").rename(path)
    found = [pa.Table.from_pandas(pd.read_parquet(file), preserve_index=False) for file in beside]
    return FrameFile(path), found[0], found[1]
