"""Videos of two actions as detectors see them: one moves the head up and down, or the hands to and fro."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.labels import PARTS

ACTIONS = ["nodding", "waving"]
STEPS = 6


def videos(count: int, *, start: int = 0) -> pa.Table:
    plain = {"split": "train", "path": "", "n_frames": 30, "fps": 25.0, "width": 64, "height": 48, "rotation": 0}
    rows = [
        plain | {"video_id": f"v{i:02d}", "action": ACTIONS[i % 2], "sha256": "", "status": "ok", "error": None}
        for i in range(start, start + count)
    ]
    return tables.conform({name: [row[name] for row in rows] for name in rows[0]}, tables.VIDEOS)


def seen(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Detections and tracks of a person a video: heads go up and down, or hands to and fro; and of a faint one."""
    rows = []
    for row in table.to_pylist():
        rng = np.random.default_rng(int(row["video_id"][1:]))
        at = rng.uniform(0, 100, 2)
        for step in range(STEPS):
            for person, score in enumerate((0.9, 0.05)):
                swing = 12 * (-1) ** step if person == 0 else 0
                for number, part in enumerate(PARTS):
                    moves = part == "head" if row["action"] == "nodding" else part.endswith("hand")
                    x, y = at + np.array((8 * number, 40)) + rng.normal(0, 1, 2)
                    x, y = (x, y + swing * moves) if row["action"] == "nodding" else (x + swing * moves, y)
                    corners = {"x1": x, "y1": y, "x2": x + 10, "y2": y + 10}
                    around = zip(tables.PERSON_BOX, (*at, *(at + 100)), strict=True)
                    rows.append(
                        {"video_id": row["video_id"], "frame": 1 + 5 * step, "person": person, "person_score": score,
                         "part": part, "part_score": 0.8 * score} | {k: int(v) for k, v in corners.items()}
                        | {k: int(v) for k, v in around}
                    )  # fmt: skip
    detections = {name: [row[name] for row in rows] for name in rows[0]}
    tracks = {name: detections[name] for name in ("video_id", "frame", "person")} | {"track_id": detections["person"]}
    distinct = pa.table(tracks).group_by(["video_id", "frame", "person", "track_id"]).aggregate([])
    return tables.conform(detections, tables.DETECTIONS), tables.conform(distinct, tables.TRACKS)
