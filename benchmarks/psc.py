"""The metric against a plain-Python statement of its rules, on as many boxes as a tenth of the challenge's test set.

Run as ``python -m benchmarks.psc``; prints one JSON line. Both sides get the same data in the same process, turn by
turn, and must give equal numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.optimize import linear_sum_assignment

from tps_pipeline import psc
from tps_pipeline.data import challenge_json
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import Parsing, annotated, predicted
from tps_pipeline.tables import BOX, LABELLED_FRAMES, PEOPLE, PREDICTIONS, conform
from tps_pipeline.tables import PARTS as PARTS_SCHEMA

Json = dict[str, Any]


def plain_psc(truth: Json, submission: Json) -> dict[str, float]:
    """The metric's rules (see ``tps_pipeline.psc``), one after the other, over the decoded JSON files."""
    return {video: plain_video(frames, submission[video]) for video, frames in truth.items()}


def plain_video(frames: Json, submitted: Json) -> float:
    correctness = []
    for name, frame in frames.items():
        if not frame["humans"]:
            continue
        if name not in submitted:
            correctness.append(0.0)
            continue
        credits = plain_frame(frame["humans"], submitted[name]["humans"])
        if credits:
            correctness.append(sum(credits) / len(credits))
    return sum(correctness) / len(correctness) if correctness else 1.0


def plain_frame(truth: list[Json], submitted: list[Json]) -> list[float]:
    partner = plain_match(truth, submitted)
    credits = []
    for i, human in enumerate(truth):
        for part, annotation in human["parts"].items():
            found = submitted[partner[i]]["parts"].get(part) if i in partner else None
            credits.append(plain_credit(annotation, found) if found else 0.0)
    return credits


def plain_match(truth: list[Json], submitted: list[Json]) -> dict[int, int]:
    n, m = len(truth), len(submitted)
    if n == 0 or m == 0:
        return {}
    iou = np.array([[plain_iou(t["box"], s["box"], np.float32) for s in submitted] for t in truth], dtype=np.float32)
    if n != m:
        padded = np.zeros((max(n, m), max(n, m)))
        padded[:n, :m] = iou
        iou = padded
    pairs = zip(*linear_sum_assignment(1 - iou), strict=True)
    return {int(i): int(j) for i, j in pairs if i < n and j < m and iou[i, j] > 0.5}


def plain_credit(annotation: Json, found: Json) -> float:
    states = annotation["verb"] if isinstance(annotation["verb"], list) else [annotation["verb"]]
    for box, verb in zip(found["box"], found["verb"], strict=True):
        if verb in states and plain_iou(annotation["box"], box, float) >= 0.3:
            return 1 / len(found["verb"])
    return 0.0


def plain_iou(a: list[float], b: list[float], number: Callable[[float], Any]) -> float:
    ax1, ay1, ax2, ay2 = (number(v) for v in a)
    bx1, by1, bx2, by2 = (number(v) for v in b)
    width = min(ax2, bx2) - max(ax1, bx1) + 1
    height = min(ay2, by2) - max(ay1, by1) + 1
    if width <= 0 or height <= 0:
        return -1.0
    shared = width * height
    return shared / ((ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1) - shared)


def plain_score(correctness: dict[str, float], correct: dict[str, bool]) -> float:
    total = 0.0
    for t in range(1, 10_000):
        total += sum(1 for v, p in correctness.items() if correct[v] and p >= t / 10_000) / len(correctness) / 10_000
    return total


def generate(rng: np.random.Generator, *, videos: int, frames: int, people: int) -> tuple[Json, Json]:
    """Annotations, and a submission with jittered boxes, some states wrong, some people missed and some extra."""
    states = ["none", "bend", "unbend", "hold", "stand", "step_on", "turn"]
    truth: Json = {}
    submission: Json = {}
    for v in range(videos):
        annotated_frames, submitted_frames = {}, {}
        for f in range(1, 5 * frames + 1, 5):
            corners = rng.integers(0, 260, (people, 2))
            person_boxes = np.concatenate([corners, corners + rng.integers(40, 120, (people, 2))], axis=1)
            humans = [_person(rng, box, states) for box in person_boxes]
            found = [_jittered(rng, human, states) for human in humans if rng.random() < 0.95]
            if rng.random() < 0.3:
                found.append(_jittered(rng, _person(rng, person_boxes[0] + 130, states), states))
            annotated_frames[f"img_{f:05d}.json"] = {"humans": humans}
            submitted_frames[f"img_{f:05d}.json"] = {"humans": found}
        truth[f"video_{v:04d}"], submission[f"video_{v:04d}"] = annotated_frames, submitted_frames
    return truth, submission


def _person(rng: np.random.Generator, box: np.ndarray, states: list[str]) -> Json:
    x1, y1, x2, y2 = box.tolist()
    first = rng.integers([x1, y1], [x2 - 20, y2 - 20], (len(PARTS), 2))
    last = first + rng.integers(8, 20, (len(PARTS), 2))
    verbs = rng.choice(states, len(PARTS)).tolist()
    part_boxes = np.concatenate([first, last], axis=1).tolist()
    parts = {p: {"box": b, "verb": s} for p, b, s in zip(PARTS, part_boxes, verbs, strict=True)}
    return {"box": box.tolist(), "parts": parts}


