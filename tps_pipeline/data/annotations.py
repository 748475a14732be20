"""Where a data folder keeps each video's labels, and how to read them: folders, tar files, ground truth files.

Training labels are `train_annotations/<class>/<video>/img_00001.json` (one more `<video>` level is accepted), or
the same inside `train_annotations.tar`, `train_annotations/<class>.tar` or
`train_annotations/<class>/<video>.tar`, or inside an archive of another kind (`compressed.SUFFIXES`). Labels of test
videos, used for evaluation only, are `gt/gt_vid_result.json` and `gt/gt_part_result.json`, as the challenge's
evaluator reads them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from tps_pipeline.data import tar
from tps_pipeline.data.compressed import archive_stem, opened
from tps_pipeline.data.encoding import as_utf8, is_utf8
from tps_pipeline.data.layout import Problem, entries, unused
from tps_pipeline.errors import DataError
from tps_pipeline.plain_file import PLAIN, NotPlainError, content, descriptor, unreachable

ROOT = "train_annotations"
"""The folder, or the archive without its ending, of the training videos' labels."""

Runs = tuple[tuple[int, int | None], ...]
"""Stretches of a tar file, from the first header to the end of the last member."""

MAX_LABELS = 32 << 20
"""Bytes of one frame's labels, which have 1.4 kB on average."""
MAX_LABELS_OF_VIDEO = 512 << 20
"""Bytes of one video's labels together."""

_TOO_LARGE = (
    f"is too large: a frame's labels have at most {MAX_LABELS >> 20} MiB, a video's {MAX_LABELS_OF_VIDEO >> 20}"
)

_USUAL_BYTES = 16384
"""Most label files are far smaller (1.4 kB on average); larger buffers cost page faults."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REPACK = "re-create or re-download it"
_FRAME = "a frame's labels (img_00001.json)"


class Source(NamedTuple):
    """Where one video's label files are."""

    video_id: str
    """Which video."""
    action: str | None
    """The class folder above the video's."""
    path: Path
    """A folder, or an archive."""
    runs: Runs = ()
    """The parts of the archive to read; empty for a folder."""


class LabelFile(msgspec.Struct, frozen=True, gc=False):
    """One frame's labels, as found."""

    where: str
    """Its path for a reader of problems."""
    name: str
    """The file's name, which tells the frame."""
    content: bytes
    """Its bytes: JSON, not yet decoded."""


@dataclass
class Index:
    """All label files of the training videos."""

    sources: dict[str, Source] = field(default_factory=dict)
    """By video id."""
    problems: list[Problem] = field(default_factory=list)
    """Entries that were left out, and why."""

    def add(self, source: Source, where: str) -> None:
        """Take a video's labels in; of two places the first counts."""
        if not is_utf8(f"{source.action}/{source.video_id}"):
            self.problems.append(Problem(where, "has a name that is not UTF-8", "rename it; it is left out"))
            return
        first = self.sources.setdefault(source.video_id, source)
        if first is not source:
            what = f"labels of {source.video_id} are also in {first.path.name} ({first.action})"
            self.problems.append(Problem(where, what, "keep one of the two; the first is used"))


def find_annotations(data: Path) -> Index:
    """Find every training video's label files, without opening them; folders come before archives."""
    index = Index()
    whole = [path for path in entries(data) if archive_stem(path.name) == ROOT]
    archives: list[tuple[Path, tuple[str, ...]]] = [(path, ()) for path in whole]
    for entry in entries(data / ROOT):
        stem = archive_stem(entry.name)
        if entry.is_dir():
            _add_class(index, entry, data)
        elif stem and entry.is_file():
            archives.append((entry, (stem,)))
        else:
            where = entry.relative_to(data).as_posix()
            index.problems.append(unused(where, among="a class's folder, or an archive that is read"))
    for path, prefix in archives:
        if path.is_dir():
            index.problems.append(unused(path.name, among="an archive of labels"))
        else:
            _add_archive(index, path, prefix, where=path.relative_to(data).as_posix())
    return index


def read_files(source: Source, data: Path) -> tuple[list[LabelFile], list[Problem]]:
    """Read one video's label files, sorted by frame.

    Returns:
        The files, and what else lies among them.

    Raises:
        UnreachableError: A file cannot be read now.
    """
    where = source.path.relative_to(data).as_posix()
    if source.runs:
        files, problems = _read_archive(source, where)
    else:
        files, problems = _read_folder(source.path, where, source.video_id)
    if not files:
        problems.append(Problem(where, f"has no labels of {source.video_id}", "put img_00001.json, ... there"))
    return _by_frame(files), problems


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
    """What is wrong with the two files."""

    def files(self, video_id: str) -> tuple[list[LabelFile], list[Problem]]:
        """One video's labelled frames, sorted by frame."""
        where = f"{GROUND_TRUTH}:{video_id}"
        try:
            frames = msgspec.json.decode(self.videos.get(video_id, b"{}"), type=dict[str, msgspec.Raw])
        except (ValueError, RecursionError) as error:
            return [], [Problem(where, f"is not a table of frames: {error}", _REPACK)]
        files = [LabelFile(f"{where}/{name}", name, bytes(raw)) for name, raw in frames.items()]
        return _by_frame(files), []


