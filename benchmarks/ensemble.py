"""Voting against two pandas group-by statements of its rule, on as many predictions as the challenge's test set has.

Seven methods, 48,655 frames, 2.5 people a frame, ten parts a person. Ours counts all votes; pandas counts those of the
first frames, as it would take minutes, and is compared by the time a part takes; both must give those the same states.
Run as `python -m benchmarks.ensemble`; prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.boxes import paired_iou
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.labels import PARTS

STATES = tuple(f"state_{number:02}" for number in range(74))
FRAMES_A_VIDEO = 52
KEYS = ["video_id", "frame", "person", "part"]
SAME_FRAME = ["video_id", "frame"]


def generate(frames: int, methods: int) -> dict[str, pa.Table]:
    """Predictions that agree for the most part: boxes are jittered, people missed, states mistaken."""
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(frames), 2 + np.arange(frames) % 2)
    person = np.arange(len(frame)) - np.searchsorted(frame, frame)
    corner = np.stack([person * 200, rng.integers(0, 100, len(frame))], axis=1)
    boxes = np.concatenate([corner, corner + rng.integers(100, 190, corner.shape)], axis=1)
    truth = rng.integers(0, len(STATES), (len(frame), len(PARTS)))
    return {f"method_{number}": _method(rng, frame, person, boxes, truth) for number in range(methods)}


def _method(
    rng: np.random.Generator, frame: np.ndarray, person: np.ndarray, boxes: np.ndarray, truth: np.ndarray
) -> pa.Table:
    seen = rng.random(len(frame)) < 0.95
    state = np.where(rng.random(truth.shape) < 0.65, truth, rng.integers(0, len(STATES), truth.shape))[seen].ravel()
    count = len(state)
    box = np.repeat(np.maximum(boxes[seen] + rng.integers(-4, 5, (seen.sum(), 4)), 0), len(PARTS), axis=0)
    video, at = np.divmod(np.repeat(frame[seen], len(PARTS)), FRAMES_A_VIDEO)
    names = [f"video_{number:04}" for number in range(video.max() + 1)]
    likeliest = (state[:, None] + np.arange(5)) % len(STATES)
    offsets: Any = pa.array(5 * np.arange(count + 1), pa.int32())  # a map has 32 bits; the stubs say 64
    columns: dict[str, Any] = {
        "video_id": _names(video, names),
        "frame": at * 5 + 1,
        "person": np.repeat(person[seen], len(PARTS)),
        "person_score": np.full(count, 0.9),
        **dict(zip(tables.PERSON_BOX, box.T, strict=True)),
        "part": _names(np.tile(np.argsort(np.argsort(PARTS)), seen.sum()), sorted(PARTS)),
        "part_score": np.full(count, 0.5),
        **dict(zip(tables.BOX, box.T, strict=True)),
        "state": _names(state, STATES),
        "state_score": rng.random(count),
        "state_scores": pa.MapArray.from_arrays(
            offsets,
            pa.array(STATES).take(pa.array(likeliest.ravel(), pa.int64())),
            pa.array(np.tile(np.linspace(0.5, 0.1, 5), count), tables.SCORE),
        ),
    }
    # Sorted as `tables.conform` would sort them, at a fraction of the memory.
    part = columns["part"].indices.to_numpy()
    order = pa.array(np.lexsort((part, columns["person"], columns["frame"], video)), pa.int64())
    return pa.table(columns).take(order).cast(tables.PREDICTIONS)


def _names(codes: np.ndarray, names: tuple[str, ...] | list[str]) -> pa.DictionaryArray[Any, Any]:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names))


def by_group(predictions: dict[str, pd.DataFrame], choose: Callable[[pd.Series], str]) -> pd.Series:
    """The rule as one would write it in pandas; the methods from the best to the worst."""
    best, *others = predictions.values()
    person, shown = [*SAME_FRAME, "person"], [*SAME_FRAME, "person", *tables.PERSON_BOX]
    people = best.drop_duplicates(person)[shown]
    votes = [best[[*KEYS, "state"]]]
    for rows in others:
        pairs: Any = people.merge(rows.drop_duplicates(person)[shown], on=SAME_FRAME, suffixes=("", "_other"))
        boxes = [pairs[[name + suffix for name in tables.PERSON_BOX]].to_numpy(float) for suffix in ("", "_other")]
        pairs["iou"] = paired_iou(boxes[0], boxes[1])
        pairs = pairs[pairs.iou > 0.8].sort_values("iou", ascending=False)
        pairs = pairs.drop_duplicates(person).drop_duplicates([*SAME_FRAME, "person_other"])
        found = rows.merge(
            pairs[[*person, "person_other"]],
            left_on=person,
            right_on=[*SAME_FRAME, "person_other"],
            suffixes=("_theirs", ""),
        )
        votes.append(found[[*KEYS, "state"]])
    known = best[KEYS].merge(pd.concat(votes), on=KEYS)
    return known.groupby(KEYS, sort=True).state.agg(choose)


def by_value_counts(states: pd.Series) -> str:
    return str(states.value_counts(sort=False).idxmax())


def by_counter(states: pd.Series) -> str:
    return Counter(states).most_common(1)[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=48_655)
    parser.add_argument("--methods", type=int, default=7)
    parser.add_argument("--videos", type=int, default=8, help="of which pandas counts the votes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    predictions = generate(given.frames, given.methods)
    names = list(predictions)
    columns = {"method": names, "split": ["val"] * len(names), "videos": [1] * len(names)}
    ranking = tables.conform({**columns, "score": [0.5] * len(names), "mean_psc": [0.5] * len(names)}, tables.RANKING)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = predictions[names[0]].num_rows
    seconds = []
    for _ in range(given.rounds):
        begin = time.process_time()
        voting(predictions, ranking)
        seconds.append(time.process_time() - begin)
    ours = min(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    few = {
        name: table.filter(pa.array(table["video_id"].to_pandas().astype(str) < f"video_{given.videos:04}"))
        for name, table in predictions.items()
    }
    frames = {
        name: table.drop(["state_scores"]).to_pandas().astype({"video_id": str, "part": str, "state": str})
        for name, table in few.items()
    }
    states = voting(few, ranking)["state"].to_pylist()
    pandas = {}
    for way in (by_value_counts, by_counter):
        begin = time.process_time()
        grouped = by_group(frames, way)
        pandas[way.__name__] = (time.process_time() - begin) / len(grouped)
        assert grouped.tolist() == states, way.__name__
    report = {
        "benchmark": "ensemble",
        "parts": parts,
        "votes": sum(table.num_rows for table in predictions.values()),
        "cpu_seconds": round(ours, 2),
        "peak_megabytes": {"with_tables": round(peak / 1024), "tables": round(before / 1024)},
        "pandas_parts": len(states),
        "equal": True,
        **{f"ratio_{name}": round(each / (ours / parts), 1) for name, each in pandas.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
