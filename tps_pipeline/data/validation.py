"""Everything wrong with a data folder, file by file, with what to do: for `tps data validate`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from tps_pipeline.data.annotations import (
    GROUND_TRUTH,
    GROUND_TRUTH_ACTIONS,
    ROOT,
    Index,
    find_annotations,
    find_ground_truth,
)
from tps_pipeline.data.kinetics_tps import Annotations, action_of, read_all
from tps_pipeline.data.layout import Problem, Video, entries, find_videos, known_states, read_names
from tps_pipeline.data.shards import copies
from tps_pipeline.labels import PARTS
from tps_pipeline.progress import progress
from tps_pipeline.tables import BOX, distinct
from tps_pipeline.video.probe import Probe, probe_all


class Probed(NamedTuple):
    """A video, and what looking at it gave."""

    video: Video
    facts: Probe

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
        *_check_ground_truth(data, videos),
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
    ids = {video.video_id for video in trained}
    for source in index.sources.values():
        if source.video_id not in ids:
            where = source.path.relative_to(data).as_posix()
            fix = f"add train_videos/{source.action}/{source.video_id}.mp4 or delete the labels"
            yield Problem(where, f"labels {source.video_id}, which is not among the training videos", fix)
    for video in trained:
        source = index.sources.get(video.video_id)
        if source is None and index.sources:
            fix = f"add {ROOT}/{video.action or '<class>'}/{video.video_id}/ or move the video to test_videos/"
            yield Problem(video.path, "has no labels", fix)
        if source and video.action and source.action and source.action != video.action:
            what = f"is in class {video.action}, its labels are in {source.action}"
            yield Problem(video.path, what, "move one of them; the video's class is used")
        if action_of(video, index) is None:
            yield Problem(video.path, "has no class", "move it to train_videos/<class>/ or to test_videos/")


def _check_ground_truth(data: Path, videos: list[Video]) -> Iterator[Problem]:
    truth = find_ground_truth(data)
    yield from truth.problems
    if not truth.actions and not truth.videos:
        return
    tested = {video.video_id for video in videos if video.folder == "test"}
    for path, named in ((GROUND_TRUTH_ACTIONS, truth.actions), (GROUND_TRUTH, truth.videos)):
        for video_id in sorted(set(named) - tested):
            yield Problem(path, f"names {video_id}, which is not in test_videos/", "add the video or delete its entry")
        for video_id in sorted(tested - set(named)):
            yield Problem(path, f"lacks {video_id}", "add its entry; the video is not scored without")


def _check_lists(data: Path, annotations: Annotations) -> Iterator[Problem]:
    parts = read_names(data / "list" / "body_part.txt")
    for name in sorted(set(parts or PARTS) ^ set(PARTS)):
        what = f"names an unknown part {name!r}" if name not in PARTS else f"lacks the part {name!r}"
        yield Problem("list/body_part.txt", what, f"parts are {', '.join(PARTS)}")
    if known_states(data) is None:
        yield Problem("list/part_stat.txt", "is missing or empty", "add it; until then any state is accepted")
    listed = read_names(data / "list" / "object.txt")
    used = distinct(annotations.objects["name"])
    for name in sorted(set(used) - set(listed if listed is not None else used) - {"none"}):
        yield Problem("list/object.txt", f"lacks the object {name!r} of the labels", "add it or correct the labels")


def _check_against_videos(data: Path, videos: list[Video], annotations: Annotations) -> Iterator[Problem]:
    found = progress(probe_all([data / video.path for video in videos]), "Probing videos", total=len(videos))
    probed = {video.video_id: Probed(video, facts) for video, facts in zip(videos, found, strict=True)}
    for video, facts in probed.values():
        if facts.status != "ok":
            yield Problem(video.path, f"is unreadable: {facts.error}", "fetch it again or leave it out")
        elif facts.error:
            yield Problem(video.path, f"is damaged: {facts.error}", "fetch it again; the rest of it is used")
    readable = {video_id: found for video_id, found in probed.items() if found.facts.status == "ok"}
    yield from _check_labelled_frames(readable, annotations)
    yield from _check_boxes(readable, annotations)
    yield from _check_counts(data, probed)


def _check_labelled_frames(videos: dict[str, Probed], annotations: Annotations) -> Iterator[Problem]:
    for labelled in annotations.labelled_frames.select(["video_id", "frame"]).to_pylist():
        if labelled["video_id"] not in videos:
            continue
        (video, facts), frame = videos[labelled["video_id"]], labelled["frame"]
        if frame > facts.n_frames:
            what = f"has {facts.n_frames} frames, but frame {frame} is labelled"
            yield Problem(video.path, what, "fetch the video again or delete the label")
        elif frame in facts.undecodable:
            used = "it is not trained on" if video.folder == "train" else "the nearest frame is predicted in its place"
            yield Problem(video.path, f"frame {frame} is labelled and cannot be decoded", f"fetch it again; {used}")


def _check_boxes(videos: dict[str, Probed], annotations: Annotations) -> Iterator[Problem]:
    for kind, table in (("person", annotations.people), ("part", annotations.parts), ("object", annotations.objects)):
        ids: Any = table["video_id"].combine_chunks()
        names = ids.dictionary.to_pylist()
        unlimited = (1 << 15, 1 << 15)
        sizes = [videos[name].size if name in videos else unlimited for name in names]
        codes, frames = ids.indices.to_numpy(), table["frame"].to_numpy()
        width, height = np.array(sizes, int).reshape(-1, 2)[codes].T
        x1, y1, x2, y2 = (table[name].to_numpy() for name in BOX)
        outside = np.flatnonzero((x1 < 0) | (y1 < 0) | (x2 >= width) | (y2 >= height))
        counts = Counter((names[codes[row]], int(frames[row])) for row in outside if names[codes[row]] in videos)
        for (video_id, frame), count in sorted(counts.items()):
            width, height = videos[video_id].size
            what = f"frame {frame}: {count} {kind} box(es) reach out of the {width}x{height} picture"
            yield Problem(videos[video_id].video.path, what, "clip them to the picture")


def _check_counts(data: Path, probed: dict[str, Probed]) -> Iterator[Problem]:
    for split in ("train", "test"):
        path = data / "list" / f"video_{split}_flist.csv"
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = [row for row in csv.reader(file) if len(row) > 1 and row[1].strip().isdigit()]
        for name, count in ((row[0].strip(), int(row[1])) for row in rows):
            video = probed.get(PurePosixPath(name).name) or probed.get(PurePosixPath(name).stem)
            where = f"list/{path.name}"
            if video is None:
                yield Problem(
                    where, f"lists {name}, which is not there", f"add it to {split}_videos/ or delete its row"
                )
            elif video.facts.status == "ok" and video.facts.n_frames != count:
                what = f"gives {name} {count} frames, the file has {video.facts.n_frames}"
                yield Problem(where, what, "fetch the video again: labels may be shifted")
