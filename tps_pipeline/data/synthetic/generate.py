"""Writing a whole data set in the Kinetics-TPS layout."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import string
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np

from tps_pipeline.data.synthetic import landmarked, video
from tps_pipeline.data.synthetic.cast import ACTIONS
from tps_pipeline.data.synthetic.props import OBJECTS
from tps_pipeline.data.synthetic.states import STATES
from tps_pipeline.data.synthetic.varied import video as varied
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS

EVALUATED_EVERY = 5
"""Step between the frames of a test video that are annotated: 1, 6, 11, ... as in the challenge."""

LABELLED_SHARE = 0.6
"""Share of a training video's frames with labels, in one stretch; Kinetics-TPS labels 151 of about 259."""

LENGTH_SPREAD = 0.12
"""Share by which a video is at most shorter or longer than asked for."""

ENCODER = {"preset": "veryfast", "threads": "1", "bf": "2"}
"""Options of libx264; one thread, so that the same frames give the same file."""

Kind = Literal["plain", "varied", "motion"]
"""What the videos are like: drawn people in drawn scenes, pictures that vary as real ones do (`varied`), or landmarks
alone (`landmarked`)."""

_KINDS = {"plain": video, "varied": varied, "motion": landmarked}

if platform.machine() in ("x86_64", "AMD64"):
    # With AVX-512 libx264 is not repeatable: the same pictures gave different bytes from one run to the next.
    ENCODER["x264-params"] = "asm=sse4.2"
_NAME = string.ascii_letters + string.digits + "_-"


Made = tuple[str, int, dict[str, Any]]
"""A finished video: its name, number of frames and (in test) annotations by file name."""


@dataclass(frozen=True)
class Job:
    """One video to make: everything it depends on.

    Attributes:
        out: Folder of the data set.
        index: Number of the video.
        seed: The data set's seed.
        action: What it shows.
        split: `train` or `test`.
        frames: About how many.
        size: Width and height.
        kind: What it is like.
    """

    out: Path
    index: int
    seed: int
    action: str
    split: str
    frames: int
    size: tuple[int, int]
    kind: Kind = "plain"