MAX_TRUTH = 4 << 30
"""Bytes of a ground truth file: 40 times the challenge's."""
GROUND_TRUTH_ACTIONS = "gt/gt_vid_result.json"
"""The challenge evaluator's file of the test videos' actions."""

GROUND_TRUTH = "gt/gt_part_result.json"
"""The challenge evaluator's file of the test videos' people and parts."""


def find_ground_truth(data: Path) -> GroundTruth:
    """Load the test videos' ground truth, if the data folder has any; the last one loaded is kept in memory."""
    return _ground_truth(data, tuple(_stamp(path) for path in _ground_truth_paths(data)))


def _stamp(path: Path) -> tuple[int, int] | None:
    """A file's size and time; None if it is not there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreachable(path, error) from error
    return found.st_size, found.st_mtime_ns


def _ground_truth_paths(data: Path) -> tuple[Path, Path]:
    return data / GROUND_TRUTH_ACTIONS, data / GROUND_TRUTH


@functools.lru_cache(maxsize=1)
def _ground_truth(data: Path, _stamps: tuple[tuple[int, int] | None, ...]) -> GroundTruth:
    problems = []
    actions: dict[str, str] = {}
    videos: dict[str, msgspec.Raw] = {}
    actions_path, videos_path = _ground_truth_paths(data)
    try:
        named = as_utf8(content(actions_path, limit=MAX_TRUTH)) if _stamps[0] else b"{}"
        actions = msgspec.json.decode(named, type=dict[str, str])
    except (ValueError, RecursionError) as error:
        problems.append(Problem(GROUND_TRUTH_ACTIONS, f"is not a table of video and class: {error}", _REPACK))
    try:
        frames = as_utf8(content(videos_path, limit=MAX_TRUTH)) if _stamps[1] else b"{}"
        videos = msgspec.json.decode(frames, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        problems.append(Problem(GROUND_TRUTH, f"is not a table of videos: {error}", _REPACK))
    return GroundTruth(actions, videos, tuple(problems))


def _add_class(index: Index, folder: Path, data: Path) -> None:
    for inner in entries(folder):
        where, stem = inner.relative_to(data).as_posix(), archive_stem(inner.name)
        if inner.is_dir():
            index.add(Source(inner.name, folder.name, inner), where)
        elif stem and inner.is_file():
            index.add(Source(stem, folder.name, inner, ((0, None),)), where)
        elif _is_label_file(inner.name):
            fix = f"move it to {ROOT}/{folder.name}/<video>/"
            index.problems.append(Problem(where, "is not in a video's folder", fix))
        else:
            index.problems.append(unused(where, among="a video's folder, or an archive that is read"))


def _add_archive(index: Index, path: Path, prefix: tuple[str, ...], *, where: str) -> None:
    found = _archive_folders(path, _stamp(path) or (0, 0))
    index.problems += [unused(f"{where}:{name}", among=_FRAME) for name in found.unused]
    if found.damage:
        index.problems.append(Problem(where, found.damage, f"{_REPACK}; what comes before is used"))
    elif not found.folders:
        index.problems.append(Problem(where, "has no labels", "pack <class>/<video>/img_00001.json, ..."))
    for folder, runs in found.folders.items():
        names = [*prefix, *(name for name in folder.split("/") if name not in ("", "."))]
        if ROOT in names:
            names = names[names.index(ROOT) + 1 :]
        if not names:
            index.problems.append(Problem(where, "has label files outside a video's folder", "pack <class>/<video>/"))
            continue
        action = names[0] if len(names) > 1 else None
        index.add(Source(names[-1], action, path, runs), f"{where}:{folder}")


class _Folders(NamedTuple):
    """What an archive holds."""

    folders: dict[str, Runs]
    """Where each folder's label files are."""
    unused: list[str]
    """Other files."""
    damage: str | None


@functools.lru_cache(maxsize=64)
def _archive_folders(path: Path, _stamp: tuple[int, int]) -> _Folders:
    """Where each folder's label files are in an archive, and what is wrong with it; the answer is remembered."""
    folders: dict[str, list[tuple[int, int | None]]] = {}
    others: list[str] = []
    damage = None
    try:
        archive, damage = opened(path)
        for member in tar.members(archive):
            name = posixpath.basename(member.name)
            if not _is_label_file(name):
                others += [] if name.startswith(".") else [member.name]
                continue
            runs = folders.setdefault(posixpath.dirname(member.name), [])
            if runs and runs[-1][1] == member.start:
                runs[-1] = (runs[-1][0], member.end)
            else:
                runs.append((member.start, member.end))
    except NotPlainError as error:
        damage = str(error)
    except DataError as error:
        damage = damage or str(error)
    except OSError as error:
        raise unreachable(path, error) from error
    return _Folders({folder: tuple(runs) for folder, runs in folders.items()}, others, damage)


