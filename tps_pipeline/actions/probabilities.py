"""What members say of videos: probabilities of the actions as an array, and as the table that others read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.errors import DataError


def ids(videos: pa.Table) -> list[str]:
    """The videos of a table that has a row for each."""
    return [str(video) for video in videos["video_id"].to_pylist()]


def frequencies(shown: NDArray[np.int64], actions: int) -> list[float]:
    """How often each action is shown by training videos, `(actions,)`: what is said of a video that tells nothing."""
    counts = np.bincount(shown, minlength=actions)
    return (counts / counts.sum()).tolist() if len(shown) else [1 / actions] * actions


def action_indices(videos: pa.Table, actions: list[str]) -> NDArray[np.int64]:
    """The place of each video's annotated action among some.

    Raises:
        DataError: A video shows an action that is not among them.
    """
    shown = [str(action) for action in videos["action"].to_pylist()]
    if unknown := sorted({*shown} - {*actions}):
        raise DataError(f"videos show {', '.join(unknown)}, the actions to learn are {', '.join(actions)}")
    return np.array([actions.index(action) for action in shown], np.int64)


def as_table(videos: list[str], actions: list[str], chances: list[list[float]]) -> pa.Table:
    """Name the likeliest action of each video.

    Args:
        videos: Their ids.
        actions: The actions' names, in the order of `chances`.
        chances: Each video's probabilities.

    Returns:
        A table of `tables.VIDEO_ACTIONS`, a row for each video.
    """
    best = [int(np.argmax(row)) for row in chances]
    columns = {
        "video_id": videos,
        "action": [actions[index] for index in best],
        "score": [row[index] for row, index in zip(chances, best, strict=True)],
        "probabilities": [dict(zip(actions, row, strict=True)) for row in chances],
    }
    return tables.conform(columns, tables.VIDEO_ACTIONS)


def as_array(said: pa.Table, videos: list[str], actions: list[str]) -> NDArray[np.float64]:
    """The probabilities of some actions for some videos, `(videos, actions)`; 0 of an action that nobody knows of.

    Args:
        said: `tables.VIDEO_ACTIONS` with all of the videos.
        videos: Their ids.
        actions: The actions' names.
    """
    of = {row["video_id"]: dict(row["probabilities"]) for row in said.to_pylist()}
    found = [[of[video].get(action, 0.0) for action in actions] for video in videos]
    return np.array(found, np.float64).reshape(len(videos), len(actions))
