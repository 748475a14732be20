"""The labelled frames of training videos: who is in them, where their parts are, and in which states.

Boxes are shares of the picture, as `people.key_frames` has them; parts that are not annotated have none (NaN).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tps_pipeline import outputs
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, targets_by
from tps_pipeline.methods.people.key_frames import shares
from tps_pipeline.reading import Reads
from tps_pipeline.tables import BOX

_PERSON = ["video_id", "frame", "person"]


class KeyFrame(NamedTuple):
    """A labelled frame, which a clip ends with.

    Attributes:
        boxes: People's, float32, `(N, 4)`; nobody may be there.
        parts: Of each one's parts, float32, `(N, parts, 4)`; NaN where there is none.
        targets: The label of each one's parts, `(N, parts)`.
    """

    boxes: np.ndarray
    parts: np.ndarray
    targets: np.ndarray


class KeyFrameVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        frames: Indices of its labelled frames, ascending from 0, `(F,)`.
        key_frames: What is in each of them.
    """

    path: Path
    n_frames: int
    frames: np.ndarray
    key_frames: list[KeyFrame]


def key_frame_videos(source: Reads, space: LabelSpace) -> list[KeyFrameVideo]:
    """The readable videos that are labelled; labelled frames past a video's end are left out.

    Args:
        source: The shards.
        space: The label space.
    """
    people = source(outputs.PEOPLE).select([*_PERSON, *BOX]).to_pandas().astype({"video_id": str})
    people = people.sort_values(_PERSON, kind="stable", ignore_index=True)
    keys = pd.MultiIndex.from_arrays([people[name] for name in _PERSON], names=_PERSON)
    targets = targets_by(_PERSON, source(outputs.PARTS), space).reindex(keys).fillna(UNLABELLED).to_numpy(np.int64)
    corners, parts = people[[*BOX]].to_numpy(), _parts(source, keys, space)
    of_frame = people.groupby(_PERSON[:2]).indices
    labelled = source(outputs.LABELLED_FRAMES).select(_PERSON[:2]).to_pandas().astype({"video_id": str})
    frames_of = labelled.groupby("video_id").frame.unique()
    columns = ["video_id", "path", "n_frames", "width", "height", "status"]
    videos = []
    for row in source(outputs.VIDEOS).select(columns).to_pylist():
        video, size = row["video_id"], (row["width"], row["height"])
        if video not in frames_of.index or row["status"] != "ok":
            continue
        frames = np.sort(np.asarray(frames_of[video], np.int64))
        frames = frames[frames <= row["n_frames"]]
        rows = [of_frame.get((video, frame), np.zeros(0, np.int64)) for frame in frames.tolist()]
        found = [KeyFrame(shares(corners[at], *size), _shares(parts[at], *size), targets[at]) for at in rows]
        if found:
            videos.append(KeyFrameVideo(source.data / row["path"], row["n_frames"], frames - 1, found))
    return videos


def joined(key_frames: list[KeyFrame]) -> dict[str, Tensor]:
    """What is in some clips: the fields of `KeyFrame`, and `clip_of`, each one's clip, `(N,)`."""
    rows = KeyFrame(*(np.concatenate(each) for each in zip(*key_frames, strict=True)))._asdict()
    rows["clip_of"] = np.repeat(np.arange(len(key_frames)), [len(each.boxes) for each in key_frames])
    return {name: torch.from_numpy(array) for name, array in rows.items()}


def _parts(source: Reads, keys: pd.MultiIndex, space: LabelSpace) -> np.ndarray:
    """The box of each part of some people in pixels, NaN where there is none: `(N, parts, 4)`."""
    rows = source(outputs.PARTS).select([*_PERSON, "part", *BOX]).to_pandas()
    rows = rows.astype({"video_id": str, "part": str}).drop_duplicates([*_PERSON, "part"])
    boxes = np.full((len(keys), len(space.parts), 4), np.nan, np.float32)
    whose = keys.get_indexer(pd.MultiIndex.from_frame(rows[_PERSON]))
    which = pd.Index(space.parts).get_indexer(pd.Index(rows.part))
    known = (whose >= 0) & (which >= 0)
    boxes[whose[known], which[known]] = rows[[*BOX]].to_numpy(np.float32)[known]
    return boxes


def _shares(parts: np.ndarray, width: int, height: int) -> np.ndarray:
    return shares(parts.reshape(-1, 4), width, height).reshape(parts.shape)
