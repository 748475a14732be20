"""Four annotated frames of two people, and detections that are just right."""

import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.labels import PARTS
from tps_pipeline.tables import BOX, PERSON_BOX

FRAMES = [("a", 1), ("a", 6), ("b", 1), ("b", 6)]


def annotations() -> tuple[pa.Table, pa.Table, pa.Table]:
    """Two people a frame, each with all ten parts; (b, 6) is labelled and empty."""
    people, parts = [], []
    for video, frame in FRAMES[:3]:
        for person in range(2):
            left = 20 + 150 * person
            people.append((video, frame, person, left, 20, left + 99, 219))
            for i, part in enumerate(PARTS):
                top = 20 + 20 * i
                parts.append((video, frame, person, part, left, top, left + 39, top + 19, "none"))
    counts = [2, 2, 2, 0]
    frames = [(*key, n) for key, n in zip(FRAMES, counts, strict=True)]
    schemas = (tables.LABELLED_FRAMES, tables.PEOPLE, tables.PARTS)
    columns = (frames, people, parts)
    made = [tables.conform(pd.DataFrame(c, columns=s.names), s) for c, s in zip(columns, schemas, strict=True)]
    return made[0], made[1], made[2]


def looked_at() -> pa.Table:
    return pa.table({"video_id": [v for v, _ in FRAMES], "frame": [f for _, f in FRAMES]})


def perfect() -> pd.DataFrame:
    """Detections equal to the annotations."""
    _, people, parts = annotations()
    boxes = people.to_pandas().rename(columns=dict(zip(BOX, PERSON_BOX, strict=True)))
    return parts.to_pandas().merge(boxes).assign(person_score=0.9, part_score=0.8)