def generate(
    out: Path,
    *,
    videos: int,
    seed: int,
    width: int = 320,
    height: int = 240,
    frames: int = 120,
    classes: int | Sequence[str] | None = None,
    test_fraction: float = 0.2,
    kind: Kind = "plain",
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Make a data set: whole, or not at all.

    The same arguments give the same files, byte for byte, whatever `processes` is.

    Args:
        out: Folder to make; must not exist or be empty.
        videos: How many, train and test together.
        seed: Seed of everything.
        width: Pixels, even.
        height: Pixels, even.
        frames: About how many a video.
        classes: Names of actions, or how many of `ACTIONS`; all without.
        test_fraction: Share of the videos that go to the test split; of `motion` none, as nobody can be detected in it.
        kind: What the videos are like; of varied ones every frame is labelled, and sizes are about the one given.
        processes: How many processes draw.
        progress: Called with the number of videos done so far.

    Raises:
        DataError: `out` is not empty, or an argument cannot work.
    """
    out = Path(out).absolute()
    actions = _actions(classes, kind)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; choose another one or remove it first")
    if videos < 1 or frames < 2 or width < 64 or height < 64 or width % 2 or height % 2:
        raise DataError("need at least 1 video, 2 frames, and an even width and height of at least 64 pixels")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    any_job = Job(part, 0, seed, "", "", frames, (width, height), kind)
    jobs = _jobs(any_job, actions, videos, 0.0 if kind == "motion" else test_fraction)
    try:
        made = []
        for result in _run(jobs, processes):
            made.append(result)
            if progress:
                progress(len(made))
        _write_lists(part, jobs, made, landmarked.STATES if kind == "motion" else STATES)
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _actions(classes: int | Sequence[str] | None, kind: Kind) -> list[str]:
    known = list(landmarked.ACTIONS if kind == "motion" else ACTIONS)
    if classes is None:
        return known
    if isinstance(classes, int):
        if not 1 <= classes <= len(known):
            raise DataError(f"classes must be 1 to {len(known)}, not {classes}")
        return known[:classes]
    unknown = [name for name in classes if name not in known]
    if unknown or not classes:
        raise DataError(f"unknown actions {unknown}; known: {', '.join(known)}")
    return list(classes)


def _jobs(job: Job, actions: list[str], videos: int, test_fraction: float) -> list[Job]:
    """Actions in turn; within each action every 1/test_fraction-th video is a test video, offsets differing."""
    jobs = []
    for index in range(videos):
        turn, kind = divmod(index, len(actions))
        share = test_fraction * (turn + 1) + (kind * 0.618) % 1.0
        split = "test" if int(share) > int(share - test_fraction) else "train"
        jobs.append(replace(job, index=index, action=actions[kind], split=split))
    return jobs


def _run(jobs: list[Job], processes: int) -> Iterator[Made]:
    if processes <= 1:
        yield from map(make, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, jobs)


def video_name(seed: int, index: int) -> str:
    """A name like those of Kinetics clips: an eleven-character id and the clip's seconds."""
    rng = np.random.default_rng([seed, index, 1])
    start = int(rng.integers(0, 300))
    letters = "".join(_NAME[i] for i in [*rng.integers(0, 52, 1), *rng.integers(0, len(_NAME), 10)])
    return f"{letters}_{start:06d}_{start + 10:06d}"


def make(job: Job) -> Made:
    """Write one video and (in train) its annotations; returns its name, number of frames and evaluated labels."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([job.seed, job.index])
    name = video_name(job.seed, job.index)
    count = max(2, round(job.frames * rng.uniform(1 - LENGTH_SPREAD, 1 + LENGTH_SPREAD)))
    evaluated = np.arange(count) % EVALUATED_EVERY == 0
    labelled = evaluated if job.split == "test" else _stretch(count, rng)
    if job.split == "train" and job.kind == "varied":
        labelled = np.ones(count, bool)  # such videos are short: what varies is from one to the next
    kind = _KINDS[job.kind]
    take = kind.shoot(job.action, frames=count, size=job.size, rng=rng)
    path = job.out / f"{job.split}_videos" / job.action / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = _encode(path, take, kind.frames_of(take, labelled))
    if job.split == "train":
        folder = job.out / "train_annotations" / job.action / name
        folder.mkdir(parents=True)
        for file, label in labels.items():
            (folder / file).write_text(json.dumps(label, separators=(",", ":")))
    return name, count, labels if job.split == "test" else {}


def _stretch(count: int, rng: np.random.Generator) -> np.ndarray:
    length = max(1, round(LABELLED_SHARE * count))
    start = int(rng.integers(0, count - length + 1))
    return (np.arange(count) >= start) & (np.arange(count) < start + length)


def _encode(path: Path, take: Any, frames: Iterator[tuple[np.ndarray, dict[str, Any] | None]]) -> dict[str, Any]:
    labels, options = {}, ENCODER | {"crf": str(take.quality)}
    with av.open(f"file:{path.absolute()}", "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=take.fps, options=options)
        stream.width, stream.height = take.size
        stream.pix_fmt = "yuv420p"
        for index, (picture, label) in enumerate(frames):
            planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
            if label is not None:
                labels[f"img_{index + 1:05d}.json"] = label
        container.mux(stream.encode(None))
    return labels


def _write_lists(out: Path, jobs: list[Job], made: list[Made], states: Sequence[str]) -> None:
    for folder in ("list", "gt", "train_videos", "test_videos", "train_annotations"):
        (out / folder).mkdir(exist_ok=True)
    objects = ["none", "others", *OBJECTS]
    for file, names in (("body_part", PARTS), ("part_stat", states), ("object", objects)):
        (out / "list" / f"{file}.txt").write_text("".join(f"{name}\n" for name in names))
    for split in ("train", "test"):
        with (out / "list" / f"video_{split}_flist.csv").open("w", newline="") as file:
            rows = [(name, count) for job, (name, count, _) in zip(jobs, made, strict=True) if job.split == split]
            csv.writer(file, lineterminator="\n").writerows(rows)
    tests = [
        (job.action, name, labels) for job, (name, _, labels) in zip(jobs, made, strict=True) if job.split == "test"
    ]
    results = {"vid": {name: action for action, name, _ in tests}, "part": {name: labels for _, name, labels in tests}}
    for kind, result in results.items():
        (out / "gt" / f"gt_{kind}_result.json").write_text(json.dumps(result, separators=(",", ":")))
