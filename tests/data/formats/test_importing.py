"""What becomes of labels of each format: the tables of the folder that is made, and what is said to be left out."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.sources import AVA, PERSON, box, choice, coco, cvat, key, label_studio, person, region, track
from tests.data.layouts import write_video
from tps_pipeline.data.formats.importing import Format, Imported, import_labels
from tps_pipeline.data.formats.keypoints import PARTS_OF_POINTS, part_boxes
from tps_pipeline.data.formats.neutral import Key, filled
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.lists import read_names
from tps_pipeline.data.validation import validate
from tps_pipeline.errors import DataError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "spin" / "v.mp4", frames=6)
    return folder


class Importer:
    """Imports a text into `out`."""

    def __init__(self, folder: Path, videos: Path) -> None:
        self.folder, self.videos, self.out = folder, videos, folder / "out"

    def __call__(self, content: str, kind: Format, *, name: str = "labels.xml") -> Imported:
        (self.folder / name).write_text(content)
        self.imported = import_labels(self.folder / name, self.out, kind, self.videos)
        return self.imported

    def left_out(self) -> dict[str, int]:
        return dict(self.imported.left_out.counts)

    def boxes(self, table: str, *more: str) -> list[tuple[Any, ...]]:
        """Rows of a table of the folder: frame, person, whatever else, and the box's corners across."""
        found = read_all(self.out)
        assert found.problems == []
        return [
            tuple(row[name] for name in ("frame", "person", *more, "x1", "x2"))
            for row in getattr(found, table).to_pylist()
        ]


@pytest.fixture
def imports(tmp_path: Path, videos: Path) -> Importer:
    return Importer(tmp_path, videos)


def test_cvat_fills_the_frames_between_and_carries_the_state(imports: Importer):
    head = track(
        1,
        "head",
        box(0, state="up"),
        box(2, left=20),
        box(3, left=20, state="down"),
        box(4, left=20, outside=1),
        group=3,
    )
    imports(cvat(PERSON, head), "cvat")
    assert imports.boxes("people") == [(n, 0, 10 * n, 10 * n + 19) for n in range(1, 7)]
    assert imports.boxes("parts", "state") == [
        (1, 0, "up", 10, 29), (2, 0, "up", 15, 34), (3, 0, "up", 20, 39), (4, 0, "down", 20, 39)
    ]  # fmt: skip
    found = read_all(imports.out)
    assert found.actions.to_pylist() == [{"video_id": "v", "action": "lunge"}]
    assert read_names(imports.out, "list/part_stat.txt").names == {"down": 1, "none": 2, "up": 3}  # type: ignore[union-attr]
    assert imports.left_out() == {}
    assert list(imports.imported.lines()) == [
        "1 video(s), 6 labelled frame(s)", "6 box(es) of people, 4 of 1 kind(s) of parts",
        "not carried over as it is: nothing",
    ]  # fmt: skip


def test_cvat_counts_a_skeleton_and_not_the_tracks_of_its_points(imports: Importer):
    points = "".join(
        f'<track id="{n}" label="{n}"><points frame="0" outside="0" points="1,1"/></track>' for n in (0, 1)
    )
    skeleton = f'<track id="1" label="bones"><skeleton frame="0" outside="0" points="1,1"/>{points}</track>'
    text = cvat(PERSON, skeleton, track(2, "head", box(0, state="up"), group=3))
    imports(text.replace("<source>v.mp4</source></task>", "</task><source>v.mp4</source>"), "cvat")
    assert imports.left_out() == {"skeletons, which are not boxes": 1}
    assert imports.boxes("parts", "state") == [(1, 0, "up", 10, 29)]


def test_cvat_names_a_new_person_by_the_track_and_takes_nobody_for_another(imports: Importer):
    one = track(0, "person", box(0, said="person=7")), track(1, "head", box(0, state="up", said="person=7"))
    new = track(7, "person", box(0, left=50))
    alone = track(9, "person", box(0, left=90)), track(10, "head", box(0, left=90, state="bent", said="person=9"))
    nobody = track(11, "nobody", box(3))
    imports(cvat(*one, new, *alone, nobody), "cvat")
    assert imports.boxes("parts", "state") == [(1, 0, "up", 10, 29), (1, 2, "bent", 90, 109)]
    assert read_all(imports.out).labelled_frames.select(["frame", "n_people"]).to_pylist() == [
        {"frame": 1, "n_people": 3}, {"frame": 4, "n_people": 0}
    ]  # fmt: skip


def test_cvat_takes_every_second_frame_where_the_task_does(imports: Importer):
    someone = track(0, "person", box(0), box(4, left=50))
    imports(cvat(someone, more="<frame_filter>step=2</frame_filter>"), "cvat")
    assert imports.boxes("people") == [(1, 0, 10, 29), (3, 0, 30, 49), (5, 0, 50, 69)]


