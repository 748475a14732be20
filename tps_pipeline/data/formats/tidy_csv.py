"""CSV with a heading and a line for each part of a person in a frame. Written only; docs/data.md has its columns.

Unlike what tools have, it holds all that our tables say but the scores of the states that are not the likeliest.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tps_pipeline import tables

_NUMBERS = ("person", "track_id", *tables.PERSON_BOX, *tables.BOX)

COLUMNS = (*tables.PREDICTIONS.names[:-1], "track_id", "action", "action_score")
"""Its columns: those of `tables.PREDICTIONS` but `state_scores`, then the person's track and the video's action."""


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write a video's rows.

    Args:
        rows: Some or all of `COLUMNS`; one that is missing is empty.
        path: The file; one that is there is replaced.
    """
    whole = [name for name in _NUMBERS if name in rows.columns]
    filled = rows.astype(dict.fromkeys(whole, "Int32")).reindex(columns=list(COLUMNS))
    filled.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def labelled(video_id: str, action: str | None, people: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """A video's labels as rows: a person without parts is one, too.

    Args:
        video_id: The video.
        action: Its class.
        people: Its rows of `tables.PEOPLE`.
        parts: Its rows of `tables.PARTS`.
    """
    boxes = people.rename(columns=dict(zip(tables.BOX, tables.PERSON_BOX, strict=True)))
    rows = boxes.merge(parts.drop(columns="video_id"), on=["frame", "person"], how="left")
    return rows.assign(video_id=video_id, action=action)
