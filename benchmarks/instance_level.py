"""What people cost beside the first in instance-level inference of a video: all of a clip share one look at it.

    python -m benchmarks.instance_level [--rounds 5]

A 300-frame video of 340x256 has 1, 3 or 10 people in each of its 60 sampled frames; they take turns, in one thread. The
networks are those of the paper's recipe with a quarter of the channels and one block a stage, for each relation, on
clips of 16 frames of 128 px. Prints one JSON line a relation: medians of CPU seconds from the file to the predictions,
and the cost of a person beyond the first as a share of the first's (the paper's whole backbone weighs far more than
this one beside its head, so its share is smaller).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from benchmarks.frames import make_clip
from tps_pipeline import recipe, tables
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.clips.classifier import Classifier
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people.classifier import build, predict
from tps_pipeline.methods.people.instance_level import InstanceLevel

FRAMES, STRIDE, WIDTH, HEIGHT = 300, 5, 340, 256
PEOPLE = (1, 3, 10)
SPACE = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("bend", "none")))
NARROW = recipe.SlowFast(depths=(1, 1, 1, 1), stem=16)
CHANGES = {"network": NARROW, "person_width": 256, "relation_width": 128, "frames": 16, "image_size": 128}


def detected(people: int) -> pa.Table:
    """Detections of so many people in each sampled frame, in random boxes."""
    random, rows = np.random.default_rng(0), []
    for frame in range(1, FRAMES + 1, STRIDE):
        for person in range(people):
            x, y = random.integers(0, (WIDTH - 80, HEIGHT - 120))
            box = [x, y, x + 79, y + 119]
            boxes = dict(zip((*tables.PERSON_BOX, *tables.BOX), box * 2, strict=True))
            key = {"video_id": "clip", "frame": frame, "person": person, "person_score": 0.9, "part_score": 0.9}
            rows += [key | boxes | {"part": part} for part in PARTS]
    return tables.conform(pd.DataFrame(rows), tables.DETECTIONS)


def measure(relation: str, path: Path, rounds: int) -> dict[str, object]:
    entry = recipe.load("paper").methods["instance_pcp"].model_copy(update=CHANGES | {"relation": relation})
    assert isinstance(entry, recipe.InstanceLevel)
    model = build(entry, len(SPACE)).eval()
    classifier = Classifier(model, entry, SPACE, np.zeros(len(SPACE), np.float32))
    video = {"video_id": ["clip"], "path": [path.name], "n_frames": [FRAMES], "width": [WIDTH], "height": [HEIGHT]}
    detections = {people: detected(people) for people in PEOPLE}
    seconds: dict[int, list[float]] = {people: [] for people in PEOPLE}
    for _ in range(rounds + 1):  # the first warms up
        for people in PEOPLE:
            began = time.process_time()
            predict(classifier, InstanceLevel(entry).clips, detections[people], pa.table(video), path.parent)
            seconds[people].append(time.process_time() - began)
    medians = {people: statistics.median(times[1:]) for people, times in seconds.items()}
    share = {people: round((medians[people] / medians[1] - 1) / (people - 1), 3) for people in PEOPLE[1:]}
    return {
        "relation": relation,
        "clips": FRAMES // STRIDE,
        "rounds": rounds,
        "cpu_s": {people: round(median, 2) for people, median in medians.items()},
        "share_of_the_first": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    prepare_cpu()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = make_clip(Path(folder) / "clip.mp4", WIDTH, HEIGHT, FRAMES)
        for relation in ("person_context_person", "person_person"):
            print(json.dumps(measure(relation, path, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
