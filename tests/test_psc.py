from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain_psc import plain_psc, plain_score, to_tables
from tps_pipeline import psc, tables
from tps_pipeline.data.challenge_json import parse_submission, parse_truth
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import annotated, predicted

HERE = Path("memory.json")
STATES = ("none", "bend", "hold")


def correctness(truth: dict[str, Any], submission: dict[str, Any]) -> dict[str, float]:
    parsed = parse_submission(json.dumps(submission).encode(), HERE)
    return psc.part_state_correctness(parse_truth(json.dumps(truth).encode(), HERE), parsed)


def person(box: Sequence[float], **parts: tuple[Any, Any]) -> dict[str, Any]:
    return {"box": list(box), "parts": {name: {"box": part, "verb": verb} for name, (part, verb) in parts.items()}}


def video(*humans: dict[str, Any]) -> dict[str, Any]:
    return {"v": {"img_00001.json": {"humans": list(humans)}}}


def random_file(rng: np.random.Generator, *, proposals: bool, fractional: bool, like: Any = None) -> dict[str, Any]:
    """One side of an evaluation with every edge case; a submission is partly a jittered copy of the annotations."""

    def box(near: list[float] | None = None) -> list[float]:
        if near is not None and rng.random() < 0.8:
            values = np.array(near) + rng.integers(-2, 3, 4)
        else:
            corner = rng.integers(0, 30, 2)
            values = np.concatenate([corner, corner + rng.integers(3, 25, 2)])
        values = values + (rng.random(4).round(2) if fractional and rng.random() < 0.9 else 0)
        return [*values[:2].tolist(), *np.maximum(values[:2], values[2:]).tolist()]

    def part(near: dict[str, Any] | None) -> dict[str, Any]:
        state = STATES[rng.integers(3)] if near is None or rng.random() < 0.4 else near["verb"]
        if not proposals:
            return {"box": box(), "verb": [state, "turn"] if rng.random() < 0.1 else state}
        n = int(rng.integers(1, 6)) if rng.random() < 0.4 else 1
        boxes = [box(near["box"] if near else None) for _ in range(n)]
        if n > 1 and rng.random() < 0.3:
            boxes[1] = boxes[0]
        if rng.random() < 0.1:
            boxes[0] = [boxes[0][2], boxes[0][1], boxes[0][0], boxes[0][3]]
        one = state if isinstance(state, str) else state[0]
        return {"box": boxes, "verb": [one, *(STATES[rng.integers(3)] for _ in range(n - 1))]}

    def human(near: dict[str, Any] | None) -> dict[str, Any]:
        names = rng.permutation(PARTS)[: rng.integers(1 if proposals else 0, 11)].tolist()
        known = near["parts"] if near else {}
        return {"box": box(near["box"] if near else None), "parts": {name: part(known.get(name)) for name in names}}

    content: dict[str, Any] = {}
    for name in "abcd":
        content[name] = {}
        for frame in range(1, 22, 5):
            key = f"img_{frame:05d}.json"
            if proposals and rng.random() < 0.15:
                continue
            known = like[name].get(key, {"humans": []})["humans"] if like else []
            copies = [human(known[i]) for i in rng.permutation(len(known)) if rng.random() < 0.85]
            new = [human(None) for _ in range(rng.integers(0, 4 if not proposals else 3))]
            content[name][key] = {"humans": [*copies, *new, *(copies[:1] if rng.random() < 0.2 else [])]}
    return content


@pytest.mark.parametrize("case", ["case1", "case2", "case3"])
def test_plain_statement_equals_the_golden_cases(case: str):
    folder = Path(__file__).parent / "golden" / "psc" / case
    truth, submission, expected = (
        json.loads((folder / name).read_text())
        for name in ("gt_part_result.json", "pred_part_result.json", "expected.json")
    )
    values = plain_psc(truth, submission)
    assert values == pytest.approx(expected["psc"], abs=1e-12)
    correct = {name: bool(right) for name, right in expected["correct"].items()}
    assert plain_score(values, correct) == pytest.approx(expected["score"], abs=1e-12)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), fractional=st.booleans())
