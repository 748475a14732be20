"""What must hold of a table before anything is built on it; each function returns what is wrong, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline.data.challenge_json import MAX_PEOPLE, MAX_PROPOSALS
from tps_pipeline.labels import parts_of, swap
from tps_pipeline.tables import BOX, PERSON_BOX, distinct

MIN_VIDEOS = 4
"""Of a shard, from which on a share of its videos says something."""
SHOWN = 5
"""Offending rows that a message names."""


class _Part(msgspec.Struct, gc=False):
    box: list[msgspec.Raw]


class _Person(msgspec.Struct, gc=False):
    parts: dict[str, _Part]


class _Frame(msgspec.Struct, gc=False):
    humans: list[_Person]


def videos_in_two_splits(manifests: Iterable[pa.Table]) -> list[str]:
    """No video may be in two shards, least of all of two splits."""
    rows = pd.concat([manifest.select(["video_id", "split"]).to_pandas().astype(str) for manifest in manifests])
    twice = rows[rows.video_id.duplicated(keep=False)].groupby("video_id").split.agg(lambda s: " and ".join(sorted(s)))
    return [f"{video} is in {splits}" for video, splits in twice.head(SHOWN).items()]


def many_unreadable(videos: pa.Table) -> list[str]:
    """At most half of a shard's videos are unreadable, where it has `MIN_VIDEOS`: more is no matter of single files."""
    rows = videos.select(["status", "error"]).to_pylist()
    unreadable = [row["error"] for row in rows if row["status"] == "unreadable"]
    if len(videos) < MIN_VIDEOS or 2 * len(unreadable) <= len(videos):
        return []
    return [f"{len(unreadable)} of {len(videos)} videos are unreadable, as {unreadable[0]}"]


def missing_frames(videos: pa.Table, frames: pa.Table, stride: int) -> list[str]:
    """Every readable video that is not trained on has frames 1, 1 + stride, ... extracted."""
    extracted = frames["video_id"].to_pandas().astype(str).value_counts()
    readable = videos.to_pandas().query("status == 'ok' and split != 'train'")
    expected = -(-readable.n_frames // stride)
    wrong = [
        f"{video}: {extracted.get(video, 0)} frames extracted, {count} expected of {total}"
        for video, count, total in zip(readable.video_id, expected, readable.n_frames, strict=True)
        if extracted.get(video, 0) != count
    ]
    return wrong[:SHOWN]


def boxes_outside(rows: pa.Table, frames: pa.Table) -> list[str]:
    """Boxes of detections lie inside their picture, with their corners in order."""
    sizes = frames.select(["video_id", "frame", "width", "height"]).to_pandas().astype({"video_id": str})
    boxes = rows.to_pandas().astype({"video_id": str}).merge(sizes, on=["video_id", "frame"], how="left")
    wrong = np.zeros(len(boxes), bool)
    for x1, y1, x2, y2 in (BOX, PERSON_BOX):
        inside = (boxes[x1] >= 0) & (boxes[y1] >= 0) & (boxes[x2] < boxes.width) & (boxes[y2] < boxes.height)
        wrong |= ~(inside & (boxes[x1] <= boxes[x2]) & (boxes[y1] <= boxes[y2])).to_numpy(bool)
    return [
        f"{r.video_id}, frame {r.frame}, person {r.person}, {r.part}" for r in boxes[wrong].head(SHOWN).itertuples()
    ]


def missing_sides(samples: pa.Table) -> list[str]:
    """A part data set has every sided part on both sides, as often as its mirror image where images are mirrored."""
    counts = samples["label"].to_pandas().astype(object).value_counts()
    mirrored = bool(np.any(samples["flipped"].to_numpy(zero_copy_only=False)))
    pairs = [(part, swap(part)) for part in parts_of(map(str, counts.index)) if part.startswith("left_")]
    return [
        f"{counts.get(left, 0)} boxes of {left}, {counts.get(right, 0)} of {right}"
        for left, right in pairs
        if mirrored and counts.get(left, 0) != counts.get(right, 0)
    ]


def unknown_states(predictions: pa.Table, state_labels: pa.Table) -> list[str]:
    """Predicted states are ones that training boxes of some part have."""
    known = set(state_labels["state"].to_pylist())
    given = distinct(predictions["state"])
    return [f"state {state!r} is not in the vocabulary" for state in given if state not in known][:SHOWN]


def scores_outside(psc: pa.Table) -> list[str]:
    """Part state correctness is in [0, 1]."""
    values = psc.to_pandas()
    wrong = values[~values.psc.between(0, 1)]
    return [f"{row.video_id}: PSC {row.psc}" for row in wrong.head(SHOWN).itertuples()]


def over_the_limits(submission: Path) -> list[str]:
    """A submission has at most `MAX_PEOPLE` people a frame and `MAX_PROPOSALS` proposals a part."""
    wrong = []
    for video, raw in msgspec.json.decode(submission.read_bytes(), type=dict[str, msgspec.Raw]).items():
        for name, frame in msgspec.json.decode(raw, type=dict[str, _Frame]).items():
            people = frame.humans
            if len(people) > MAX_PEOPLE:
                wrong.append(f"{video}, {name}: {len(people)} people, {MAX_PEOPLE} allowed")
            proposals = [(n, part, len(p.box)) for n, person in enumerate(people) for part, p in person.parts.items()]
            wrong += [
                f"{video}, {name}: {count} proposals for {part} of person {n}, {MAX_PROPOSALS} allowed"
                for n, part, count in proposals
                if count > MAX_PROPOSALS
            ]
    return wrong[:SHOWN]
