"""Everything wrong with a data folder, file by file, with what to do: for `tps data validate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tps_pipeline.data.annotations import GROUND_TRUTH, ROOT, Index, find_annotations, find_ground_truth
from tps_pipeline.data.frame_labels import frame_number
from tps_pipeline.data.kinetics_tps import Annotations, action_of, read_all
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
from tps_pipeline.data.shards import copies
from tps_pipeline.labels import PERSON, parts_of
from tps_pipeline.parsing import MAX_FRAME
from tps_pipeline.progress import progress
from tps_pipeline.tables import BOX, distinct
from tps_pipeline.video.probe import Probe, probe_all


class Probed(NamedTuple):
    """A video, and what looking at it gave."""

    video: Video
    """Where it is."""
    facts: Probe
    """What probing told."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.facts.width, self.facts.height


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
        *copies(data, (video for video in videos if video.folder == "test" or action_of(video, index))),
        *_check_against_videos(data, videos, annotations),
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
    labelled, parts = distinct(annotations.parts["part"]), read_names(data, BODY_PARTS)
    named = {*(parts.names if parts and parts.names else labelled)}
    for name in sorted({*labelled} - named):
        yield Problem(BODY_PARTS, f"lacks the part {name!r} of the labels", "add it or correct the labels")
    for name in sorted(named - {*parts_of(labelled)}):
        if name == PERSON:
            yield Problem(BODY_PARTS, f"names {name!r}, which is no part", "delete it; people have boxes of their own")
        else:
            yield Problem(BODY_PARTS, f"names the part {name!r}, which no label has", "correct, label or delete it")
    if known_states(data) is None:
        yield Problem(STATES, "is missing or empty", "add it; until then any state is accepted")
    objects = read_names(data, OBJECTS)
    used = set(distinct(annotations.objects["name"]))
    for name in sorted(used - set(objects.names if objects else used) - {"none"}):
        yield Problem(OBJECTS, f"lacks the object {name!r} of the labels", "add it or correct the labels")


def _check_against_videos(data: Path, videos: list[Video], annotations: Annotations) -> Iterator[Problem]:
    found = progress(
        probe_all([data / video.path for video in videos], go_on=True), "Probing videos", total=len(videos)
    )
    probed = {video.video_id: Probed(video, facts) for video, facts in zip(videos, found, strict=True)}
    for video, facts in probed.values():
        if facts.status != "ok":
            what, _, fix = str(facts.error).rpartition("; ")
            yield Problem(video.path, f"is unreadable: {what}", fix)
        elif facts.error:
            yield Problem(video.path, f"is damaged: {facts.error}", "fetch it again; the rest of it is used")
    readable = {video_id: found for video_id, found in probed.items() if found.facts.status == "ok"}
    yield from _check_labelled_frames(readable, annotations)
    yield from _check_boxes(readable, annotations)
    yield from _check_counts(data, probed)


def _check_labelled_frames(videos: dict[str, Probed], annotations: Annotations) -> Iterator[Problem]:
    names, stretches = _numbers(annotations.labelled_frames)
    last = np.array([videos[name].facts.n_frames if name in videos else MAX_FRAME for name in names], int)
    holed = np.array([name in videos and bool(videos[name].facts.undecodable) for name in names], bool)
    for codes, frames, _ in stretches:
        for row in np.flatnonzero((frames > last[codes]) | holed[codes]):
            (video, facts), frame = videos[names[codes[row]]], int(frames[row])
            if frame > facts.n_frames:
                what = f"has {facts.n_frames} frames, but frame {frame} is labelled"
                yield Problem(video.path, what, "fetch the video again or delete the label")
            elif frame in facts.undecodable:
                what = f"frame {frame} is labelled and cannot be decoded"
                instead = "the nearest frame is predicted in its place"
                used = "it is not trained on" if video.folder == "train" else instead
                yield Problem(video.path, what, f"fetch it again; {used}")


def _check_boxes(videos: dict[str, Probed], annotations: Annotations) -> Iterator[Problem]:
    for kind, table in (("person", annotations.people), ("part", annotations.parts), ("object", annotations.objects)):
        names, stretches = _numbers(table)
        unlimited = (1 << 15, 1 << 15)
        sizes = np.array([videos[name].size if name in videos else unlimited for name in names], int).reshape(-1, 2)
        counts: Counter[tuple[str, int]] = Counter()
        for codes, frames, (x1, y1, x2, y2) in stretches:
            width, height = sizes[codes].T
            outside = np.flatnonzero((x1 < 0) | (y1 < 0) | (x2 >= width) | (y2 >= height))
            counts.update((names[codes[row]], int(frames[row])) for row in outside if names[codes[row]] in videos)
        for (video_id, frame), count in sorted(counts.items()):
            width, height = videos[video_id].size
            what = f"frame {frame}: {count} {kind} box(es) reach out of the {width}x{height} picture"
            yield Problem(videos[video_id].video.path, what, "clip them to the picture")


def _numbers(table: pa.Table) -> tuple[list[str], Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]]:
    """The videos of some labels; and each row's video, frame and corners, some at a time, for all at once are large."""
    columns = table.select([name for name in ("video_id", "frame", *BOX) if name in table.column_names])
    batches: list[Any] = columns.unify_dictionaries().to_batches()
    names = batches[0]["video_id"].dictionary.to_pylist() if batches else []
    return names, (
        (batch["video_id"].indices.to_numpy(), batch["frame"].to_numpy(), [c.to_numpy() for c in batch.columns[2:]])
        for batch in batches
    )


def _check_counts(data: Path, probed: dict[str, Probed]) -> Iterator[Problem]:
    for split, where in FRAME_COUNTS.items():
        for name, count in read_frame_counts(data, where).names.items():
            path = PurePosixPath(name.replace("\\", "/"))
            video = probed.get(path.name) or probed.get(path.stem)
            if video is None:
                yield Problem(
                    where, f"lists {name}, which is not there", f"add it to {split}_videos/ or delete its row"
                )
            elif video.facts.status == "ok" and video.facts.n_frames != count:
                what = f"gives {name} {count} frames, the file has {video.facts.n_frames}"
                yield Problem(where, what, "fetch the video again: labels may be shifted")
