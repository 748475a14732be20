from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.psc import plain_psc
from tps_pipeline import tables
from tps_pipeline.cli.app import app
from tps_pipeline.data import submission
from tps_pipeline.data.challenge_json import read_submission, read_truth
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS

GOLDEN = Path(__file__).parent.parent / "golden" / "psc"
PART = {"box": [[1, 1, 5, 5]], "verb": ["none"]}


@pytest.mark.parametrize("case", ["case1", "case2", "case3"])
def test_golden_cases(case: str):
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    result = submission.evaluate(GOLDEN / case, GOLDEN / case)
    assert result.psc == pytest.approx(expected["psc"], abs=1e-12)
    assert result.correct == expected["correct"]
    assert result.score == pytest.approx(expected["score"], abs=1e-12)
    accuracy = {f"{float(key):.1f}": value for key, value in expected["pvacc"].items()}
    assert result.conditioned_accuracy == pytest.approx(accuracy, abs=1e-12)


def save(folder: Path, frames: Any, actions: Any = None, *, side: str = "pred") -> Path:
    (folder / f"{side}_part_result.json").write_text(json.dumps(frames))
    (folder / f"{side}_vid_result.json").write_text(json.dumps({"vid": "run"} if actions is None else actions))
    return folder


def one_person(**changes: Any) -> dict[str, Any]:
    human = {"box": [0, 0, 9, 9], "parts": {"head": PART}, **changes}
    return {"vid": {"img_00006.json": {"humans": [{"box": [0, 0, 3, 3], "parts": {}}, human]}}}


def test_a_single_flat_proposal_is_accepted(tmp_path: Path):
    parsing = read_submission(save(tmp_path, one_person(parts={"hip": {"box": [1, 2, 3, 4], "verb": "sit"}}))).parsing
    assert parsing.part_box.tolist() == [[1, 2, 3, 4]]
    assert (parsing.states, parsing.part.tolist(), parsing.part_person.tolist()) == (["sit"], [PARTS.index("hip")], [1])
    assert (parsing.videos, parsing.frame.tolist()) == (["vid"], [6])


def test_annotations_may_have_several_states_and_any_number_of_people(tmp_path: Path):
    frames = one_person(parts={"head": {"box": [1, 2, 3, 4], "verb": ["hold", "carry"]}})
    frames["vid"]["img_00006.json"]["humans"] *= 8
    truth = read_truth(save(tmp_path, frames, side="gt"))
    assert truth.actions == {"vid": "run"}
    assert len(truth.parsing.person_frame) == 16
    assert truth.parsing.states == ["hold", "carry"]
    assert truth.parsing.part_person.tolist() == [i for i in range(1, 16, 2) for _ in range(2)]


