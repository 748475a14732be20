"""Data of other parts than the ten: a tool's three, a hand's twenty-one, a horse's twelve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.plain_psc import plain_psc, to_tables
from tps_pipeline import psc, recipe, tables
from tps_pipeline.actions import trajectory
from tps_pipeline.actions.motion import described
from tps_pipeline.actions.people import people_of
from tps_pipeline.checks import missing_sides
from tps_pipeline.cli.app import app
from tps_pipeline.data import submission
from tps_pipeline.data.challenge_json import parse_submission, parse_truth
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.detection.datasets import classes, join_state, part_samples, part_state_samples, split_state
from tps_pipeline.detection.tracks import track
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.errors import DataError
from tps_pipeline.graph import Run
from tps_pipeline.labels import PARTS, PERSON, parts_of, swapped
from tps_pipeline.lineage import Lineage
from tps_pipeline.methods.part_states import LabelSpace, targets_by
from tps_pipeline.methods.trajectories import classifier
from tps_pipeline.methods.trajectories.sequences import arrange
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.outputs import PARTS as ANNOTATED_PARTS
from tps_pipeline.parsing import annotated, predicted
from tps_pipeline.report.breakdown import break_down
from tps_pipeline.stages.data import state_labels as state_labels_step
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

TOOL = ("blade", "grip", "tip")
HAND = ("palm", *(f"{finger}_{joint}" for finger in "abcde" for joint in range(4)))
HORSE = ("head", "tail", *(f"{side}_{which}_{part}" for side in ("left", "right") for which in ("fore", "hind")
                           for part in ("leg", "hoof")), "left_ear", "right_ear")  # fmt: skip
VOCABULARIES = (TOOL, HAND, HORSE)


def test_the_ten_are_the_parts_of_what_names_no_others() -> None:
    assert parts_of([]) == parts_of(["hip", "left_foot"]) == PARTS
    assert swapped(PARTS) == (0, 1, 3, 2, 5, 4, 7, 6, 9, 8)
    assert parts_of(HORSE) == tuple(sorted(HORSE)) == parts_of([part for part in HORSE if "right" not in part])
    assert len(parts_of(HAND)) == 21
    for parts in map(parts_of, VOCABULARIES):
        assert [swapped(parts)[at] for at in swapped(parts)] == [*range(len(parts))]
    assert swapped(parts_of(TOOL)) == (0, 1, 2)


names = st.text("ab_", min_size=1, max_size=4)
vocabularies = st.lists(st.builds(str.__add__, st.sampled_from(("", "left_", "right_")), names), min_size=1, max_size=9)


def random_side(rng: np.random.Generator, parts: list[str], *, like: Any = None) -> dict[str, Any]:
    """One side of an evaluation; a submission (`like`) is a jittered copy, with parts that nobody has annotated."""

    def part(near: dict[str, Any] | None) -> dict[str, Any]:
        box = [*(first := rng.integers(0, 20, 2).tolist()), first[0] + 15, first[1] + 15]
        if like is None:
            return {"box": box, "verb": str(rng.choice(["up", "down"]))}
        boxes = [near["box"] if near else box, box][: rng.integers(1, 3)]
        return {"box": boxes, "verb": [str(rng.choice(["up", "down"])) for _ in boxes]}

    def human(near: dict[str, Any] | None) -> dict[str, Any]:
        chosen = rng.permutation(parts)[: rng.integers(1, len(parts) + 1)].tolist()
        x = int(rng.integers(0, 30))
        box = near["box"] if near else [x, 0, x + 40, 40]
        return {"box": box, "parts": {name: part(near["parts"].get(name) if near else None) for name in chosen}}

    frames = [f"img_{number:05}.json" for number in (1, 6)]
    known = like or {video: {name: {"humans": [None] * 2} for name in frames} for video in "vw"}
    return {
        video: {name: {"humans": [human(near) for near in frame["humans"]]} for name, frame in of_video.items()}
        for video, of_video in known.items()
    }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), parts=vocabularies.map(set).map(sorted), more=vocabularies)
def test_the_metric_is_the_plain_statement_s_whatever_parts_there_are(seed: int, parts: list[str], more: list[str]):
    rng = np.random.default_rng(seed)
    truth = random_side(rng, parts)
    found = random_side(rng, sorted({*parts, *more}), like=truth)
    expected = plain_psc(truth, found)
    parsed = parse_submission(json.dumps(found).encode(), Path("p"), parts=None)
    assert psc.part_state_correctness(parse_truth(json.dumps(truth).encode(), Path("t")), parsed) == expected
    of_truth, of_found = to_tables(truth, found)
    sides = annotated(*of_truth), predicted(*of_found)
    assert psc.part_state_correctness(*sides) == pytest.approx(expected, abs=1e-12)
    by_state = psc.credit_by_state(*sides)
    assert {*by_state["part"].to_pylist()} == {part for v in truth.values() for f in v.values() for h in f["humans"]
                                               for part in h["parts"]}  # fmt: skip
    assert break_down(sides[0], [("m", sides[1])]).parts == [*parts_of(parts)]


def test_a_submission_of_other_parts_is_scored_and_a_slip_among_the_ten_is_not(tmp_path: Path) -> None:
    for parts, slip in ((TOOL, False), (("head", "hip"), True)):
        rng = np.random.default_rng(0)
        truth = random_side(rng, [*parts])
        found = random_side(rng, [*parts, "wheel"], like=truth)
        for name, content in (("gt", truth), ("pred", found)):
            (tmp_path / f"{name}_part_result.json").write_text(json.dumps(content))
            (tmp_path / f"{name}_vid_result.json").write_text(json.dumps(dict.fromkeys(content, "cut")))
        if slip:
            with pytest.raises(DataError, match="unknown part 'wheel'; known are head, hip"):
                submission.evaluate(tmp_path, tmp_path)
        else:
            assert submission.evaluate(tmp_path, tmp_path).psc == plain_psc(truth, found)
            said = CliRunner().invoke(app, ["evaluate", "--gt", f"{tmp_path}", "--pred", f"{tmp_path}", "--json"])
            assert "not a score of the Kinetics-TPS challenge" in said.stderr
            assert json.loads(said.stdout)["parts"] == [*parts_of(TOOL)]
    challenge = Path(__file__).parent / "golden" / "psc" / "case1"
    assert submission.evaluate(challenge, challenge).note == ""


def labels(parts: tuple[str, ...], *, frames: int = 4) -> tuple[Any, Any, Any]:
    """A person with these parts in every frame: `tables.PEOPLE`, `PARTS` and the frames' sizes."""
    keys: list[dict[str, Any]] = [{"video_id": "v", "frame": frame, "person": 0} for frame in range(1, 1 + frames)]
    corners = dict(zip(tables.BOX, (10, 10, 89, 49), strict=True))
    rows = [
        {**key, "part": part, "state": "up" if key["frame"] % 2 else "down", "x1": 10 + at, "y1": 10, "x2": 20 + at,
         "y2": 30 + key["frame"]}
        for key in keys for at, part in enumerate(parts)
    ]  # fmt: skip
    people = tables.conform(pd.DataFrame([key | corners for key in keys]), tables.PEOPLE)
    frames_ = pd.DataFrame([{k: key[k] for k in ("video_id", "frame")} | {"width": 100, "height": 50} for key in keys])
    return people, tables.conform(pd.DataFrame(rows), tables.PARTS), tables.pa.Table.from_pandas(frames_)


