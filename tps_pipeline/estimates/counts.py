"""What a data set holds, counted: the videos of each split, their labelled frames, the people in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa


class Amount(NamedTuple):
    """How much there is of what costs something."""

    videos: int
    """Videos, labelled or not."""
    frames: float
    """Labelled frames; of test videos as many as training videos have."""
    people: float
    """People in those."""


Labels = Mapping[str, tuple[int, int]]
"""Labelled frames and people of each labelled training video, by its id."""


def labelled(data: Path, manifests: Mapping[str, pa.Table]) -> Labels:
    """Count the labels of the training videos, `val` among them.

    Args:
        data: The data folder.
        manifests: Shards by name (`tables.SHARD`).
    """
    from tps_pipeline.data.kinetics_tps import read_annotations

    labels: dict[str, tuple[int, int]] = {}
    for shard, manifest in manifests.items():
        if not shard.startswith("test-"):
            found = read_annotations(data, manifest)
            people = _by_video(found.people)
            labels |= {video: (count, people[video]) for video, count in _by_video(found.labelled_frames).items()}
    return labels


def amount(manifests: Mapping[str, pa.Table], labels: Labels, splits: Iterable[str]) -> Amount:
    """How much some shards hold of some splits; a video without labels counts as one that has as many as others."""
    wanted = tuple(f"{split}-" for split in splits)
    chosen = [manifest["video_id"].to_pylist() for shard, manifest in manifests.items() if shard.startswith(wanted)]
    videos = [str(video) for of_shard in chosen for video in of_shard]
    usual = [sum(column) / max(1, len(labels)) for column in zip(*labels.values(), strict=True)] or [0.0, 0.0]
    each = [labels.get(video, usual) for video in videos]
    return Amount(len(videos), sum(frames for frames, _ in each), sum(people for _, people in each))


def _by_video(table: pa.Table) -> Counter[str]:
    return Counter(map(str, table["video_id"].to_pylist()))
