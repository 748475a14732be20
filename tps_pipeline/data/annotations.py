"""Where a data folder keeps each video's labels, and how to read them: folders, tar files, ground truth files.

Training labels are `train_annotations/<class>/<video>/img_00001.json` (one more `<video>` level is accepted), or
the same inside `train_annotations.tar`, `train_annotations/<class>.tar` or
`train_annotations/<class>/<video>.tar`. Labels of test videos, used for evaluation only, are
`gt/gt_vid_result.json` and `gt/gt_part_result.json`, as the challenge's evaluator reads them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from tps_pipeline.data import tar
from tps_pipeline.data.layout import Problem, entries
from tps_pipeline.errors import DataError

ROOT = "train_annotations"
Runs = tuple[tuple[int, int | None], ...]
"""Stretches of a tar file, from the first header to the end of the last member."""

_USUAL_BYTES = 16384
"""Most label files are far smaller (1.4 kB on average); larger buffers cost page faults."""
_REPACK = "re-create or re-download it"


class Source(NamedTuple):
    """Where one video's label files are."""

    video_id: str
    action: str | None
    """The class folder above the video's."""
    path: Path
    """A folder, or a tar file."""
    runs: Runs = ()
    """The parts of the tar file to read; empty for a folder."""


class LabelFile(msgspec.Struct, frozen=True, gc=False):
    """One frame's labels, as found."""

    where: str
    """Its path for a reader of problems."""
    name: str
    content: bytes


@dataclass
class Index:
    """All label files of the training videos."""

    sources: dict[str, Source] = field(default_factory=dict)
    """By video id."""
    problems: list[Problem] = field(default_factory=list)

    def add(self, source: Source, where: str) -> None:
        """Take a video's labels in; of two places the first counts."""
        first = self.sources.setdefault(source.video_id, source)
        if first is not source:
            what = f"labels of {source.video_id} are also in {first.path.name} ({first.action})"
            self.problems.append(Problem(where, what, "keep one of the two; the first is used"))


def find_annotations(data: Path) -> Index:
    """Find every training video's label files, without opening them; folders come before archives."""
    index = Index()
    archives: list[tuple[Path, tuple[str, ...]]] = [(data / f"{ROOT}.tar", ())]
    for entry in entries(data / ROOT):
        if entry.suffix == ".tar":
            archives.append((entry, (entry.stem,)))
        for inner in entries(entry):
            if inner.is_dir():
                index.add(Source(inner.name, entry.name, inner), inner.relative_to(data).as_posix())
            elif inner.suffix == ".tar":
                whole = Source(inner.stem, entry.name, inner, ((0, None),))
                index.add(whole, inner.relative_to(data).as_posix())
            else:
                where = inner.relative_to(data).as_posix()
                fix = f"move it to {ROOT}/{entry.name}/<video>/"
                index.problems.append(Problem(where, "is not in a video's folder", fix))
    for path, prefix in archives:
        if path.is_file():
            _add_archive(index, path, prefix, where=path.relative_to(data).as_posix())
    return index


def read_files(source: Source, data: Path) -> tuple[list[LabelFile], list[Problem]]:
    """Read one video's label files, sorted by frame. A file that cannot be opened counts as empty."""
    where = source.path.relative_to(data).as_posix()
    if source.runs:
        files, problems = _read_archive(source, where)
    else:
        files, problems = _read_folder(source.path, where, source.video_id), []
    return sorted(files, key=lambda file: (len(file.name), file.name)), problems


def digest(files: Iterable[LabelFile], *, action: str = "") -> str:
    """A content hash of one video's label files (names and bytes) and, of a test video, its true action.

    Not sizes and times: an edited state may keep its file's length, and a copied or packed data set is the same data
    with new times. Costs one read of each file.
    """
    total = hashlib.sha256(action.encode())
    for file in files:
        total.update(f"{file.name} {len(file.content)}\n".encode("utf-8", "surrogateescape"))
        total.update(file.content)
    return total.hexdigest()


@dataclass(frozen=True)
class GroundTruth:
    """The evaluator's two files; empty where they are missing."""

    actions: dict[str, str] = field(default_factory=dict)
    """By video id."""
    videos: dict[str, msgspec.Raw] = field(default_factory=dict)
    """By video id: its frames, not yet decoded."""
    problems: tuple[Problem, ...] = ()

    def files(self, video_id: str) -> tuple[list[LabelFile], list[Problem]]:
        """One video's labelled frames, sorted by frame."""
        where = f"{GROUND_TRUTH}:{video_id}"
        try:
            frames = msgspec.json.decode(self.videos.get(video_id, b"{}"), type=dict[str, msgspec.Raw])
        except ValueError as error:
            return [], [Problem(where, f"is not a table of frames: {error}", _REPACK)]
        files = [LabelFile(f"{where}/{name}", name, bytes(raw)) for name, raw in frames.items()]
        return sorted(files, key=lambda file: (len(file.name), file.name)), []


