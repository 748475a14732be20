"""The metric against a plain-Python statement of its rules, on as many boxes as a tenth of the challenge's test set.

Run as `python -m benchmarks.psc`; prints one JSON line. Both sides get the same data in the same process, turn by
turn, and must give equal numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.plain_psc import Json, plain_psc, plain_score, to_tables
from tps_pipeline import psc
from tps_pipeline.data import challenge_json
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import Parsing, annotated, predicted


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