def _jittered(rng: np.random.Generator, human: Json, states: list[str]) -> Json:
    parts = {}
    for name, part in human["parts"].items():
        verb = part["verb"] if rng.random() < 0.7 else states[rng.integers(len(states))]
        parts[name] = {"box": [(np.array(part["box"]) + rng.integers(-3, 4, 4)).tolist()], "verb": [verb]}
    return {"box": (np.array(human["box"]) + rng.integers(-6, 7, 4)).tolist(), "parts": parts}


def to_tables(truth: Json, submission: Json) -> tuple[tuple[pa.Table, pa.Table, pa.Table], tuple[pa.Table, pa.Table]]:
    """The same content as tables: (labelled frames, people, parts), (predictions, submitted frames)."""
    frames, people, parts, guesses, submitted = [], [], [], [], []
    for video, named in truth.items():
        for name, frame in named.items():
            number = int(name[4:-5])
            frames.append((video, number, len(frame["humans"])))
            for p, human in enumerate(frame["humans"]):
                people.append((video, number, p, *human["box"]))
                for part, label in human["parts"].items():
                    states = label["verb"] if isinstance(label["verb"], list) else [label["verb"]]
                    parts += [(video, number, p, part, *label["box"], state) for state in states]
    for video, named in submission.items():
        for name, frame in named.items():
            number = int(name[4:-5])
            submitted.append((video, number, len(frame["humans"])))
            for p, human in enumerate(frame["humans"]):
                for part, found in human["parts"].items():
                    for box, state in zip(found["box"], found["verb"], strict=True):
                        guesses.append((video, number, p, 1.0, *human["box"], part, 1.0, *box, state, 1.0, {}))
    key = ["video_id", "frame", "person"]
    return (
        (
            _table(frames, ["video_id", "frame", "n_people"], LABELLED_FRAMES),
            _table(people, [*key, *BOX], PEOPLE),
            _table(parts, [*key, "part", *BOX, "state"], PARTS_SCHEMA),
        ),
        (_table(guesses, PREDICTIONS.names, PREDICTIONS), _table(submitted, LABELLED_FRAMES.names, LABELLED_FRAMES)),
    )


def _table(rows: list[tuple[Any, ...]], names: list[str], schema: pa.Schema) -> pa.Table:
    if not rows:
        return schema.empty_table()
    return conform(dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True)), schema)


def _evaluated(truth: Parsing, parsed: Parsing, correct: dict[str, bool]) -> tuple[dict[str, float], float]:
    correctness = psc.part_state_correctness(truth, parsed)
    values, right = np.array(list(correctness.values())), np.array([correct[v] for v in correctness])
    return correctness, psc.score(values, right)


def _plainly(truth: Json, submission: Json, correct: dict[str, bool]) -> tuple[dict[str, float], float]:
    correctness = plain_psc(truth, submission)
    return correctness, plain_score(correctness, correct)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=93)
    parser.add_argument("--frames", type=int, default=52)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    truth, submission = generate(rng, videos=arguments.videos, frames=arguments.frames, people=arguments.people)
    truth_json, submission_json = json.dumps(truth).encode(), json.dumps(submission).encode()
    truth_tables, submission_tables = to_tables(truth, submission)
    correct = {video: bool(rng.random() < 0.9) for video in truth}
    laid_out, parsed = annotated(*truth_tables), predicted(*submission_tables)
    name = Path("memory")
    runs: dict[str, Callable[[], tuple[dict[str, float], float]]] = {
        "plain_from_json": lambda: _plainly(json.loads(truth_json), json.loads(submission_json), correct),
        "plain_from_dicts": lambda: _plainly(truth, submission, correct),
        "ours_from_json": lambda: _evaluated(
            challenge_json.parse_truth(truth_json, name),
            challenge_json.parse_submission(submission_json, name),
            correct,
        ),
        "ours_laid_out": lambda: _evaluated(laid_out, parsed, correct),
        "ours_from_tables": lambda: _evaluated(annotated(*truth_tables), predicted(*submission_tables), correct),
    }
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    results: dict[str, tuple[dict[str, float], float]] = {}
    for _round in range(arguments.rounds):
        for key, run in runs.items():
            repeats = 10 if key in ("ours_laid_out", "ours_from_tables") else 1  # a single run is too short to time
            start = time.process_time()
            for _ in range(repeats):
                results[key] = run()
            seconds[key].append((time.process_time() - start) / repeats)
    reference, score = results["plain_from_json"]
    equal = all(
        r[1] - score < 1e-12 and all(abs(r[0][v] - reference[v]) < 1e-12 for v in reference) for r in results.values()
    )
    median = {key: statistics.median(values) for key, values in seconds.items()}
    report = {
        "benchmark": "psc",
        "parts": truth_tables[2].num_rows,
        "equal": equal,
        "cpu_seconds": {key: round(value, 4) for key, value in median.items()},
        "ratio_json": round(median["plain_from_json"] / median["ours_from_json"], 1),
        "ratio_in_memory": round(median["plain_from_dicts"] / median["ours_laid_out"], 1),
        "ratio_tables": round(median["plain_from_dicts"] / median["ours_from_tables"], 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