def _read_archive(source: Source, where: str) -> tuple[list[LabelFile], list[Problem]]:
    files: list[LabelFile] = []
    problems: list[Problem] = []
    damage, total = None, 0
    try:
        archive, damage = opened(source.path)
        for start, end in source.runs:
            for member in tar.members(archive, start=start, end=end):
                name = posixpath.basename(member.name)
                if not _is_label_file(name):
                    problems += [] if name.startswith(".") else [unused(f"{where}:{member.name}", among=_FRAME)]
                elif target := member if member.link is None else _linked(source.path, member):
                    total += target.size
                    if target.size > MAX_LABELS or total > MAX_LABELS_OF_VIDEO:
                        problems.append(Problem(f"{where}:{member.name}", _TOO_LARGE, "pack the frame's labels alone"))
                        continue
                    said = bytes(archive[target.data : target.data + target.size])
                    files.append(LabelFile(f"{where}:{member.name}", name, said))
                else:
                    what = f"is no file, or a link to {member.link or 'nothing'}, which is not in the archive"
                    problems.append(Problem(f"{where}:{member.name}", what, "pack the file itself"))
    except (DataError, NotPlainError) as error:
        damage = damage or str(error)
    except OSError as error:
        raise unreachable(source.path, error) from error
    if damage and source.runs == ((0, None),):  # of others the index says it
        problems.append(Problem(where, damage, f"{_REPACK}; what comes before is used"))
    return files, problems


def _linked(path: Path, member: tar.Member) -> tar.Member | None:
    """The file that a link in an archive leads to."""
    stat = path.stat()
    return tar.resolve(member, _archive_files(path, (stat.st_size, stat.st_mtime_ns)))


@functools.lru_cache(maxsize=4)
def _archive_files(path: Path, _stamp: tuple[int, int]) -> dict[str, tar.Member]:
    return tar.files_by_name(opened(path).content)


def _read_folder(folder: Path, where: str, video_id: str) -> tuple[list[LabelFile], list[Problem]]:
    try:
        at = os.open(folder, _FOLDER)
    except OSError as error:
        raise unreachable(folder, error) from error
    try:
        return _read_opened(at, folder, where, video_id)
    finally:
        os.close(at)


def _read_opened(at: int, folder: Path, where: str, video_id: str) -> tuple[list[LabelFile], list[Problem]]:
    files: list[LabelFile] = []
    problems: list[Problem] = []
    try:
        with os.scandir(at) as listing:
            entries = [*listing]
    except OSError as error:
        raise unreachable(folder, error) from error
    left = MAX_LABELS_OF_VIDEO
    for entry in entries:
        name = entry.name
        if _is_label_file(name):
            try:
                said = _read(entry, folder, at, limit=min(MAX_LABELS, left))
            except NotPlainError as error:
                problems.append(Problem(f"{where}/{name}", str(error), "put the frame's labels there, or delete it"))
                continue
            left -= len(said)
            files.append(LabelFile(f"{where}/{name}", name, said))
        elif name == video_id and (folder / name).is_dir():
            inner = _read_folder(folder / name, f"{where}/{name}", video_id)
            files, problems = files + inner[0], problems + inner[1]
        elif (folder / name).is_dir() and not name.startswith("."):
            what, fix = "is a folder among a video's labels; nothing in it is used", f"move its labels to {where}/"
            problems.append(Problem(f"{where}/{name}", what, fix))
        elif not name.startswith("."):
            problems.append(unused(f"{where}/{name}", among=_FRAME))
    return files, problems


def _by_frame(files: list[LabelFile]) -> list[LabelFile]:
    """Sorted by name, short ones first: in the frames' order."""
    return sorted(sorted(files, key=attrgetter("name")), key=lambda file: len(file.name))


def _is_label_file(name: str) -> bool:
    return name[-5:].lower() == ".json" and not name.startswith(".")


def _read(entry: os.DirEntry[str], folder: Path, at: int, *, limit: int) -> bytes:
    """A small file's content by the fewest and shortest system calls (`open().read()` takes three times as long)."""
    try:
        is_file = entry.is_file(follow_symlinks=False)  # which the folder's listing says
        file = os.open(entry.name, PLAIN, dir_fd=at) if is_file else descriptor(folder / entry.name)
    except OSError as error:
        raise unreachable(folder / entry.name, error) from error
    try:
        content = os.read(file, _USUAL_BYTES)
        while more := os.read(file, 1 << 20) if len(content) >= _USUAL_BYTES else b"":
            content += more
            if len(content) > limit:
                raise NotPlainError(_TOO_LARGE)
    except OSError as error:
        raise unreachable(folder / entry.name, error) from error
    finally:
        os.close(file)
    return content