@pytest.mark.parametrize("parts", VOCABULARIES, ids=len)
def test_detectors_learn_the_parts_of_their_samples(parts: tuple[str, ...]) -> None:
    samples = part_samples(*labels(parts), margin=0.1)
    named = {*tables.distinct(samples["label"])}
    assert classes(named, people=False, parts=True) == parts_of(parts) == tuple(sorted(named))
    assert classes({*named, PERSON}, people=True, parts=True) == (PERSON, *parts_of(parts))
    assert missing_sides(samples) == []
    joined = tables.distinct(part_state_samples(*labels(parts), margin=0.1)["label"])
    assert {split_state(label) for label in joined} == {(part, state) for part in parts for state in ("up", "down")}


def test_a_state_s_name_is_told_from_a_part_s_where_one_part_begins_as_another() -> None:
    for pair in (("arm", "upper_up"), ("arm_upper", "up"), ("head_top", "none"), ("head", "top_none")):
        assert split_state(join_state(*pair)) == pair


def test_parts_without_sides_have_no_labels_to_swap_and_the_run_says_so(tmp_path: Path) -> None:
    samples = part_samples(*labels(TOOL), margin=0.1).to_pandas()
    halves = [samples.loc[samples.flipped == flipped, "label"].tolist() for flipped in (False, True)]
    assert halves[0] == halves[1]
    assert said(tmp_path, TOOL) == [
        "none of the parts blade, grip, tip is left_ or right_: mirror images swap no labels"
    ]
    assert said(tmp_path, HORSE) == said(tmp_path, ("head",)) == []


def said(folder: Path, parts: tuple[str, ...]) -> list[str]:
    """What the step that makes the vocabulary tells people."""
    lines: list[str] = []
    run = Run(recipe.load("demo"), folder, Lineage(Store(folder)), warn=lines.append)

    class Given:
        def __init__(self) -> None:
            self.run = run

        def __call__(self, output: object) -> Any:
            assert output == ANNOTATED_PARTS
            return labels(parts)[1]

    state_labels_step.make(Given())  # type: ignore[arg-type]
    return lines


def detections(parts: tuple[str, ...]) -> Any:
    """`tables.DETECTIONS` of the person of `labels`."""
    _, boxes, _ = labels(parts, frames=6)
    rows = boxes.to_pandas().drop(columns="state").assign(person_score=0.9, part_score=0.8)
    rows = rows.assign(**dict(zip(tables.PERSON_BOX, (10, 10, 89, 49), strict=True)))
    return tables.conform(rows, tables.DETECTIONS)


