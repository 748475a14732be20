"""Small Kinetics-TPS folders, in all the layouts that its annotations come in."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa

from tps_pipeline.data.kinetics_tps import read_annotations
from tps_pipeline.data.layout import Problem
from tps_pipeline.data.shards import Known, ingest
from tps_pipeline.recipe import Shards

HUMAN: dict[str, Any] = {
    "number": 1,
    "box": [10, 20, 110, 220],
    "parts": {
        "left_arm": {"number": 1, "name": "left_arm", "box": [12, 30, 40, 90], "verb": "bend"},
        "head": {"box": [40, 20, 70, 50], "verb": ["none", "turn"]},
    },
}
FRAME = {"humans": [HUMAN, {"box": [0, 0, 5, 5], "parts": {}}]}


def write_frames(folder: Path, frames: Mapping[int, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame, content in frames.items():
        (folder / f"img_{frame:05}.json").write_text(content if isinstance(content, str) else json.dumps(content))


VIDEOS = {"lunge/v1": {1: FRAME, 6: {"humans": []}}, "juggling_balls/v2": {3: FRAME}}


def as_folders(data: Path) -> None:
    for video, frames in VIDEOS.items():
        write_frames(data / "train_annotations" / video, frames)


def with_another_level(data: Path) -> None:
    for video, frames in VIDEOS.items():
        write_frames(data / "train_annotations" / video / Path(video).name, frames)


def pack(archive: Path, folder: Path, *, name: str, format_: int) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w", format=format_) as file:
        file.add(folder, arcname=name)


def as_one_tar(data: Path, format_: int = tarfile.PAX_FORMAT) -> None:
    as_folders(data / "elsewhere")
    pack(
        data / "train_annotations.tar", data / "elsewhere/train_annotations", name="train_annotations", format_=format_
    )


def as_one_tar_without_root(data: Path) -> None:
    as_folders(data / "elsewhere")
    pack(data / "train_annotations.tar", data / "elsewhere/train_annotations", name=".", format_=tarfile.GNU_FORMAT)


def as_class_tars(data: Path) -> None:
    as_folders(data / "elsewhere")
    for folder in (data / "elsewhere" / "train_annotations").iterdir():
        target = data / "train_annotations" / f"{folder.name}.tar"
        pack(target, folder, name=folder.name, format_=tarfile.USTAR_FORMAT)


def as_video_tars(data: Path) -> None:
    as_folders(data / "elsewhere")
    for folder in (data / "elsewhere" / "train_annotations").glob("*/*"):
        pack(
            data / "train_annotations" / folder.parent.name / f"{folder.name}.tar",
            folder,
            name=folder.name,
            format_=tarfile.GNU_FORMAT,
        )


LAYOUTS = [as_folders, with_another_level, as_one_tar, as_one_tar_without_root, as_class_tars, as_video_tars]


def add_videos(data: Path, *, train: tuple[str, ...] = (), test: tuple[str, ...] = ()) -> Path:
    for folder, names in (("train_videos", train), ("test_videos", test)):
        for name in names:
            path = data / folder / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    return data


def write_video(path: Path, *, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 240, "yuv420p"
        for _ in range(frames):
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.full((240, 128, 3), sum(path.stem.encode()) % 256, np.uint8))
            ):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def manifest(*rows: tuple[str, str, str | None]) -> pa.Table:
    names = pa.schema([("video_id", pa.string()), ("split", pa.string()), ("action", pa.string())])
    return pa.Table.from_pylist([dict(zip(names.names, row, strict=True)) for row in rows], schema=names)


TRAIN = manifest(("v1", "train", "lunge"), ("v2", "val", "juggling_balls"))


def write_files(data: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return data


def told_by_a_run(data: Path) -> list[Problem]:
    """What ingestion and the reading of labels say of a folder, as a run does."""
    found = ingest(data, Known(), Shards(videos_per_shard=4, val_fraction=0.25))
    read = [read_annotations(data, shard).problems for shard in found.shards.values()]
    return found.problems + [problem for problems in read for problem in problems]