PLACE = "video vid, frame img_00006.json"
MALFORMED: dict[str, tuple[Any, list[str]]] = {
    "no person box": ({"vid": {"img_00006.json": {"humans": [{"parts": {}}]}}}, [PLACE, "person 1", "no `box`"]),
    "no parts": ({"vid": {"img_00006.json": {"humans": [{"box": [0, 0, 1, 1]}]}}}, [PLACE, "person 1", "no `parts`"]),
    "three coordinates": (one_person(box=[0, 0, 9]), [PLACE, "person 2", "length 4"]),
    "inverted person": (one_person(box=[9, 0, 0, 9]), [PLACE, "person 2", "x2 < x1"]),
    "text coordinate": (one_person(box=[0, 0, "a", 9]), [PLACE, "person 2", "float"]),
    "infinite coordinate": (one_person(box=[0, 0, float("inf"), 9]), [PLACE, "person 2", "float"]),
    "not a number": (
        one_person(parts={"head": {"box": [[0, 0, float("nan"), 9]], "verb": ["none"]}}),
        [PLACE, "person 2, head", "float"],
    ),
    "part without box": (one_person(parts={"head": {"verb": ["none"]}}), [PLACE, "person 2, head", "box"]),
    "part without verb": (one_person(parts={"head": {"box": [[0, 0, 1, 1]]}}), [PLACE, "person 2, head", "verb"]),
    "proposal of five numbers": (
        one_person(parts={"head": {"box": [[0, 0, 1, 1, 1]], "verb": ["none"]}}),
        [PLACE, "person 2, head", "length 4"],
    ),
    "more verbs than boxes": (
        one_person(parts={"head": {"box": [[0, 0, 1, 1]], "verb": ["none", "turn"]}}),
        [PLACE, "person 2, head", "1 boxes and 2 verbs"],
    ),
    "no proposals": (one_person(parts={"head": {"box": [], "verb": []}}), [PLACE, "person 2, head", "no `verb`"]),
    "six proposals": (
        one_person(parts={"head": {"box": [[0, 0, 1, 1]] * 6, "verb": ["none"] * 6}}),
        [PLACE, "person 2, head", "at most 5"],
    ),
    "unknown part": (one_person(parts={"tail": PART}), [PLACE, "person 2", "unknown part 'tail'", "left_arm"]),
    "eleven people": (
        {"vid": {"img_00006.json": {"humans": [{"box": [0, 0, 1, 1], "parts": {}}] * 11}}},
        [PLACE, "11 people", "at most 10"],
    ),
    "no humans": ({"vid": {"img_00006.json": {}}}, [PLACE, "humans"]),
    "frame name": ({"vid": {"6.jpg": {"humans": []}}}, ["video vid, frame 6.jpg", "img_00001.json"]),
    "frames in a list": ({"vid": []}, ["object"]),
    "no video": ({}, ["video vid", "not in"]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_submissions_are_refused_with_place_and_rule(tmp_path: Path, name: str):
    frames, words = MALFORMED[name]
    with pytest.raises(DataError) as error:
        read_submission(save(tmp_path, frames))
    for word in ["pred_part_result.json", *words]:
        assert word in str(error.value)


def test_files_that_are_not_there_or_not_json(tmp_path: Path):
    with pytest.raises(DataError, match=r"pred_part_result\.json cannot be read"):
        read_submission(tmp_path)
    save(tmp_path, one_person())
    (tmp_path / "pred_part_result.json").write_bytes(b'{"\x85": {}}')
    with pytest.raises(DataError, match=r"pred_part_result.json is not JSON"):
        read_submission(tmp_path)
    (tmp_path / "pred_part_result.json").write_bytes(b'{"vid": \xff')
    with pytest.raises(DataError, match=r"pred_part_result.json is not JSON"):
        read_submission(tmp_path)
    with pytest.raises(DataError, match=r"pred_vid_result.json.*str"):
        read_submission(save(tmp_path, one_person(), {"vid": 3}))


def test_a_submission_without_an_annotated_video_is_refused(tmp_path: Path):
    truth, found = tmp_path / "gt", tmp_path / "pred"
    truth.mkdir()
    found.mkdir()
    frames = {"vid": {}, "other": {}}
    save(truth, frames, {"vid": "run", "other": "sit"}, side="gt")
    save(found, {"vid": {}})
    with pytest.raises(DataError, match="lacks the annotated video other"):
        submission.evaluate(truth, found)


def people(verb: Any, *, box: Any = (1, 1, 50, 50)) -> dict[str, Any]:
    return {"humans": [{"box": [0, 0, 99, 99], "parts": {"head": {"box": box, "verb": verb}}}]}


FOUND = people(["none"], box=[[1, 1, 50, 50]])
SPELLINGS = {
    "half in another spelling": (["img_00001.json", "img_00006.json"], ["img_1.json", "img_00006.json"], 0.5),
    "both in the other one": (["img_1.json", "img_6.json"], ["img_1.json", "img_6.json"], 1.0),
    "longer": (["img_00001.json"], ["img_000001.json"], 0.0),
    "counted from 0": (["img_00000.json", "img_00005.json"], ["img_00000.json", "img_00005.json"], 1.0),
    "one early": (["img_00001.json", "img_00006.json"], ["img_00000.json", "img_00005.json"], 0.0),
    "both spellings in one file": (["img_00001.json"], ["img_1.json", "img_00001.json"], 1.0),
    "two frames for us, and for them": (["img_1.json", "img_00001.json"], ["img_1.json"], 0.5),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_frames_are_compared_by_name_as_the_challenge_does(tmp_path: Path, kind: str):
    annotated, submitted, psc = SPELLINGS[kind]
    truth = {"vid": {name: people("none") for name in annotated}}
    found = {"vid": dict.fromkeys(submitted, FOUND)}
    assert plain_psc(truth, found) == {"vid": psc}
    save(tmp_path, truth, side="gt")
    result = submission.evaluate(tmp_path, save(tmp_path, found))
    assert result.psc == {"vid": psc}
    assert result.score == pytest.approx(min(psc, 0.9999))


def test_the_score_that_the_published_evaluator_gives_half_a_submission_in_another_spelling(tmp_path: Path):
    truth = {v: {f"img_{n:05}.json": people("none") for n in range(1, 11)} for v in ("a", "b")}
    found = {
        "a": {f"img_{n}.json": FOUND for n in range(1, 11)},
        "b": {f"img_{n:05}.json": FOUND for n in range(1, 11)},
    }
    actions = {"a": "run", "b": "run"}
    save(tmp_path, truth, actions, side="gt")
    assert submission.evaluate(tmp_path, save(tmp_path, found, actions)).score == pytest.approx(0.49995)


HUMANS = '{"vid": {"img_00006.json": {"humans": [{"box": [0, 0, 9, %s], "parts": {"head": {"box": %s, "verb": %s}}}]}}}'
HOSTILE = {
    "100,000 brackets": "[" * 100_000,
    "closed brackets": "[" * 100_000 + "]" * 100_000,
    "brackets in a frame": '{"vid": {"img_00001.json": %s}}' % ('{"a":' * 100_000 + "1" + "}" * 100_000),
    "brackets beside people": '{"vid": {"img_00001.json": {"humans": [], "x": %s}}}' % ("[" * 100_000 + "]" * 100_000),
    "a frame number of 30 digits": json.dumps({"vid": {f"img_{'9' * 30}.json": {"humans": []}}}),
    "a frame number of 6000 digits": json.dumps({"vid": {f"img_{'9' * 6000}.json": {"humans": []}}}),
    "a frame number above what fits": json.dumps({"vid": {f"img_{1 << 24}.json": {"humans": []}}}),
    "a negative frame number": json.dumps({"vid": {"img_-0001.json": {"humans": []}}}),
    "a frame without a number": json.dumps({"vid": {"img_.json": {"humans": []}}}),
    "Arabic digits": json.dumps({"vid": {"img_٠٠٠٠١.json": {"humans": []}}}),
    "half a character": '{"\\ud800": {}}',
    "a line break in a name": json.dumps({"a\nb": {"x\ny": {"humans": []}}}),
    "half of UTF-16": "\ufeff{".encode("utf-16-le")[:-1],
    "no text": b"\xff\xfe\x00\xd8",
    "nothing": b"",
}
TOO_LARGE = ["1e400", "-1e400", "NaN", "Infinity", "1e308", "1" + "0" * 400, "9" * 5000, "9" * 20]
for size in TOO_LARGE:
    HOSTILE[f"a person's box of {size[:9]}, {len(size)}"] = HUMANS % (size, "[[1, 1, 5, 5]]", '["none"]')
    HOSTILE[f"a part's box of {size[:9]}, {len(size)}"] = HUMANS % ("9", f"[[1, 1, 5, {size}]]", '["none"]')


@pytest.mark.parametrize("side", ["gt", "pred"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_is_in_a_file_evaluate_answers_in_a_line_that_names_it(tmp_path: Path, kind: str, side: str):
    for name in ("gt", "pred"):
        save(tmp_path, {"vid": {"img_00006.json": {"humans": []}}}, side=name)
    content = HOSTILE[kind]
    path = tmp_path / f"{side}_part_result.json"
    if side == "gt" and isinstance(content, str):
        content = content.replace("[[1", "[1").replace("]]", "]").replace('["none"]', '"none"')
    path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    result = CliRunner().invoke(app, ["evaluate", "--gt", str(tmp_path), "--pred", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert type(result.exception) is SystemExit
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr
    assert len(result.stderr) < 1000


def test_files_in_another_unicode_are_read(tmp_path: Path):
    for side, found in (("gt", people("none")), ("pred", FOUND)):
        save(tmp_path, {"vid": {"img_00006.json": found}}, {"vid": "Kür"}, side=side)
    expected = submission.evaluate(tmp_path, tmp_path)
    for path, encoding in zip(sorted(tmp_path.iterdir()), ("utf-8-sig", "utf-16", "utf-16-be", "utf-32"), strict=True):
        path.write_bytes(json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode(encoding))
    assert submission.evaluate(tmp_path, tmp_path) == expected


Rows = list[dict[str, Any]]


def prediction(video: str, frame: int, person: int, *, part: str = "head", **changes: Any) -> dict[str, Any]:
    row = {"video_id": video, "frame": frame, "person": person, "part": part, "person_score": 0.5, "part_score": 0.5}
    row |= dict(zip(tables.PERSON_BOX, (10, 20, 59, 99), strict=True)) | dict(
        zip(tables.BOX, (12, 22, 30, 40), strict=True)
    )
    return {**row, "state": "none", "state_score": 1.0, "state_scores": {}, **changes}


def as_tables(rows: Rows, videos: list[str], frames: list[tuple[str, int]]) -> dict[str, Any]:
    actions = {"video_id": videos, "action": ["run"] * len(videos), "score": [1.0] * len(videos)}
    columns = {name: [row[name] for row in rows] for name in tables.PREDICTIONS.names}
    listed = {"video_id": [v for v, _ in frames], "frame": [f for _, f in frames], "n_people": [0] * len(frames)}
    return {
        "predictions": tables.conform(columns, tables.PREDICTIONS) if rows else tables.empty(tables.PREDICTIONS),
        "video_actions": tables.conform({**actions, "probabilities": [{}] * len(videos)}, tables.VIDEO_ACTIONS),
        "frames": tables.conform(listed, tables.LABELLED_FRAMES),
    }


FRAMES = [("a", 1), ("a", 6), ("b", 1)]


def test_written_submission_has_every_frame_and_keeps_the_best(tmp_path: Path):
    rows = [prediction("a", 6, p, person_score=p / 20, person_x1=p) for p in range(12)]
    rows += [prediction("a", 6, 11, part="hip", part_score=s / 10, x1=s, state=f"s{s}") for s in range(1, 8)]
    for row in rows:
        if row["person"] == 11:
            row.update(person_score=11 / 20, person_x1=11)
    path = submission.write(tmp_path / "out", **as_tables(rows, ["b", "a", "unreadable"], FRAMES))

    content = json.loads((tmp_path / "out" / "pred_part_result.json").read_text())
    assert {video: list(frames) for video, frames in content.items()} == {
        "a": ["img_00001.json", "img_00006.json"],
        "b": ["img_00001.json"],
        "unreadable": [],
    }
    assert content["b"]["img_00001.json"] == {"humans": []}
    humans = content["a"]["img_00006.json"]["humans"]
    assert [human["box"][0] for human in humans] == list(range(11, 1, -1))
    assert [human["number"] for human in humans] == list(range(1, 11))
    hip = humans[0]["parts"]["hip"]
    assert hip["verb"] == ["s7", "s6", "s5", "s4", "s3"]
    assert (hip["number"], hip["name"], hip["box"][0]) == (5, "hip", [7, 22, 30, 40])
    assert all(type(value) is int for human in humans for value in human["box"])

    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pred_part_result.json", "pred_vid_result.json"]
        assert json.loads(archive.read("pred_part_result.json")) == content
        assert json.loads(archive.read("pred_vid_result.json")) == {"a": "run", "b": "run", "unreadable": "run"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "pred_part_result.json", "pred_vid_result.json", "submission.zip"
    ]  # fmt: skip


def test_equal_submissions_are_equal_bytes(tmp_path: Path):
    rows = [prediction("a", 6, p) for p in range(3)]
    one = submission.write(tmp_path / "one", **as_tables(rows, ["a", "b"], FRAMES))
    other = submission.write(tmp_path / "two", **as_tables(rows[::-1], ["b", "a"], FRAMES[::-1]))
    assert one.read_bytes() == other.read_bytes()


def test_what_is_written_is_read_back(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = [
        prediction(video, frame, p, part=part, x1=int(rng.integers(0, 30)), state=str(rng.choice(["bend", "none"])))
        for video, frame in FRAMES
        for p in range(3)
        for part in PARTS
    ]
    submission.write(tmp_path, **as_tables(rows, ["a", "b"], FRAMES))
    parsing = read_submission(tmp_path).parsing
    found = {
        (parsing.videos[parsing.frame_video[f]], int(parsing.frame[f]), PARTS[parsing.part[row]],
         *parsing.part_box[row], parsing.states[parsing.state[row]])
        for row, f in enumerate(parsing.person_frame[parsing.part_person])
    }  # fmt: skip
    assert found == {(r["video_id"], r["frame"], r["part"], r["x1"], 22, 30, 40, r["state"]) for r in rows}
    assert len(parsing.part) == len(rows)


@pytest.mark.parametrize(
    ("rows", "videos", "message"),
    [
        (lambda: [prediction("a", 11, 0)], ["a", "b"], "video a, frame 11: predicted, but not one of the sampled"),
        (lambda: [prediction("c", 1, 0)], ["a", "b"], "video c has frames but no action"),
        (list, ["a"], "video b has frames but no action"),
        (lambda: [prediction("a", 6, 0, x1=31)], ["a", "b"], "video a, frame 6, head: .*x2 < x1"),
        (lambda: [prediction("a", 6, 0, person_x1=60)], ["a", "b"], "img_00006.json, person 1: .*x2 < x1"),
    ],
)
def test_a_wrong_export_leaves_what_was_there(
    tmp_path: Path, rows: Callable[[], Rows], videos: list[str], message: str
):
    before = submission.write(tmp_path, **as_tables([], ["a", "b"], FRAMES)).read_bytes()
    with pytest.raises(DataError, match=message):
        submission.write(tmp_path, **as_tables(rows(), videos, FRAMES))
    assert (tmp_path / submission.ZIP).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
