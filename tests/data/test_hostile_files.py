"""Files that would hang, fill the memory or break a table: each is named, the others are read."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.layouts import FRAME, write_frames
from tps_pipeline.data import annotations, compressed, tar
from tps_pipeline.data.annotations import LabelFile, find_annotations, find_ground_truth, read_files
from tps_pipeline.data.decoding import VideoFiles, decode
from tps_pipeline.data.frame_labels import MAX_PEOPLE
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.lists import STATES, TOLD, read_names
from tps_pipeline.errors import DataError, UnreachableError


def _packed(*names: str) -> bytearray:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            packed.addfile(info, io.BytesIO(b"abc"))
    return bytearray(out.getvalue())


@pytest.mark.parametrize("size", [b"-0000001000", b"-0000000512", b"+0000000003", b"0_000000003", b"0o000000003", b"9"])
def test_a_size_that_is_none_ends_an_archive(size: bytes):
    archive = _packed("a", "b")
    archive[124:136] = size.ljust(12, b"\0")
    with pytest.raises(DataError, match="no tar header at byte 0"):
        list(tar.members(bytes(archive)))


def test_too_many_members_end_an_archive(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tar, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="more than 2 members"):
        list(tar.members(bytes(_packed("a", "b", "c"))))


def test_a_name_without_end_ends_an_archive():
    long = bytearray(_packed("a"))
    long[156:157] = b"L"
    long[124:136] = f"{tar._MAX_NAME + 512:011o}\0".encode()
    with pytest.raises(DataError, match="a name of"):
        list(tar.members(bytes(long) + bytes(tar._MAX_NAME + 1024)))


@settings(max_examples=200, deadline=10_000)
@given(st.lists(st.tuples(st.integers(0, 1535), st.integers(0, 255)), max_size=8))
def test_any_tar_bytes_are_members_or_a_message(changes: list[tuple[int, int]]):
    archive = _packed("c/v/img_00001.json", "b")
    for at, value in changes:
        archive[at] = value
    with suppress(DataError):
        for member in tar.members(bytes(archive)):
            assert 0 <= member.data <= member.data + member.size <= len(archive)


def test_a_header_of_digits_alone_takes_no_longer_than_others():
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = b"x", tar._MAX_NAME
    began = time.process_time()
    assert not list(tar.members(pax.tobuf(tarfile.GNU_FORMAT) + b"1" * pax.size + bytes(1024)))
    assert time.process_time() - began < 5


def test_a_list_of_numbers_alone_takes_no_longer_than_others(tmp_path: Path):
    (tmp_path / STATES).parent.mkdir()
    (tmp_path / STATES).write_text(f"bend{' 1' * 100_000} unbend {'1 ' * 100_000}\n" + "a,b\n" * (TOLD + 5))
    began = time.process_time()
    listed = read_names(tmp_path, STATES)
    assert time.process_time() - began < 5
    assert listed
    assert [str(problem) for problem in listed.problems[TOLD:]] == [
        f"{STATES}: 5 more lines are passed over; correct or delete them"
    ]


PEOPLE = '{"box": [1, 1, 2, 2], "parts": {}}'


@settings(max_examples=200, deadline=10_000)
@given(st.text(max_size=40) | st.sampled_from(["[" * 9999, "1" * 9999, '"\\ud800"', "1e400", "-0", PEOPLE]))
def test_any_label_is_labels_or_a_message(value: str):
    good = LabelFile("v/img_00001.json", "img_00001.json", json.dumps(FRAME).encode())
    for text in (f'{{"humans": [{value}]}}', f'{{"humans": [], "o": [{{"box": {value}, "name": "a"}}]}}', value):
        content = text.encode("utf-8", "surrogatepass")
        found = decode([VideoFiles("v", [good, LabelFile("v/img_00002.json", "img_00002.json", content)])], None)
        assert all(str(problem) for problem in found.problems)


@pytest.mark.parametrize(("count", "left_out"), [(MAX_PEOPLE, False), (MAX_PEOPLE + 1, True), (40_000, True)])
def test_more_people_than_a_table_numbers_are_one_frame_less(count: int, left_out: bool):
    crowd = ('{"humans": [' + ",".join([PEOPLE] * count) + "]}").encode()
    small = ('{"humans": [' + PEOPLE + "]}").encode()
    found = decode(
        [VideoFiles("v", [LabelFile("v/1.json", "1.json", crowd), LabelFile("v/2.json", "2.json", small)])], None
    )
    assert found.labelled_frames["frame"].to_pylist() == ([2] if left_out else [1, 2])
    assert [f"at most {MAX_PEOPLE} in a frame" in str(problem) for problem in found.problems] == [True] * left_out


def _fifo(path: Path):
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_fifo, _endless])
def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path, make: Callable[[Path], None]):
    write_frames(tmp_path / "train_annotations/bend/v", {1: FRAME})
    for name in ("train_annotations/bend/v/img_00099.json", STATES, "train_annotations.tar", "gt/gt_part_result.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make(tmp_path / name)
    index = find_annotations(tmp_path)
    files, problems = read_files(index.sources["v"], tmp_path)
    listed = read_names(tmp_path, STATES)
    assert files
    assert all(file.name != "img_00099.json" for file in files)
    named = [*index.problems, *problems, *find_ground_truth(tmp_path).problems, *(listed.problems if listed else ())]
    assert sum("is no file" in str(problem) for problem in named) == 4
    assert read_all(tmp_path).problems


def test_labels_too_large_are_named(tmp_path: Path):
    folder = tmp_path / "train_annotations/bend/v"
    write_frames(folder, {1: FRAME})
    with (folder / "img_00099.json").open("wb") as file:
        file.truncate(annotations.MAX_LABELS + 1)
    _, problems = read_files(find_annotations(tmp_path).sources["v"], tmp_path)
    assert ["is too large" in problem.what for problem in problems] == [True]


def test_labels_that_cannot_be_read_now_are_no_result(tmp_path: Path):
    folder = tmp_path / "train_annotations/bend/v"
    write_frames(folder, {1: FRAME})
    (folder / "img_00099.json").symlink_to(tmp_path / "unmounted")
    with pytest.raises(UnreachableError, match=r"img_00099\.json cannot be read now"):
        read_files(find_annotations(tmp_path).sources["v"], tmp_path)


def test_a_zip_that_swells_and_a_link_of_megabytes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "train_annotations.zip"
    with zipfile.ZipFile(path, "w") as packed:
        link = zipfile.ZipInfo("c/v/img_00001.json")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, b"x" * 10_000)
    assert "is a link of 10000 bytes" in str(compressed.opened(path).damage)
    with pytest.raises(DataError, match="times its size"):
        compressed._limit(2 << 30, 1000)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_no_room_to_unpack_is_no_damage(tmp_path: Path, suffix: str, number: int, monkeypatch: pytest.MonkeyPatch):
    """Labels would be fewer, and recorded so: the archive is read when there is room."""
    write_frames(tmp_path / "labels/lunge/v1", dict.fromkeys(range(1, 40), FRAME))
    archive = tmp_path / f"data/train_annotations{suffix}"
    kind = {".tar.gz": "gztar", ".tar.bz2": "bztar", ".tar.xz": "xztar", ".zip": "zip"}[suffix]
    shutil.make_archive(str(archive).removesuffix(suffix), kind, tmp_path / "labels")

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(number, os.strerror(number))

    def full(prefix: str) -> Full:
        return Full()

    with monkeypatch.context() as patched:
        patched.setattr(compressed.tempfile, "TemporaryFile", full)
        for _ in range(2):
            with pytest.raises(UnreachableError, match=r"cannot be (unpacked|read) now") as said:
                find_annotations(tmp_path / "data")
            assert str(archive) in str(said.value)
    index = find_annotations(tmp_path / "data")
    assert not index.problems
    assert set(index.sources) == {"v1"}
