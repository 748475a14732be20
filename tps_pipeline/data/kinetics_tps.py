"""Kinetics-TPS labels as tables: the training annotations and, for evaluation, the test videos' ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.cpu import collection_paused
from tps_pipeline.data.annotations import (
    GROUND_TRUTH,
    GROUND_TRUTH_ACTIONS,
    ROOT,
    Index,
    LabelFile,
    find_annotations,
    find_ground_truth,
    read_files,
)
from tps_pipeline.data.decoding import VideoFiles, decode
from tps_pipeline.data.layout import Problem, Video, entries, find_videos, unused
from tps_pipeline.data.lists import known_parts, known_states, unread_lines
from tps_pipeline.errors import UnreachableError
from tps_pipeline.progress import progress

TABLES = ("actions", "labelled_frames", "people", "parts", "objects")
"""The tables that `Annotations` has, by name."""

VIDEOS_AT_ONCE = 64
"""How many videos' labels `read_all` decodes together: bounds its memory."""


@dataclass(frozen=True)
class Annotations:
    """The labels of some videos."""

    actions: pa.Table
    """As `tables.ACTIONS`."""
    labelled_frames: pa.Table
    """As `tables.LABELLED_FRAMES`."""
    people: pa.Table
    """As `tables.PEOPLE`."""
    parts: pa.Table
    """As `tables.PARTS`."""
    objects: pa.Table
    """As `tables.OBJECTS`."""
    problems: list[Problem] = field(default_factory=list)
    """Files that were left out."""


def read_annotations(data: Path, manifest: pa.Table) -> Annotations:
    """Read the labels of a shard's videos.

    Args:
        data: A Kinetics-TPS folder.
        manifest: Rows with `video_id`, `split` and `action` (`tables.SHARD`). Videos of the split `test` take
            their labels, and their action, from the ground truth files, or have none.

    Returns:
        The labels; a file with anything wrong is among the problems, and only that file is left out.

    Raises:
        UnreachableError: Labels cannot be read now, or a video had some when it was taken in and now has none.
    """
    if not data.is_dir():
        raise UnreachableError(f"{data} cannot be read now (no such folder); mount it, then run again")
    with collection_paused():
        index = find_annotations(data)
        if "annotations" in manifest.column_names:
            _must_be_there(data, manifest, index)
        return _read(data, manifest, index)


def _must_be_there(data: Path, manifest: pa.Table, index: Index) -> None:
    """Labels that were there once: that none are found now says that their folder is away."""
    for row in manifest.select(["video_id", "split", "annotations"]).to_pylist():
        truth = find_ground_truth(data) if row["split"] == "test" else None
        named = index.sources if truth is None else {*truth.videos, *truth.actions}
        if row["annotations"] is not None and row["video_id"] not in named:
            where = data / (ROOT if truth is None else GROUND_TRUTH)
            what = f"{where}: the labels of {row['video_id']} cannot be read now (they are no longer there)"
            raise UnreachableError(f"{what}; mount the folder or put them back, then run again")


def label_files(data: Path, video_id: str, *, index: Index, is_test: bool) -> tuple[list[LabelFile], list[Problem]]:
    """Read one video's label files, sorted by frame; a video without any has none."""
    if is_test:
        return find_ground_truth(data).files(video_id)
    source = index.sources.get(video_id)
    return read_files(source, data) if source else ([], [])


def passed_over(data: Path, videos: list[Video], index: Index) -> list[Problem]:
    """What is passed over of labels and lists before a label is read: for ingestion and validation alike."""
    trained = {video.video_id for video in videos if video.folder == "train"}
    found = [*index.problems, *unread_lines(data), *_ground_truth_passed_over(data, videos)]
    for source in index.sources.values():
        if source.video_id not in trained:
            where = source.path.relative_to(data).as_posix()
            fix = f"add train_videos/{source.action}/{source.video_id}.mp4 or delete the labels"
            found.append(Problem(where, f"labels {source.video_id}, which is not among the training videos", fix))
    for video in videos:
        if index.sources and video.video_id not in index.sources and action_of(video, index) is not None:
            fix = f"add {ROOT}/{video.action or '<class>'}/{video.video_id}/ or move the video to test_videos/"
            found.append(Problem(video.path, "has no labels", fix))
    return found