def test_cvat_counts_and_names_what_it_leaves_out(imports: Importer):
    said = "person=anna"
    labels = "<labels>" + "".join(f"<label><name>{name}</name></label>" for name in ("person", "head")) + "</labels>"
    polygon = '<polygon frame="0" points="1,1;2,2;3,1"/>'
    imports(
        cvat(
            PERSON, track(1, "head", box(0, said=said), box(1, said=said, rotation=30), box(2, said=said, xbr=900)),
            track(2, "head", box(1)), track(3, "head", box(1, said="person=berta")), track(4, "cup", box(1)),
            track(5, "head", polygon), track(6, "head", box(5, said=said), box(6, said=said)), more=labels,
        ),
        "cvat",
    )  # fmt: skip
    assert imports.left_out() == {
        "rotated boxes": 1, "polygons, which are not boxes": 1, "boxes cut at the picture's edge": 1,
        "tracks of parts that belong to no person": 2, "tracks with a label that the task does not have": 1,
        "boxes past the end of their video": 1, "boxes of parts without a state, now 'none'": 3,
    }  # fmt: skip
    assert f"  rotated boxes: 1 (first: {imports.folder}/labels.xml: track 1, frame 1)" in imports.imported.lines()
    assert [row[:2] for row in imports.boxes("parts", "state")] == [(1, 0), (3, 0), (6, 0)]


def test_a_project_has_several_videos_and_one_that_is_missing_does_not_lose_the_others(imports: Importer):
    tasks = "".join(
        f"<task><id>{n}</id><name>t</name><source>{name}.mp4</source></task>" for n, name in ((1, "w"), (2, "v"))
    )
    tracks = "".join(f'<track id="{n}" task_id="{n}" label="person">{box(n)}</track>' for n in (1, 2))
    imports(f"<annotations><meta><project><tasks>{tasks}</tasks></project></meta>{tracks}</annotations>", "cvat")
    assert imports.boxes("people") == [(3, 0, 10, 29)]
    assert imports.left_out() == {f"videos that are not in {imports.videos}": 1}
    assert read_all(imports.out).actions["action"].to_pylist() == ["spin"], "the folder of the video"


def test_any_parts_are_written_and_listed(imports: Importer):
    horse = ["muzzle", "mane", *(f"{side}_{end}" for side in ("left", "right") for end in ("ear", "fore", "hind"))]
    parts = [track(n, part, box(0, state="still"), group=3) for n, part in enumerate(horse, 1)]
    imports(cvat(PERSON, *parts), "cvat")
    assert sorted(read_names(imports.out, "list/body_part.txt").names) == sorted(horse)  # type: ignore[union-attr]
    with tarfile.open(imports.out / "train_annotations" / "lunge" / "v.tar") as archive:
        file = archive.extractfile("v/img_00001.json")
        assert file
        (human,) = json.load(file)["humans"]
    assert human["number"] == 1
    assert human["parts"]["mane"] == {"box": [10, 20, 29, 59], "verb": "still"}


def test_the_folder_is_valid_and_the_video_no_copy(imports: Importer):
    parts = [track(n, part, box(0, state="up"), group=3) for n, part in enumerate(PARTS_OF_POINTS, 1)]
    imports(cvat(PERSON, *parts), "cvat")
    assert [str(problem) for problem in validate(imports.out)] == []
    made = imports.out / "train_videos" / "lunge" / "v.mp4"
    assert made.samefile(imports.videos / "spin" / "v.mp4"), "both are in one file system"


def test_coco_takes_parts_by_name_or_by_place(imports: Importer):
    def part(number: int, left: int, **said: Any) -> dict[str, Any]:
        return {"id": number, "image_id": 1, "category_id": 2, "bbox": [left, 30, 10, 10], **said}

    two = person(), person(id=9, bbox=[60, 20, 40, 100], attributes={"person": "b"})
    imports(coco(*two, part(10, 62, state="turn"), part(11, 20, attributes={"state": "up"}), part(12, 115)), "coco")
    assert imports.boxes("parts", "state") == [(1, 0, "up", 20, 29), (1, 1, "turn", 62, 71)]
    assert imports.left_out() == {"parts that belong to no person": 1}
    assert read_all(imports.out).labelled_frames["n_people"].to_pylist() == [2, 0], "nobody is in the second picture"
    imports.out = imports.folder / "again"
    imports(coco(*two, part(10, 62, person=7)), "coco")
    assert imports.boxes("parts") == [(1, 0, 62, 71)], "a person without a name is called by the annotation's id"


def test_coco_takes_frames_from_0_and_outlines(imports: Importer):
    outline = person(bbox=None, segmentation=[[10, 20, 50, 20, 30, 120]]), person(image_id=2, iscrowd=1)
    images = [{"id": n, "file_name": f"frames/v_frame_{n - 1:06}.png"} for n in (1, 2)]
    imports(coco(*outline, images=images), "coco")
    assert imports.boxes("people") == [(1, 0, 10, 49)]
    assert imports.left_out() == {
        "crowds": 1, "outlines, of which the box is kept": 1, "videos whose frames count from 0, now from 1": 1
    }  # fmt: skip


def test_coco_frames_without_a_video_s_name_are_of_the_video_that_the_file_is_called_after(imports: Importer):
    images = [{"id": n, "file_name": f"frame_{n:06}.PNG"} for n in (1, 2)]
    imports(coco(images=images), "coco", name="v.json")
    assert imports.boxes("people") == [(1, 0, 10, 49)]


