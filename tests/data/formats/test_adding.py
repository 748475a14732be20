"""Labels into a data folder that is there: added whole, or refused with nothing changed."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.data.formats.sources import FRAMES, PERSON, box, cvat, track
from tests.data.layouts import write_video
from tps_pipeline.data.formats.importing import Imported, import_labels
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.lists import read_frame_counts, read_names
from tps_pipeline.data.validation import validate
from tps_pipeline.errors import DataError

COUNTS = "list/video_train_flist.csv"


def part(name: str, state: str) -> str:
    return track(1, name, box(0, state=state), box(2, state=state), group=3)


class Folder:
    """A data folder with the labels of the video `v`, and one more video that may be added."""

    def __init__(self, folder: Path, videos: Path) -> None:
        self.folder, self.videos, self.out = folder, videos, folder / "out"
        self.add("v", part("head", "up"))

    def add(self, video: str, *tracks: str) -> Imported:
        (self.folder / "labels.xml").write_text(cvat(PERSON, *tracks, source=f"{video}.mp4"))
        return import_labels(self.folder / "labels.xml", self.out, "cvat", self.videos)

    def files(self) -> dict[str, str]:
        return {
            path.relative_to(self.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.out.rglob("*")) if path.is_file()
        }  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("v", "w"):
        write_video(folder / f"{name}.mp4", frames=FRAMES)
    return folder


@pytest.fixture
def folder(tmp_path: Path, videos: Path) -> Folder:
    return Folder(tmp_path, videos)


def test_a_video_is_added_with_its_labels_parts_and_states(folder: Folder):
    before = folder.files()
    folder.add("w", part("left_fin", "flap"))
    found = read_all(folder.out)
    assert {(row["video_id"], row["part"], row["state"]) for row in found.parts.to_pylist()} == {
        ("v", "head", "up"), ("w", "left_fin", "flap")
    }  # fmt: skip
    assert list(read_names(folder.out, "list/body_part.txt").names) == ["head", "left_fin"]  # type: ignore[union-attr]
    assert {*read_names(folder.out, "list/part_stat.txt").names} == {"none", "up", "flap"}  # type: ignore[union-attr]
    assert read_frame_counts(folder.out, COUNTS).names == {"v": FRAMES, "w": FRAMES}
    assert validate(folder.out) == []
    after = folder.files()
    assert {name for name in after if before.get(name) != after[name]} == {
        "train_videos/lunge/w.mp4", "train_annotations/lunge/w.tar", "list/body_part.txt", "list/part_stat.txt", COUNTS
    }  # fmt: skip


def test_the_same_once_more_changes_nothing_and_says_so(folder: Folder):
    before = folder.files()
    imported = folder.add("v", part("head", "up"))
    assert imported.left_out.counts["videos that were there already, with the same labels"] == 1
    assert folder.files() == before


def test_other_labels_of_a_video_are_refused_with_all_that_comes_with_them(folder: Folder):
    before = folder.files()
    with pytest.raises(DataError, match=r"labels of v are there already, and are not these: train_annotations/lunge/v"):
        folder.add("v", part("head", "down"))
    (folder.folder / "both").mkdir()
    for name, state in {"v": "down", "w": "up"}.items():
        (folder.folder / "both" / f"{name}.xml").write_text(cvat(PERSON, part("head", state), source=f"{name}.mp4"))
    with pytest.raises(DataError, match="labels of v are there already"):
        import_labels(folder.folder / "both", folder.out, "cvat", folder.videos)
    assert folder.files() == before


def test_a_video_of_the_same_name_elsewhere_is_refused(folder: Folder):
    (folder.out / "test_videos").mkdir()
    shutil.copy(folder.videos / "w.mp4", folder.out / "test_videos")
    with pytest.raises(DataError, match=r"a video called w is there already: test_videos/w.mp4; move it away"):
        folder.add("w", part("head", "up"))


def test_an_import_that_was_cut_off_is_finished_by_the_same_once_more(folder: Folder):
    whole = folder.files()
    (folder.out / "train_videos" / "lunge" / "v.mp4").unlink()  # labels come first
    folder.add("v", part("head", "up"))
    assert folder.files() == whole


def test_lists_that_were_written_by_hand_stay_as_they_were_meant(folder: Folder):
    (folder.out / COUNTS).write_text("video;frames\nv;6")
    (folder.out / "list" / "part_stat.txt").unlink()
    (folder.out / "list" / "body_part.txt").write_bytes("0 head".encode("utf-16"))
    folder.add("w", part("left_fin", "flap"))
    assert (folder.out / COUNTS).read_text() == f"video;frames\nv;6\nw;{FRAMES}\n"
    assert not (folder.out / "list" / "part_stat.txt").exists()  # any state is known without
    assert (folder.out / "list" / "body_part.txt").read_text() == "0 head\nleft_fin\n"


def test_a_folder_of_other_things_is_refused(folder: Folder):
    shutil.rmtree(folder.out)
    (folder.out / "letters").mkdir(parents=True)
    with pytest.raises(DataError, match="is there already, and is no data folder; name a data folder, or a new one"):
        folder.add("v")
