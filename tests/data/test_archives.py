"""Labels in archives are the labels in folders; a damaged archive is named, and what comes before it is used."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.layouts import (
    TRAIN,
    VIDEOS,
    add_videos,
    as_folders,
    pack,
    told_by_a_run,
)
from tps_pipeline.data import compressed
from tps_pipeline.data.kinetics_tps import read_all, read_annotations
from tps_pipeline.data.shards import Known, ingest
from tps_pipeline.recipe import Shards


def source_of(data: Path) -> Path:
    as_folders(data / ".elsewhere")
    return data / ".elsewhere" / "train_annotations"


def as_zip(data: Path, *, name: Callable[[str], str] = str) -> None:
    source = source_of(data)
    with zipfile.ZipFile(data / "train_annotations.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in source.rglob("*.json"):
            archive.writestr(name(path.relative_to(source.parent).as_posix()), path.read_bytes())


def as_zip_of_windows(data: Path) -> None:
    as_zip(data, name=lambda name: name.replace("/", "\\"))


def as_compressed(data: Path, suffix: str, pack: Callable[[bytes], bytes] = bytes) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.add(source_of(data), arcname="train_annotations")
    (data / f"train_annotations{suffix}").write_bytes(pack(plain.getvalue()))


def as_compressed_classes(data: Path) -> None:
    for folder in source_of(data).iterdir():
        path = data / "train_annotations" / f"{folder.name}.TGZ"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, arcname=folder.name)


def as_zipped_videos(data: Path) -> None:
    for folder in source_of(data).glob("*/*"):
        path = data / "train_annotations" / folder.parent.name / f"{folder.name}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)


def as_links(data: Path, kind: bytes = tarfile.LNKTYPE, filler: str = "") -> None:
    """A tar whose second video is nothing but links to the first one's, and long names where asked for."""
    inside = f"lunge/{filler}v0"
    files = {f"lunge/v1/img_{n:05}.json": content for n, content in VIDEOS["lunge/v1"].items()}
    with tarfile.open(data / "train_annotations.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            member, text = tarfile.TarInfo(f"{inside}/{name}"), json.dumps(content).encode()
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        links = {name: f"{inside}/{name}" for name in files}
        links["juggling_balls/v2/img_00003.json"] = f"{inside}/lunge/v1/img_00001.json"
        for name, target in links.items():
            member = tarfile.TarInfo(f"./{name}")
            up = "../" * (name.count("/")) if kind == tarfile.SYMTYPE else ""
            member.type, member.linkname = kind, up + target
            archive.addfile(member)


def joined(data: Path) -> None:
    """Two tar files one after the other, as `cat` makes them."""
    whole = b""
    for folder in sorted(source_of(data).iterdir()):
        pack(data / ".one.tar", folder, name=folder.name, format_=tarfile.USTAR_FORMAT)
        whole += (data / ".one.tar").read_bytes()
    (data / "train_annotations.tar").write_bytes(whole)


ARCHIVES: dict[str, Callable[[Path], None]] = {
    ".tar.gz": lambda data: as_compressed(data, ".tar.gz", gzip.compress),
    ".tgz": lambda data: as_compressed(data, ".tgz", gzip.compress),
    ".tar.xz": lambda data: as_compressed(data, ".tar.xz", lzma.compress),
    ".tar.bz2": lambda data: as_compressed(data, ".tar.bz2", bz2.compress),
    ".tar that is compressed": lambda data: as_compressed(data, ".tar", gzip.compress),
    ".TAR": lambda data: as_compressed(data, ".TAR"),
    ".zip": as_zip,
    ".zip of Windows": as_zip_of_windows,
    "classes .TGZ": as_compressed_classes,
    "videos .zip": as_zipped_videos,
    "joined": joined,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_archive_gives_the_same_tables_and_the_same_digests(tmp_path: Path, kind: str):
    data, plain = tmp_path / "data", tmp_path / "plain"
    data.mkdir()
    ARCHIVES[kind](data)
    as_folders(plain)
    assert read_annotations(data, TRAIN) == read_annotations(plain, TRAIN)
    shards = [
        ingest(add_videos(folder, train=("lunge/v1", "juggling_balls/v2")), Known(), Shards(val_fraction=0.0)).shards
        for folder in (data, plain)
    ]
    assert shards[0]["train-000"]["annotations"].to_pylist() == shards[1]["train-000"]["annotations"].to_pylist()


@pytest.mark.parametrize("filler", ["", "long" * 30 + "/"])
@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_in_a_tar_are_the_files_that_they_lead_to(tmp_path: Path, kind: bytes, filler: str):
    data, plain = tmp_path / "data", tmp_path / "plain"
    data.mkdir()
    as_links(data, kind, filler)
    as_folders(plain)
    found = read_annotations(data, TRAIN)
    assert found == read_annotations(plain, TRAIN)
    assert found.people.num_rows == 4


def damaged_archives(data: Path) -> dict[str, bytes]:
    as_compressed(data, ".tar")
    plain = (data / "train_annotations.tar").read_bytes()
    (data / "train_annotations.tar").unlink()
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        last = archive.getmembers()[-1]
    link = tarfile.TarInfo("lunge/v1/img_00009.json")
    link.type, link.linkname = tarfile.LNKTYPE, "nowhere.json"
    packed = gzip.compress(os.urandom(3000) + plain)
    return {
        "cut off between two files": plain[: last.offset],
        "cut off in a file": plain[: last.offset_data + 10],
        "a link that leads nowhere": plain[: last.offset] + link.tobuf() + bytes(1024),
        "cut off where it is compressed": packed[: len(packed) - 8],
        "nothing": b"",
        "no archive": b"labels" * 200,
        "no zip": b"PK\3\4" + b"labels" * 200,
        "no gzip": b"\x1f\x8b" + b"labels" * 200,
    }


def test_damaged_archives_are_named_and_what_comes_before_is_used(tmp_path: Path):
    add_videos(tmp_path, train=("lunge/v1", "juggling_balls/v2"))
    for kind, content in damaged_archives(tmp_path).items():
        (tmp_path / "train_annotations.tar").write_bytes(content)
        found = read_all(tmp_path)
        assert any(problem.path.startswith("train_annotations.tar") for problem in found.problems), kind
        assert all("\n" not in str(problem) for problem in found.problems)
        assert found.labelled_frames.num_rows == (2 if kind.startswith(("cut off between", "cut off in", "a l")) else 0)
        assert {problem.path for problem in told_by_a_run(tmp_path)} == {problem.path for problem in found.problems}


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compressed, "MAX_UNPACKED", 1 << 20)
    for name, content in (("train_annotations.tgz", gzip.compress(bytes(3 << 20))), ("train_annotations.zip", b"")):
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "train_annotations.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lunge/v1/img_00001.json", bytes(3 << 20))
    named = [problem.what for problem in read_all(tmp_path).problems]
    assert sum("unpacks to more than" in what for what in named) == 2