GROUND_TRUTH_ACTIONS = "gt/gt_vid_result.json"
GROUND_TRUTH = "gt/gt_part_result.json"


def find_ground_truth(data: Path) -> GroundTruth:
    """Load the test videos' ground truth, if the data folder has any; the last one loaded is kept in memory."""
    stamps = [(p.stat().st_size, p.stat().st_mtime_ns) if p.is_file() else None for p in _ground_truth_paths(data)]
    return _ground_truth(data, tuple(stamps))


def _ground_truth_paths(data: Path) -> tuple[Path, Path]:
    return data / GROUND_TRUTH_ACTIONS, data / GROUND_TRUTH


@functools.lru_cache(maxsize=1)
def _ground_truth(data: Path, _stamps: tuple[tuple[int, int] | None, ...]) -> GroundTruth:
    problems = []
    actions: dict[str, str] = {}
    videos: dict[str, msgspec.Raw] = {}
    actions_path, videos_path = _ground_truth_paths(data)
    try:
        actions = msgspec.json.decode(actions_path.read_bytes(), type=dict[str, str]) if _stamps[0] else {}
    except (ValueError, OSError) as error:
        problems.append(Problem(GROUND_TRUTH_ACTIONS, f"is not a table of video and class: {error}", _REPACK))
    try:
        videos = msgspec.json.decode(videos_path.read_bytes(), type=dict[str, msgspec.Raw]) if _stamps[1] else {}
    except (ValueError, OSError) as error:
        problems.append(Problem(GROUND_TRUTH, f"is not a table of videos: {error}", _REPACK))
    return GroundTruth(actions, videos, tuple(problems))


def _add_archive(index: Index, path: Path, prefix: tuple[str, ...], *, where: str) -> None:
    stat = path.stat()
    folders, damage = _archive_folders(path, (stat.st_size, stat.st_mtime_ns))
    if damage:
        index.problems.append(Problem(where, damage, f"{_REPACK}; what comes before is used"))
    for folder, runs in folders.items():
        names = [*prefix, *(name for name in folder.split("/") if name not in ("", "."))]
        if ROOT in names:
            names = names[names.index(ROOT) + 1 :]
        if not names:
            index.problems.append(Problem(where, "has label files outside a video's folder", "pack <class>/<video>/"))
            continue
        action = names[0] if len(names) > 1 else None
        index.add(Source(names[-1], action, path, runs), f"{where}:{folder}")


@functools.lru_cache(maxsize=64)
def _archive_folders(path: Path, _stamp: tuple[int, int]) -> tuple[dict[str, Runs], str | None]:
    """Where each folder's label files are in an archive, and what is wrong with it; the answer is remembered."""
    folders: dict[str, list[tuple[int, int | None]]] = {}
    damage = None
    try:
        with tar.opened(path) as archive:
            for member in tar.members(archive):
                if not _is_label_file(posixpath.basename(member.name)):
                    continue
                runs = folders.setdefault(posixpath.dirname(member.name), [])
                if runs and runs[-1][1] == member.start:
                    runs[-1] = (runs[-1][0], member.end)
                else:
                    runs.append((member.start, member.end))
    except (DataError, OSError) as error:
        damage = str(error)
    return {folder: tuple(runs) for folder, runs in folders.items()}, damage


def _read_archive(source: Source, where: str) -> tuple[list[LabelFile], list[Problem]]:
    files: list[LabelFile] = []
    try:
        with tar.opened(source.path) as archive:
            for start, end in source.runs:
                for member in tar.members(archive, start=start, end=end):
                    name = posixpath.basename(member.name)
                    if _is_label_file(name):
                        content = bytes(archive[member.data : member.data + member.size])
                        files.append(LabelFile(f"{where}:{member.name}", name, content))
    except (DataError, OSError) as error:
        return files, [Problem(where, str(error), f"{_REPACK}; what comes before is used")]
    return files, []


def _read_folder(folder: Path, where: str, video_id: str) -> list[LabelFile]:
    files = []
    base = os.fspath(folder)
    for name in os.listdir(base):  # noqa: PTH208 - a Path for each of half a million files costs more than reading it
        if _is_label_file(name):
            files.append(LabelFile(f"{where}/{name}", name, _read(f"{base}/{name}")))
        elif name == video_id:
            files += _read_folder(folder / name, f"{where}/{name}", video_id)
    return files


def _is_label_file(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _read(path: str) -> bytes:
    """A small file's content by the fewest system calls (`open().read()` takes almost three times as long)."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        content = os.read(file, _USUAL_BYTES)
        while more := os.read(file, 1 << 20) if len(content) >= _USUAL_BYTES else b"":
            content += more
    except OSError:
        return b""
    finally:
        os.close(file)
    return content
