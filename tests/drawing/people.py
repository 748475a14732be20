"""People to draw, as rows of a table, and how much of a picture has a colour."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

BOXES = {"left_arm": (100, 150, 200, 250), "right_arm": (300, 150, 400, 250), "head": (220, 20, 280, 80)}


def rows(
    boxes: Mapping[str, tuple[int, int, int, int]] = BOXES, *, frame: int = 1, state: str = "none"
) -> pd.DataFrame:
    person = dict(zip(["person_x1", "person_y1", "person_x2", "person_y2"], (80, 10, 420, 400), strict=True))
    return pd.DataFrame(
        [
            {"frame": frame, "person": 0, "part": part, "state": state, **person}
            | dict(zip(["x1", "y1", "x2", "y2"], box, strict=True))
            for part, box in boxes.items()
        ]
    )


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour) < 40).all(axis=-1).mean())