def test_keypoints_are_boxes_with_margins():
    points = {"nose": (50.0, 10.0), "left_eye": (54.0, 8.0), "left_wrist": (20.0, 60.0), "left_hip": (45.0, 70.0)}
    assert part_boxes({**points, "withers": (5.0, 5.0)}, (0.0, 0.0, 100.0, 200.0)) == {
        "head": (40.0, -2.0, 64.0, 20.0), "left_hand": (10.0, 50.0, 30.0, 70.0), "withers": (-5.0, -5.0, 15.0, 15.0)
    }  # fmt: skip


def test_coco_makes_parts_of_keypoints_where_none_is_drawn(imports: Importer):
    categories = [
        {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "left_ankle"]},
        {"id": 2, "name": "head"},
    ]
    points = person(keypoints=[30, 30, 2, 34, 28, 1, 40, 110, 2])
    head = {"id": 8, "image_id": 1, "category_id": 2, "bbox": [12, 22, 5, 5]}
    imports(coco(points, head, categories=categories), "coco")
    assert imports.boxes("parts", "part") == [(1, 0, "head", 12, 16), (1, 0, "left_foot", 35, 44)]


def test_ava_gives_the_video_the_action_that_most_lines_have(imports: Importer):
    (imports.folder / "list.pbtxt").write_text('label {\n  name: "watch (a person)"\n  label_id: 80\n}\n')
    imports(AVA + "v,0.2,,,,,,\n", "ava", name="labels.csv")
    assert imports.boxes("people") == [(2, 0, 32, 63), (4, 0, 32, 63)]
    found = read_all(imports.out)
    assert found.actions["action"].to_pylist() == ["watch_a_person"]
    assert found.labelled_frames["n_people"].to_pylist() == [1, 1, 0]
    assert imports.left_out() == {"actions of people other than their video's": 1}
    assert not (imports.out / "list" / "body_part.txt").exists()


def test_label_studio_stays_where_it_is_enabled_and_ends_where_it_is_not(imports: Importer):
    imports(label_studio(), "labelstudio", name="labels.json")
    assert [row[0] for row in imports.boxes("people")] == [1, 2, 3, 4, 5, 6]
    assert imports.boxes("parts", "state") == [(1, 0, "turn", 32, 63), (2, 0, "turn", 35, 66), (3, 0, "turn", 38, 69)]
    assert read_all(imports.out).actions["action"].to_pylist() == ["lunge"]


def test_label_studio_ties_by_name_and_names_what_it_leaves_out(imports: Importer):
    brush = {"id": "b", "type": "brushlabels", "value": {"labels": ["head"]}}
    imports(
        label_studio(
            region("p", "person", key(1, enabled=False), key(3, enabled=False)), choice("p", "person", "anna"), brush,
            region("h", "head", key(1, enabled=False), key(2, enabled=False)), choice("h", "person", "anna"),
            region("i", "head", key(1)), region("j", "head", key(1, rotation=9)), choice("j", "person", "anna"),
        ),
        "labelstudio", name="labels.json",
    )  # fmt: skip
    assert imports.boxes("people") == [(1, 0, 32, 63), (3, 0, 32, 63)]
    assert imports.boxes("parts", "state") == [(1, 0, "none", 32, 63)]
    assert imports.left_out() == {
        "results of the type brushlabels": 1, "rectangles of parts that belong to no person": 1, "rotated boxes": 1,
        "boxes of parts in frames without their person": 1, "boxes of parts without a state, now 'none'": 1,
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60), st.booleans()), min_size=1, unique_by=lambda k: k[0]))
def test_a_box_between_two_keys_lies_between_them(drawn: list[tuple[int, int, bool]]):
    keys = [
        Key(frame, (float(x), 0.0, float(x + 5), 5.0), str(frame), shown, goes_on=shown)
        for frame, x, shown in sorted(drawn)
    ]
    boxes = dict(filled(keys, "here", last=20))
    for frame in range(1, 31):
        before = [key for key in keys if key.frame <= frame]
        after = [key for key in keys if key.frame >= frame]
        there = bool(before) and before[-1].shown and bool(after) and frame <= 20
        assert (frame in boxes) == there
        if there:
            ends = sorted((before[-1].edges[0], after[0].edges[0] if after[0].shown else before[-1].edges[0]))
            assert ends[0] <= boxes[frame].box[0] <= ends[1]
            assert boxes[frame].state == str(before[-1].frame)


def test_what_cvat_has_beside_tracks_is_counted(imports: Importer):
    imports(cvat(PERSON, '<tag frame="0" label="blurred"/>'), "cvat")
    assert imports.left_out() == {"elements that are no tracks": 1}
    assert imports.imported.left_out.first["elements that are no tracks"].endswith("labels.xml: <tag>")


def test_labels_without_people_say_how_people_are_labelled(imports: Importer):
    with pytest.raises(DataError, match=r"leaves nothing to import: tracks of parts that .*; label people as `person`"):
        imports(cvat(track(0, "Person", box(0))), "cvat")