def _ground_truth_passed_over(data: Path, videos: list[Video]) -> Iterator[Problem]:
    truth = find_ground_truth(data)
    yield from truth.problems
    for entry in entries(data / "gt"):
        if (where := entry.relative_to(data).as_posix()) not in (GROUND_TRUTH_ACTIONS, GROUND_TRUTH):
            yield unused(where, among="gt_vid_result.json or gt_part_result.json")
    if not truth.actions and not truth.videos:
        return
    tested = {video.video_id for video in videos if video.folder == "test"}
    for path, named in ((GROUND_TRUTH_ACTIONS, truth.actions), (GROUND_TRUTH, truth.videos)):
        for video_id in sorted(set(named) - tested):
            yield Problem(path, f"names {video_id}, which is not in test_videos/", "add the video or delete its entry")
        for video_id in sorted(tested - set(named)):
            yield Problem(path, f"lacks {video_id}", "add its entry; the video is not scored without")


def manifest_of(videos: list[Video], index: Index) -> pa.Table:
    """Rows that `read_annotations` takes, for videos that are in no shard; training videos count as `train`."""
    return pa.table(
        {
            "video_id": pa.array([video.video_id for video in videos], pa.string()),
            "split": pa.array([video.folder for video in videos], pa.string()),
            "action": pa.array([action_of(video, index) for video in videos], pa.string()),
        }
    )


def action_of(video: Video, index: Index) -> str | None:
    """A training video's class: its folder, or its annotations' folder if it lies flat. None for test videos."""
    if video.folder == "test":
        return None
    source = index.sources.get(video.video_id)
    return video.action or (source.action if source else None)


def read_all(data: Path) -> Annotations:
    """Read every label of a data folder.

    Raises:
        DataError: The folder does not exist.
    """
    videos, problems = find_videos(data)
    videos.sort(key=lambda video: video.video_id)
    index = find_annotations(data)
    batches = [videos[at : at + VIDEOS_AT_ONCE] for at in range(0, len(videos), VIDEOS_AT_ONCE)]
    read = [_read(data, manifest_of(batch, index), index, go_on=True) for batch in progress(batches, "Reading labels")]
    problems += passed_over(data, videos, index)
    for batch in read:
        problems += batch.problems
    none = _read(data, manifest_of([], index), index)
    joined = {name: [getattr(batch, name) for batch in [none, *read]] for name in TABLES}
    return Annotations(
        **{name: pa.concat_tables(rows).unify_dictionaries() for name, rows in joined.items()}, problems=problems
    )


def _read(data: Path, manifest: pa.Table, index: Index, *, go_on: bool = False) -> Annotations:
    """The labels of a manifest's videos, sorted by video; what cannot be read now is raised, or named with `go_on`."""
    actions: dict[str, str] = {}
    rows = manifest.select(["video_id", "split", "action"]).to_pylist()

    def read_files() -> Iterator[VideoFiles]:
        for row in sorted(rows, key=lambda row: row["video_id"]):
            video_id, is_test = row["video_id"], row["split"] == "test"
            try:
                files, unread = label_files(data, video_id, index=index, is_test=is_test)
            except UnreachableError as error:
                if not go_on:
                    raise
                files, unread = [], [Problem(video_id, f"has labels that cannot be read now: {error}", "see to it")]
            action = find_ground_truth(data).actions.get(video_id) if is_test else row["action"]
            if action is not None:
                actions[video_id] = action
            yield VideoFiles(video_id, files, unread)

    labels = decode(read_files(), known_states(data), parts=known_parts(data))
    names = {"video_id": pa.array(actions, pa.string()), "action": pa.array(actions.values(), pa.string())}
    acted = tables.conform(pa.table(names), tables.ACTIONS)
    return Annotations(acted, labels.labelled_frames, labels.people, labels.parts, labels.objects, labels.problems)
