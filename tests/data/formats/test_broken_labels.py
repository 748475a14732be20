"""Labels that break a rule of their format: one line with file, element and fix, and nothing is written."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.formats.sources import (
    AVA,
    PERSON,
    box,
    choice,
    coco,
    cvat,
    key,
    label_studio,
    person,
    region,
    track,
)
from tests.data.layouts import write_video
from tps_pipeline.cli.app import app

BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'


def with_type(declared: str) -> str:
    return cvat(track(0, "person", box(0, said="person=&b;"))).replace("<annotations>", f"{declared}<annotations>", 1)


CVAT = {
    "half of it": (cvat(PERSON)[:-40], "is no whole XML"),
    "nothing": ("", "is no whole XML"),
    "an XML bomb": (with_type(BOMB), "has an entity or a document type"),
    "an external entity": (with_type(OUTSIDE), "has an entity or a document type"),
    "another encoding than it says": (cvat(PERSON).encode().replace(b"anna", b"ann\xe9"), "is no whole XML"),
    "an encoding that is none": (cvat(PERSON).replace("utf-8", "utf-9"), "is no whole XML"),
    "another file": ("<svg/>", "<svg>: is not CVAT's <annotations>"),
    "CVAT for images": (cvat('<image id="4" name="a.jpg"/>'), "image 4: is of `CVAT for images`"),
    "no meta": (f"<annotations>{PERSON}</annotations>", "track 0: comes before the file's <meta>"),
    "no task": ("<annotations><meta/></annotations>", "has no <meta> that names a video"),
    "a track without a label": (cvat(PERSON.replace('label="person"', "")), "track 0: <track> has no label"),
    "a box without a frame": (cvat(track(4, "person", box(None))), "track 4: <box> has no frame"),  # type: ignore[arg-type]
    "a box without a corner": (cvat(track(4, "person", box(2, xbr=None))), "track 4, frame 2: <box> has no xbr"),
    "a frame before the first": (cvat(track(4, "person", box(-1))), "track 4: frame is '-1', which is no whole number"),
    "a corner in words": (cvat(track(4, "person", box(2, xtl="left"))), "track 4, frame 2: xtl is 'left'"),
    "a box of nan": (cvat(track(4, "person", box(2, xtl="nan"))), "track 4, frame 2: the box [nan, 20, 30, 60] is not"),
    "a negative size": (cvat(track(4, "person", box(2, xbr=3))), "track 4, frame 2: the box [10, 20, 3, 60] has a neg"),
    "a huge box": (cvat(track(4, "person", box(2, xbr=1e9))), "track 4, frame 2: the box"),
    "two tracks of one number": (cvat(PERSON, PERSON), "track 0: is there twice"),
    "two boxes in a frame": (cvat(track(4, "person", box(2), box(2))), "track 4, frame 2: is there twice"),
    "frames out of order": (cvat(track(4, "person", box(2), box(1))), "track 4: has boxes that are not in the order"),
    "two people of one name": (
        cvat(PERSON, track(4, "person", box(2, said="person=anna"))), "track 4: is a second person called anna in fr"
    ),
    "two heads of a person": (
        cvat(PERSON, *(track(n, "head", box(2, said="person=anna")) for n in (4, 5))), "track 5: is a second head"
    ),
    "a task that is not there": (cvat(PERSON.replace('id="0"', 'id="0" task_id="9"')), "track 0: is of the task 9"),
    "another size": (cvat(PERSON, size=(1920, 1080)), "task v.mp4: is labelled in 1920x1080, and"),
    "frames past the end": (cvat(track(4, "person", box(6), box(7))), "boxes past the end of their video: 2"),
    "another video": (cvat(PERSON, source="w.mp4").replace("<name>t</name>", ""), "videos that are not in"),
    "an action that is no name": (cvat(PERSON.replace("lunge", "../../lunge")), "v: the action '../../lunge'"),
    "a state that is no name": (
        cvat(PERSON, track(4, "head", box(2, state="up, down", said="person=anna"))), "the state 'up, down' can"
    ),
}  # fmt: skip

COCO = {
    "half of it": (coco()[:-9], "Input data was truncated"),
    "no pictures": ("{}", "Object missing required field `images`"),
    "a box of nan": (coco().replace("[10,", "[NaN,"), "JSON is malformed"),
    "a box of three": (coco(person(bbox=[1, 2, 3])), "of length 4 - at `$.annotations[0].bbox`"),
    "a negative size": (coco(person(bbox=[10, 20, -4, 9])), "annotation 7: the box [10, 20, 6, 29] has a neg"),
    "a picture that is not there": (coco(person(image_id=9)), "annotation 7: is of the image 9, which is not there"),
    "a category that is not there": (coco(person(category_id=9)), "annotation 7: is of the category 9"),
    "two pictures of one number": (coco(images=[{"id": 1, "file_name": "v/1.jpg"}] * 2), "image 1: is there twice"),
    "two pictures of a frame": (
        coco(images=[{"id": n, "file_name": f"v/{n:0{n}}.jpg".replace("2", "1")} for n in (1, 2)]),
        "image 2 (v/01.jpg): is a second picture of frame 1 of v",
    ),
    "another size": (
        coco(images=[{"id": 1, "file_name": "v/1.jpg", "width": 64, "height": 48}]), "image 1 (v/1.jpg): has 64x48, and"
    ),
    "two people of one name": (
        coco(person(person="a"), person(id=9, person="a")), "annotation 9: is a second person called a"
    ),
    "keypoints of nothing": (coco(person(keypoints=[1, 2, 2])), "annotation 7: has 3 numbers of keypoints"),
    "a polygon of words": (coco(person(bbox=None, segmentation=[["a", "b"]])), "annotation 7: has a segmentation that"),
    "frames past the end": (
        coco(images=[{"id": 1, "file_name": "v/img_00007.jpg"}]), "boxes past the end of their video: 2"
    ),
    "UTF-16 cut off": (coco().encode("utf-16")[:-1], "is not text as it says it is, from byte"),
}  # fmt: skip

AVA_LINES = {
    "a column too many": (AVA + "v,0,0,0,1,1,2,3,4\n", "line 4: has 9 columns"),
    "a column too few": (AVA + "v,0,0,0,1,1\n", "line 4: has 6 columns"),
    "a box of nan": (AVA.replace("0.75", "nan"), "line 3: 'nan' is no number"),
    "a negative size": (AVA.replace("0.75", "0.1"), "line 3: the box [32, 60, 64, 24] has a negative size"),
    "pixels": (AVA.replace("0.75", "120"), "line 3: the box 0.25,0.25,0.5,120 is not in shares of the picture"),
    "two boxes of a person": (AVA.replace("0.5,80", "0.6,80", 1), "line 2: is a second box of the person 1"),
    "a negative time": (AVA.replace("0.12", "-3"), "line 3: the time -3 is negative"),
    "a quote that does not end": (AVA + 'v,"0.04', "line 4: is no CSV"),
    "no text": (b"v,\xff\xfe,1\n", "is not text as it says it is, from byte 2"),
    "times past the end": ("v,902,0.1,0.1,0.5,0.5,12,1\n", "boxes past the end of their video: 1"),
}  # fmt: skip

LABEL_STUDIO = {
    "half of it": (label_studio()[:-9], "Input data was truncated"),
    "JSON-MIN": (json.dumps([{"video": "v.mp4", "box": []}]), "Object missing required field `data` - at `$[0]`"),
    "no video": (label_studio(data={"video": 3}), "task 5: names no video in its data"),
    "a corner in words": (label_studio(region("p", "person", key(1, x="a"))), "Expected `float`, got `str`"),  # type: ignore[arg-type]
    "a negative size": (label_studio(region("p", "person", key(1, width=-5))), "region p, frame 1: the box"),
    "a size that is none": (label_studio(region("p", "person", key(1, width=1e9))), "frame 1: the rectangle is not in"),
    "frame 0": (label_studio(region("p", "person", key(0))), "region p, frame 0: frames count from 1"),
    "a frame twice": (label_studio(region("p", "person", key(1), key(1))), "region p, frame 1: is there twice"),
    "a region twice": (label_studio(*[region("p", "person", key(1))] * 2), "region p: is there twice"),
    "two people of one name": (
        label_studio(*(r for n in "pq" for r in (region(n, "person", key(1)), choice(n, "person", "a")))),
        "region q: is a second person called a in frame 1",
    ),
    "a rectangle past the end": (label_studio(region("p", "person", key(7))), "key frames past the end of their vid"),
    "nobody's labels": (label_studio(annotations=[]), "tasks that nobody has labelled: 1"),
}  # fmt: skip

CASES = [
    pytest.param(kind, suffix, content, message, id=f"{kind}: {what}")
    for kind, suffix, cases in (
        ("cvat", "xml", CVAT), ("coco", "json", COCO), ("ava", "csv", AVA_LINES), ("labelstudio", "json", LABEL_STUDIO)
    )
    for what, (content, message) in cases.items()
]  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "v.mp4", frames=6)
    return folder


@pytest.mark.parametrize(("kind", "suffix", "content", "message"), CASES)
def test_broken_labels_are_one_line_and_nothing_is_written(
    videos: Path, tmp_path: Path, kind: str, suffix: str, content: str | bytes, message: str
):
    source = tmp_path / f"labels.{suffix}"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ["data", "import", str(source), str(tmp_path / "out"), "--from", kind, "--videos", str(videos)]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert message in line
    assert "; " in line  # what to do
    assert str(source) in line or "the labels" in line or line.startswith("tps: v:")
    assert list(tmp_path.iterdir()) == [source]


def test_there_are_at_least_forty_of_them():
    assert len(CASES) >= 40


@pytest.mark.parametrize("kind", ["cvat", "coco", "ava", "labelstudio"])
def test_labels_that_are_not_there_no_labels_and_a_folder_that_is_full(videos: Path, tmp_path: Path, kind: str):
    def said(source: Path, out: Path) -> str:
        done = CliRunner().invoke(
            app, ["data", "import", str(source), str(out), "--from", kind, "--videos", str(videos)]
        )
        assert done.exit_code == 1
        return done.stderr

    assert "is not there" in said(tmp_path / "none.xml", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "file; name the file or the folder" in said(tmp_path / "empty", tmp_path / "out")
    content, suffix = {
        "cvat": (cvat(PERSON), "xml"), "coco": (coco(), "json"), "ava": (AVA, "csv"),
        "labelstudio": (label_studio(), "json"),
    }[kind]  # fmt: skip
    (tmp_path / "empty" / f"labels.{suffix}").write_text(content)
    assert "is there already, and is no data folder" in said(tmp_path / "empty", tmp_path)
    assert "in a folder that is not there" in said(tmp_path / "empty", tmp_path / "a" / "b")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", f"labels.{suffix}"]


def test_two_videos_of_one_name_and_a_video_labelled_twice(videos: Path, tmp_path: Path):
    def said(source: Path, folder: Path) -> str:
        return (
            CliRunner()
            .invoke(
                app, ["data", "import", str(source), str(tmp_path / "out"), "--from", "cvat", "--videos", str(folder)]
            )
            .stderr
        )

    for name in ("a", "b"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.xml").write_text(cvat(PERSON))
        write_video(tmp_path / "two" / name / "v.mp4", frames=6)
    assert "b.xml: labels v, which was labelled before; keep one" in said(tmp_path / "labels", videos)
    assert "task v.mp4: two videos are called v: " in said(tmp_path / "labels", tmp_path / "two")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_cannot_be_written_leaves_nothing(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", full)
    monkeypatch.setattr("shutil.copy2", full)
    (tmp_path / "labels.xml").write_text(cvat(PERSON))
    command = ["data", "import", str(tmp_path / "labels.xml"), str(tmp_path / "out"), "--from", "cvat"]
    done = CliRunner().invoke(app, [*command, "--videos", str(videos)])
    assert "no room is left on the disk of" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["labels.xml"]
