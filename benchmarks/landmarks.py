"""How many parts the pose source finds on pictures and clips with keypoints that people have set, and on which side.

    python -m benchmarks.landmarks LABELS.json PICTURES STORE [--iou 0.3] [--every 1]

Labels are COCO's keypoints (its 17 names, beside which `head_top` and `neck` may stand for a head). Pictures of the
same `vid_id` (PoseTrack's name for it) are a clip's frames, in their order: people are followed through them, and sides
are those of the whole clip. Others are single. Each person's keypoints become part boxes by the rule of
`tps_pipeline.landmarks`; hands and feet, of which COCO has one point, are left out. The store has BlazePose imported
(`make try` leaves one). With `--every 5` a clip is five clips, each of every fifth frame: a recipe looks at some only.

Prints one JSON line: `people` found (best of ten boxes at IoU 0.5); `parts` found (best of the boxes of the same part);
`other side`: of the arms and legs that are found on either side, those whose best box is called the other side. Without
arguments nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tps_pipeline import recipe
from tps_pipeline.boxes import iou
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.detector import TrainedDetector
from tps_pipeline.detection.detector import load as load_detector
from tps_pipeline.detection.follower import Follower, Person
from tps_pipeline.detection.pose import with_sides
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.labels import PARTS, swap
from tps_pipeline.landmarks import LANDMARKS, part_boxes, person_box
from tps_pipeline.learners.pretrained import SHIPPED, path_of
from tps_pipeline.models.blazepose import BlazePose, load
from tps_pipeline.store import Store

OURS = {f"{side}_eye": [f"{side}_eye_{which}" for which in ("inner", "middle", "outer")] for side in ("left", "right")}
"""COCO's keypoints that are several landmarks; the others have the landmark's name."""

HEAD = [name for name in LANDMARKS if name.split("_")[-1] in ("nose", "inner", "middle", "outer", "ear", "mouth")]
DOWN = 0.36
"""Share of the way from the top of the head to the neck at which its middle is (Drillis and Contini 1966)."""


class Truth(NamedTuple):
    """A person as people have labelled them: edges of the box, (4,), and of the parts, (10, 4), NaN where unknown."""

    box: np.ndarray
    parts: np.ndarray


def truth(annotation: dict[str, Any], names: list[str]) -> Truth:
    """What a COCO annotation says of a person."""
    rows = np.array(annotation["keypoints"], float).reshape(-1, 3)
    given = {name: row[:2] for name, row in zip(names, rows, strict=True) if row[2] > 0}
    if {"head_top", "neck"} <= given.keys() and "nose" not in given:
        given |= dict.fromkeys(HEAD, given["head_top"] + DOWN * (given["neck"] - given["head_top"]))
    points, known = np.zeros((33, 2)), np.zeros(33)
    for name, place in given.items():
        for landmark in OURS.get(name, [name]):
            if landmark in LANDMARKS:
                points[LANDMARKS.index(landmark)], known[LANDMARKS.index(landmark)] = place, 1
    parts, _ = part_boxes(points, known)
    x, y, width, height = annotation.get("bbox") or (0, 0, 0, 0)
    box = np.array([x, y, x + width, y + height]) if width else person_box(points, known)
    return Truth(box, parts)


class Labelled(NamedTuple):
    """A picture's file, and the people in it."""

    path: Path
    people: list[Truth]


def clips(labels: Path, folder: Path, every: int) -> list[list[Labelled]]:
    """The labelled pictures, those of a clip together."""
    content = json.loads(labels.read_text())
    names = content["categories"][0]["keypoints"]
    of_picture = defaultdict(list)
    for annotation in content["annotations"]:
        of_picture[annotation["image_id"]].append(truth(annotation, names))
    frames = defaultdict[Any, list[Labelled]](list)
    for at, entry in enumerate(content["images"]):
        frames[entry.get("vid_id", at)].append(Labelled(folder / entry["file_name"], of_picture[entry["id"]]))
    return [clip[start::every] for clip in frames.values() for start in range(min(every, len(clip)))]


def look(networks: BlazePose, detector: TrainedDetector, clip: list[Labelled]) -> list[list[Person]]:
    """The people whom the pose source finds in a clip's frames, as the recipe `motion` has it."""
    follower, found = Follower(networks, recipe.Pose()), list[list[Person]]()
    for path, _ in clip:
        coded = cv2.imread(str(path))
        assert coded is not None, path
        picture = np.ascontiguousarray(coded[..., ::-1], np.uint8)
        ((boxes, _, _),) = detector(
            detector.prepare([picture]), lambda boxes, scores: suppress(boxes, scores, threshold=0.01, iou=0.5, most=10)
        )
        found.append(follower.find(picture, boxes))
    return with_sides(found)


def count(people: list[Truth], found: list[Person], least: float, counts: dict[str, list[int]]) -> None:
    """Add a picture's people and parts to the counts: of each name how many there are, and how many of them are so."""
    boxes = np.stack([person.box for person in found]) if found else np.zeros((0, 4))
    parts = np.stack([part_boxes(p.points, p.visibility)[0] for p in found]) if found else np.zeros((0, 10, 4))
    for person in people:
        counts["people"].append(_best(person.box, boxes) >= 0.5)
        for at, part in enumerate(PARTS):
            if np.isnan(person.parts[at]).any() or part.split("_")[-1] in ("hand", "foot"):
                continue
            same = _best(person.parts[at], parts[:, at])
            counts["parts"].append(same >= least)
            counts[part.split("_")[-1]].append(same >= least)
            other = _best(person.parts[at], parts[:, PARTS.index(swap(part))]) if swap(part) != part else 0.0
            if swap(part) != part and max(same, other) >= least:
                counts["other side"].append(other > same)


def _best(box: np.ndarray, among: np.ndarray) -> float:
    """The greatest IoU with some boxes' edges, of which some may be missing."""
    there = among[~np.isnan(among).any(-1)]
    inclusive = np.array((0, 0, -1, -1))
    return float(iou(box[None] + inclusive, there + inclusive).max()) if len(there) else 0.0


def main() -> None:
    """Measure, and print a line."""
    if len(sys.argv) < 2:
        print("no pictures with keypoints are named: nothing is measured", file=sys.stderr)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("labels", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("store")
    parser.add_argument("--iou", type=float, default=0.3)
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    prepare_cpu()
    networks = load(Store(asked.store).local(path_of("blazepose")))
    detector, counts = load_detector(SHIPPED["people"], device="cpu"), defaultdict[str, list[int]](list)
    for clip in clips(asked.labels, asked.pictures, asked.every):
        for (_, people), found in zip(clip, look(networks, detector, clip), strict=True):
            count(people, found, asked.iou, counts)
    print(json.dumps({name: f"{np.mean(hits):.3f} of {len(hits)}" for name, hits in counts.items()}))


if __name__ == "__main__":
    main()
