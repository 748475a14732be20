"""Everything wrong with a data folder, file by file, with what to do: for ``tps data validate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from tps_pipeline.data.annotations import GROUND_TRUTH, ROOT, Index, find_annotations, find_ground_truth
from tps_pipeline.data.decoding import frame_number
from tps_pipeline.data.kinetics_tps import Annotations, action_of, manifest_of, read_all
from tps_pipeline.data.layout import Problem, Video, entries, find_videos
from tps_pipeline.data.lists import (
    BODY_PARTS,
    FRAME_COUNTS,
    OBJECTS,
    STATES,
    known_states,
    read_frame_counts,
    read_names,
)
from tps_pipeline.data.shards import probe_videos
from tps_pipeline.labels import PARTS
from tps_pipeline.tables import BOX


def validate(data: Path) -> list[Problem]:
    """Look for everything wrong with a data folder; reads every label and probes every video.

    Returns:
        Problems in no particular order of weight; an empty list means that nothing is wrong.

    Raises:
        DataError: The folder does not exist.
    """
    videos, _ = find_videos(data)
    index = find_annotations(data)
    annotations = read_all(data)
    return [
        *_check_layout(data, videos, index),
        *_check_frame_names(data, videos),
        *_check_lists(data, annotations),
        *annotations.problems,
        *_check_against_videos(data, videos, index, annotations),
    ]


def _check_layout(data: Path, videos: list[Video], index: Index) -> Iterator[Problem]:
    if not videos:
        yield Problem(".", "has no videos", "put them in train_videos/<class>/ and test_videos/")
    trained = [video for video in videos if video.folder == "train"]
    if trained and not index.sources:
        yield Problem(ROOT, "is missing or empty", "add the training labels, or move the videos to test_videos/")
    for folder in (entry for entry in entries(data / "train_videos") if entry.is_dir()):
        if not any(video.action == folder.name for video in trained):
            yield Problem(f"train_videos/{folder.name}", "has no videos", "add the class's videos or delete the folder")
    for video in trained:
        source = index.sources.get(video.video_id)
        if source and video.action and source.action and source.action != video.action:
            what = f"is in class {video.action}, its labels are in {source.action}"
            yield Problem(video.path, what, "move one of them; the video's class is used")
        if action_of(video, index) is None:
            yield Problem(video.path, "has no class", "move it to train_videos/<class>/ or to test_videos/")


def _check_frame_names(data: Path, videos: list[Video]) -> Iterator[Problem]:
    """The challenge compares frames by name, we by number: names that are another frame's there."""
    truth = find_ground_truth(data)
    for video in (video for video in videos if video.folder == "test"):
        names = [file.name for file in truth.files(video.video_id)[0]]
        numbers = {name: frame_number(name) for name in names}
        unlike = [name for name, number in numbers.items() if number and name != f"img_{number:05d}.json"]
        if unlike:
            what = f"{len(unlike)} frame(s) are called like {unlike[0]}"
            fix = "call them like img_00001.json: the challenge compares names"
            yield Problem(f"{GROUND_TRUTH}:{video.video_id}", what, fix)


def _check_lists(data: Path, annotations: Annotations) -> Iterator[Problem]:
    parts = read_names(data, BODY_PARTS)
    for name in sorted(set(parts.names if parts and parts.names else PARTS) ^ set(PARTS)):
        what = f"names an unknown part {name!r}" if name not in PARTS else f"lacks the part {name!r}"
        yield Problem(BODY_PARTS, what, f"parts are {', '.join(PARTS)}")
    if known_states(data) is None:
        yield Problem(STATES, "is missing or empty", "add it; until then any state is accepted")
    objects = read_names(data, OBJECTS)
    used = set(annotations.objects["name"].to_pylist())
    for name in sorted(used - set(objects.names if objects else used) - {"none"}):
        yield Problem(OBJECTS, f"lacks the object {name!r} of the labels", "add it or correct the labels")


def _check_against_videos(data: Path, videos: list[Video], index: Index, annotations: Annotations) -> Iterator[Problem]:
    manifest = manifest_of(videos, index).append_column("path", pa.array([video.path for video in videos], pa.string()))
    manifest = manifest.append_column("sha256", pa.array([""] * len(videos), pa.string()))
    probed = {row["video_id"]: row for row in probe_videos(data, manifest).to_pylist()}
    for row in probed.values():
        if row["status"] != "ok":
            yield Problem(row["path"], f"is unreadable: {row['error']}", "fetch it again or leave it out")
        elif row["error"]:
            yield Problem(row["path"], f"is damaged: {row['error']}", "fetch it again")
    readable = {video_id: row for video_id, row in probed.items() if row["status"] == "ok"}
    for labelled in annotations.labelled_frames.select(["video_id", "frame"]).to_pylist():
        row = readable.get(labelled["video_id"])
        if row and labelled["frame"] > row["n_frames"]:
            what = f"has {row['n_frames']} frames, but frame {labelled['frame']} is labelled"
            yield Problem(row["path"], what, "fetch the video again or delete the label")
    yield from _check_boxes(readable, annotations)
    yield from _check_counts(data, probed)


def _check_boxes(videos: dict[str, dict], annotations: Annotations) -> Iterator[Problem]:
    for kind, table in (("person", annotations.people), ("part", annotations.parts), ("object", annotations.objects)):
        ids = table["video_id"].combine_chunks()
        names = ids.dictionary.to_pylist()
        unlimited = {"width": 1 << 15, "height": 1 << 15}
        sizes = [(video["width"], video["height"]) for video in (videos.get(name, unlimited) for name in names)]
        codes, frames = ids.indices.to_numpy(), table["frame"].to_numpy()
        width, height = np.array(sizes, int).reshape(-1, 2)[codes].T
        x1, y1, x2, y2 = (table[name].to_numpy() for name in BOX)
        outside = np.flatnonzero((x1 < 0) | (y1 < 0) | (x2 >= width) | (y2 >= height))
        counts = Counter((names[codes[row]], int(frames[row])) for row in outside if names[codes[row]] in videos)
        for (video_id, frame), count in sorted(counts.items()):
            size = f"{videos[video_id]['width']}x{videos[video_id]['height']}"
            what = f"frame {frame}: {count} {kind} box(es) reach out of the {size} picture"
            yield Problem(videos[video_id]["path"], what, "clip them to the picture")


def _check_counts(data: Path, probed: dict[str, dict]) -> Iterator[Problem]:
    for split, where in FRAME_COUNTS.items():
        for name, count in read_frame_counts(data, where).names.items():
            path = PurePosixPath(name.replace("\\", "/"))
            video = probed.get(path.name) or probed.get(path.stem)
            if video is None:
                yield Problem(
                    where, f"lists {name}, which is not there", f"add it to {split}_videos/ or delete its row"
                )
            elif video["status"] == "ok" and video["n_frames"] != count:
                what = f"gives {name} {count} frames, the file has {video['n_frames']}"
                yield Problem(where, what, "fetch the video again: labels may be shifted")