def test_equals_the_plain_statement_on_edge_cases(seed: int, fractional: bool):
    rng = np.random.default_rng(seed)
    truth = random_file(rng, proposals=False, fractional=fractional)
    submission = random_file(rng, proposals=True, fractional=fractional, like=truth)
    expected = plain_psc(truth, submission)
    assert correctness(truth, submission) == expected

    correct = rng.random(len(expected)) < 0.7
    score = psc.score(np.array(list(expected.values())), correct)
    assert score == plain_score(expected, dict(zip(expected, correct.tolist(), strict=True)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_tables_give_what_the_files_give(seed: int):
    rng = np.random.default_rng(seed)
    truth = random_file(rng, proposals=False, fractional=False)
    submission = random_file(rng, proposals=True, fractional=False, like=truth)
    truth_tables, submission_tables = to_tables(truth, submission)
    values = psc.part_state_correctness(annotated(*truth_tables), predicted(*submission_tables))
    assert values == pytest.approx(correctness(truth, submission), abs=1e-12)


def test_listed_frames_are_the_ones_that_count():
    rng = np.random.default_rng(3)
    truth = random_file(rng, proposals=False, fractional=False)
    submission = random_file(rng, proposals=True, fractional=False, like=truth)
    (frames, people, parts), submitted = to_tables(truth, submission)
    sampled = frames.filter(pc.field("frame") < 10)
    some = {name: {k: f for k, f in named.items() if int(k[4:9]) < 10} for name, named in truth.items()}
    values = psc.part_state_correctness(annotated(sampled, people, parts), predicted(*submitted))
    assert values == pytest.approx(plain_psc(some, submission), abs=1e-12)


def test_a_frame_of_one_predicted_person_matches_one_annotated_person():
    box = [10, 10, 49, 89]
    head = ([20, 10, 35, 25], "none")
    truth = video(person(box, head=head), person(box, head=head))
    assert correctness(truth, video(person(box, head=([head[0]], ["none"])))) == {"v": 0.5}


def test_a_missed_neighbour_can_spoil_a_good_match():
    # The evaluator's -1 for disjoint boxes steers the assignment away from the obvious pair (specified quirk).
    near, far = [100, 50, 200, 300], [180, 60, 280, 310]
    truth = video(person(near, head=(near, "none")), person(far))
    good = person([102, 52, 201, 299], head=([near], ["none"]))
    stray = person([40, 60, 120, 300])
    assert correctness(truth, video(good, stray)) == {"v": 0.0}
    assert correctness(truth, video(good, stray, person([0, 0, 400, 400]))) == {"v": 1.0}


@pytest.mark.parametrize(("width", "matched"), [(50, False), (51, True)])
def test_people_must_overlap_by_more_than_a_half(width: int, matched: bool):
    truth = video(person([0, 0, 99, 0], head=([0, 0, 9, 0], "none")))
    found = video(person([0, 0, width - 1, 0], head=([[0, 0, 9, 0]], ["none"])))
    assert correctness(truth, found) == {"v": float(matched)}


@pytest.mark.parametrize(("width", "credit"), [(29, 0.0), (30, 1.0)])
def test_parts_must_overlap_by_at_least_three_tenths(width: int, credit: float):
    truth = video(person([0, 0, 99, 0], head=([0, 0, 99, 0], "none")))
    found = video(person([0, 0, 99, 0], head=([[0, 0, width - 1, 0]], ["none"])))
    assert correctness(truth, found) == {"v": credit}


def test_proposals_share_the_credit_and_extra_parts_cost_nothing():
    box, head = [0, 0, 99, 99], [0, 0, 19, 19]
    truth = video(person(box, head=(head, "none"), hip=([40, 40, 59, 59], "sit")))
    found = video(person(box, head=([head] * 4, ["turn", "none", "none", "none"]), left_arm=([head], ["bend"])))
    assert correctness(truth, found) == {"v": 0.125}


def test_frames_that_are_dropped_and_frames_that_count_nothing():
    someone, bare = person([0, 0, 9, 9], head=([0, 0, 9, 9], "none")), person([0, 0, 9, 9])
    found = person([0, 0, 9, 9], head=([[0, 0, 9, 9]], ["none"]))

    def of(*frames: list[dict[str, Any]]) -> dict[str, Any]:
        return {"v": {f"img_{5 * i + 1:05d}.json": {"humans": humans} for i, humans in enumerate(frames)}}

    assert correctness(of([someone], []), of([found])) == {"v": 1.0}, "no people: dropped"
    assert correctness(of([someone], [bare]), of([found], [])) == {"v": 1.0}, "no parts, submitted: dropped"
    assert correctness(of([someone], [bare]), of([found])) == {"v": 0.5}, "no parts, not submitted: 0"
    assert correctness(of([someone], [someone]), of([found])) == {"v": 0.5}, "not submitted: 0"
    assert correctness(of([], [bare]), of([], [])) == {"v": 1.0}, "nothing to count"


def test_the_score_stops_short_of_one_and_includes_its_thresholds():
    assert psc.score(np.ones(3), np.ones(3, dtype=bool)) == pytest.approx(0.9999)
    assert psc.score(np.ones(3), np.zeros(3, dtype=bool)) == 0
    assert psc.score(np.array([0.25, 0.5]), np.array([True, False])) == pytest.approx(0.125)
    accuracy = psc.conditioned_accuracy(np.array([0.5, 0.0]), np.array([True, True]))
    assert (accuracy["0.0"], accuracy["0.5"], accuracy["0.6"]) == (1.0, 0.5, 0.0)


def test_credit_by_state_adds_up_to_the_credit():
    rng = np.random.default_rng(5)
    truth = random_file(rng, proposals=False, fractional=False)
    submission = random_file(rng, proposals=True, fractional=False, like=truth)
    parsed = parse_submission(json.dumps(submission).encode(), HERE)
    annotations = parse_truth(json.dumps(truth).encode(), HERE)
    table = psc.credit_by_state(annotations, parsed)
    n_parts = sum(len(h["parts"]) for named in truth.values() for frame in named.values() for h in frame["humans"])
    assert pc.sum(table["boxes"]).as_py() == n_parts
    total = np.dot(table["boxes"].to_numpy(), table["correctness"].to_numpy())
    assert total == pytest.approx(np.nansum(psc.part_credit(annotations, parsed)))
    assert 0 < total < n_parts


def test_evaluate_gives_a_row_a_video_and_takes_a_lacking_action_as_wrong():
    rng = np.random.default_rng(6)
    truth = random_file(rng, proposals=False, fractional=False)
    truth_tables, submission_tables = to_tables(truth, random_file(rng, proposals=True, fractional=False, like=truth))
    actions = tables.conform({"video_id": list("abcd"), "action": ["x", "y", "x", "y"]}, tables.ACTIONS)
    guesses = {"video_id": list("abc"), "action": ["x", "x", "x"], "score": [1.0] * 3, "probabilities": [{}] * 3}
    rows = psc.evaluate(
        annotated(*truth_tables),
        predicted(*submission_tables),
        actions=actions,
        video_actions=tables.conform(guesses, tables.VIDEO_ACTIONS),
        method="voting",
        split="val",
    )
    assert rows.schema == tables.PSC
    assert rows["video_id"].to_pylist() == list("abcd")
    assert rows["action_correct"].to_pylist() == [True, False, True, False]
    assert rows["psc"].to_pylist() == list(
        psc.part_state_correctness(annotated(*truth_tables), predicted(*submission_tables)).values()
    )


def test_nothing_predicted_and_nothing_annotated():
    truth = random_file(np.random.default_rng(7), proposals=False, fractional=False)
    (frames, people, parts), (predictions, submitted) = to_tables(truth, {})
    silent = predicted(predictions, submitted)
    assert psc.part_state_correctness(annotated(frames, people, parts), silent) == plain_psc(
        truth, {name: {} for name in truth}
    )
    nobody = annotated(tables.empty(frames.schema), people, parts)
    assert psc.part_state_correctness(nobody, silent) == {}
    assert psc.score(np.array([]), np.array([])) == 0


def test_macro_recall_counts_rare_states_as_much_as_others():
    box, far = [0, 0, 9, 9], [50, 50, 59, 59]

    def frames(*heads: Any) -> dict[str, Any]:
        humans = [[person(box, head=head, hip=(box, "none"))] for head in heads]
        return {"v": {f"img_{1 + 5 * at:05d}.json": {"humans": found} for at, found in enumerate(humans)}}

    truth = frames((box, "none"), (box, "none"), (box, "bend"), (box, "hold"))
    parsed = frames(([box], ["none"]), ([box], ["bend"]), ([box], ["bend"]), ([far], ["hold"]))
    for frame in parsed["v"].values():
        frame["humans"][0]["parts"]["hip"] = {"box": [far, box], "verb": ["none", "bend"]}
    parsed["v"]["img_00001.json"]["humans"].append(person(far, head=([box], ["hold"])))
    sides = parse_truth(json.dumps(truth).encode(), HERE), parse_submission(json.dumps(parsed).encode(), HERE)
    # The head: one of two `none`, one of one `bend`, no `hold` found; the hip: the proposal that is there says `bend`.
    assert psc.macro_recall(*sides) == pytest.approx((0.5 + 1 + 0) / 3)
    rows, annotated_rows = psc.matched_parts(*sides)
    assert len(rows) == len(set(annotated_rows.tolist())) == 3 + 4
    nobody = parse_submission(json.dumps({"v": {}}).encode(), HERE)
    assert psc.macro_recall(sides[0], nobody) is None