@pytest.mark.parametrize("parts", VOCABULARIES, ids=len)
def test_networks_take_as_many_boxes_as_there_are_parts(parts: tuple[str, ...], tmp_path: Path) -> None:
    people, boxes, _ = labels(parts)
    space = LabelSpace.of(state_labels(boxes), pairs="all")
    assert space.parts == parts_of(parts)
    targets = targets_by(["video_id"], boxes, space).to_numpy()
    assert targets.shape == (1, len(parts))
    assert np.array_equal(space.mirrored(space.mirrored(targets)), targets)
    network = classifier.build(recipe.PartTrajectoryNet(width=8, blocks=1), space, 0).eval()
    arranged = arrange(people, boxes, track(people), space.parts, stride=1)
    assert arranged.boxes.corners.shape == (4, 1 + len(parts), 4)
    found = classifier.classify(network, arranged, np.zeros((4, 0), np.float32), space)
    assert found.shape == (4, len(space))

    entry = narrow()
    skeleton = trajectory.build(entry.network, parts_of(parts), 2)
    about = {"actions": '["cut", "saw"]', "frequencies": "[0.5, 0.5]", "settings": entry.model_dump_json()}
    save_checkpoint(tmp_path / WEIGHTS, skeleton.state_dict(), metadata=about | {"parts": json.dumps(parts_of(parts))})
    assert trajectory.load(tmp_path)[1].parts == parts_of(parts)
    seen = detections(parts)
    videos = tables.conform({"video_id": ["v"]} | absent(), tables.VIDEOS)
    assert trajectory.predict(tmp_path, videos, seen, track(seen)).num_rows == 1


def narrow() -> recipe.TrajectoryAction:
    training = {"epochs": 1, "batch_size": 1, "optimizer": "adamw", "learning_rate": 0.001}
    return recipe.TrajectoryAction.model_validate(
        {"network": {"width": 8, "blocks": 1, "heads": 1}, "training": training}
    )


def absent() -> dict[str, list[Any]]:
    """The columns of a video that nothing looks at."""
    other = [field for field in tables.VIDEOS if field.name != "video_id"]
    return {f.name: [None if f.nullable else "" if tables.pa.types.is_dictionary(f.type) else 0] for f in other}


@pytest.mark.parametrize("parts", [*VOCABULARIES, ("blade",)], ids=len)
def test_a_person_s_statistics_are_of_the_parts_that_there_are(parts: tuple[str, ...]) -> None:
    seen, known = detections(parts), parts_of(parts)
    entry = recipe.StatisticsAction(stride=1)
    videos = tables.conform({"video_id": ["v"]} | absent(), tables.VIDEOS)
    (person,) = people_of(videos, seen, track(seen), entry, parts=known)["v"].sequences
    numbers = described(person, 0.2, known)
    assert np.isfinite(numbers).all()
    assert numbers.shape == described(person.mirrored(known), 0.2, known).shape


def test_boxes_of_parts_that_a_network_does_not_know_are_left_out() -> None:
    people, boxes, _ = labels((*TOOL, "wheel"))
    known = arrange(people, boxes, track(people), TOOL, stride=1).boxes
    assert known.corners.shape == (4, 4, 4)
    assert np.array_equal(known.corners[:, 0], [[10, 10, 90, 50]] * 4)
    assert (known.confidences == 1).all()


@pytest.mark.parametrize("weigh_by", [None, "log_odds"])
def test_methods_with_different_parts_vote_on_those_of_the_best(weigh_by: Any) -> None:
    of = {
        "best": predictions(HORSE, "up"),
        "b": predictions(HORSE[:5], "down"),
        "c": predictions((*TOOL, *HORSE), "down"),
    }
    ranking = [
        {"method": name, "split": "val", "rank": at, "mean_psc": 0.5, "score": 0.5} for at, name in enumerate(of)
    ]
    rows = {name: [row.get(name) for row in ranking] for name in ("method", "mean_psc")}
    voted = voting(of, tables.pa.table(rows), weigh_by=weigh_by).to_pandas().astype({"part": str})
    assert set(voted[voted.state == "down"].part) >= set(HORSE[:5])
    assert set(voted.part) == set(HORSE)


def predictions(parts: tuple[str, ...], state: str) -> Any:
    found = detections(parts).to_pandas().assign(state=state, state_score=0.9)
    return tables.conform(found.assign(state_scores=[[(state, 0.9)]] * len(found)), tables.PREDICTIONS)


def test_the_ten_leave_no_word_of_parts_in_a_checkpoint(tmp_path: Path) -> None:
    entry = narrow()
    none = tables.empty(tables.VIDEOS), {}
    for parts, written in ((PARTS, False), (parts_of(TOOL), True)):
        trajectory.train(none, none, ["cut"], entry, parts=parts, folder=tmp_path, seed=0)
        assert ("parts" in load_checkpoint(tmp_path / WEIGHTS)[1]) == written
