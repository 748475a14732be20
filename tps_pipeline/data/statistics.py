"""What a data set's labels look like in numbers: for `tps data stats`."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from tps_pipeline.data.kinetics_tps import Annotations
from tps_pipeline.labels import NO_STATE, parts_of

Frame = Any
"""A pandas data frame or series; the type stubs cannot follow grouping."""


def statistics(annotations: Annotations) -> dict[str, pa.Table]:
    """Count people, parts and states.

    Returns:
        Tables to print:

        - `overview`: one row a quantity (videos, frames, people a frame, parts a person, share of `none`, ...).
        - `parts`: one row a part: boxes, boxes a person, share of `none`, number of states, the most frequent
          state but `none` and its share.
        - `states`: one row a (part, state): boxes and share of the part's boxes, most frequent first.
        - `classes`: one row an action: videos, frames, people, people a frame, parts a person, share of `none`.
    """
    frames, people, parts = (getattr(annotations, name).to_pandas() for name in ("labelled_frames", "people", "parts"))
    action = annotations.actions.to_pandas().astype(str).set_index("video_id")["action"]
    states = _states(parts)
    found = {
        "overview": _overview(annotations, frames, people, parts),
        "parts": _parts(states, n_people=len(people)),
        "states": states,
        "classes": _classes(action, frames, people, parts),
    }
    return {name: pa.Table.from_pandas(table, preserve_index=False) for name, table in found.items()}


def _overview(annotations: Annotations, frames: Frame, people: Frame, parts: Frame) -> Frame:
    with_parts = len(parts[["video_id", "frame", "person"]].drop_duplicates())
    quantities = {
        "videos with an action": annotations.actions.num_rows,
        "labelled videos": frames["video_id"].nunique(),
        "labelled frames": len(frames),
        "people": len(people),
        "parts": len(parts),
        "objects": annotations.objects.num_rows,
        "frames a labelled video": _ratio(len(frames), frames["video_id"].nunique()),
        "people a frame": _ratio(len(people), len(frames)),
        "most people in a frame": frames["n_people"].max() if len(frames) else 0,
        "parts a person": _ratio(len(parts), len(people)),
        "share of people without parts": _ratio(len(people) - with_parts, len(people)),
        "share of parts that are none": _ratio(int((parts["state"] == NO_STATE).sum()), len(parts)),
        "states": parts["state"].nunique(),
        "problems": len(annotations.problems),
    }
    return pd.DataFrame({"quantity": list(quantities), "value": [float(value) for value in quantities.values()]})


def _states(parts: Frame) -> Frame:
    counts = parts.astype({"part": str, "state": str}).groupby(["part", "state"]).size().rename("boxes").reset_index()
    counts["share"] = counts["boxes"] / counts.groupby("part")["boxes"].transform("sum")
    return counts.sort_values(["part", "boxes", "state"], ascending=[True, False, True])


def _parts(states: Frame, *, n_people: int) -> Frame:
    rows = []
    for part in parts_of(states["part"]):
        of_part = states[states["part"] == part]
        moving = of_part[of_part["state"] != NO_STATE]
        boxes = int(of_part["boxes"].sum())
        rows.append(
            {
                "part": part,
                "boxes": boxes,
                "boxes a person": _ratio(boxes, n_people),
                "none": float(of_part.loc[of_part["state"] == NO_STATE, "share"].sum()),
                "states": len(of_part),
                "most frequent": moving["state"].iloc[0] if len(moving) else "",
                "its share": float(moving["share"].iloc[0]) if len(moving) else 0.0,
            }
        )
    return pd.DataFrame(rows)


def _classes(action: Frame, frames: Frame, people: Frame, parts: Frame) -> Frame:
    def count(table: Frame) -> Frame:
        return table.groupby(table["video_id"].astype(str).map(action)).size()

    counts = {
        "videos": action.groupby(action).size(),
        "frames": count(frames),
        "people": count(people),
        "parts": count(parts),
        "none": count(parts[parts["state"] == NO_STATE]),
    }
    table = pd.DataFrame(counts).fillna(0).astype(int).rename_axis("action").reset_index().sort_values("action")
    table["people a frame"] = table["people"] / table["frames"].clip(lower=1)
    table["parts a person"] = table["parts"] / table["people"].clip(lower=1)
    table["none"] = table["none"] / table["parts"].clip(lower=1)
    return table[["action", "videos", "frames", "people", "people a frame", "parts a person", "none"]]


def _ratio(count: int, of: int) -> float:
    return count / of if of else 0.0
