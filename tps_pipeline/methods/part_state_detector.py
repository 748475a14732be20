"""Method `part_state_detector`: a detector whose classes are part and state joined, on each crop.

It looks at a single frame. People are those of the two-stage detections; a part's box and state are its own choice
among the boxes it finds in the person's crop, one of each: more proposals would share the metric's credit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import boxes, recipe
from tps_pipeline.ahead import ahead
from tps_pipeline.labels import swap
from tps_pipeline.methods.part_states import LIKELIEST, UNKNOWN, in_states
from tps_pipeline.outputs import DETECTIONS, FRAMES, STATE_LABELS, Output, dataset
from tps_pipeline.reading import Reads
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.training.checkpoint import WEIGHTS

if TYPE_CHECKING:
    from tps_pipeline.detection.detector import Batch, TrainedDetector
    from tps_pipeline.video.frames import FrameFile

SAMPLES = dataset("part_state")
"""What it trains on."""
_PERSON = ["video_id", "frame", "person"]


class Found(NamedTuple):
    """What someone's part is, and where."""

    video_id: str
    """Which video."""
    frame: int
    """Which frame, from 1."""
    person: int
    """Which of the frame's people, from 0."""
    part: str
    """Which part."""
    box: NDArray[np.int64]
    """Inclusive corners in frame pixels, (4,)."""
    score: float
    """Of the box."""
    states: dict[str, float]
    """The likeliest states, best first, each with its share of the scores of the part's states."""


class Crop(NamedTuple):
    """Whose crop it is, and where in the frame."""

    video_id: str
    """Which video."""
    frame: int
    """Which frame, from 1."""
    person: int
    """Which of the frame's people, from 0."""
    corner: NDArray[np.int64]
    """Its upper left, twice: what is added to a box, (4,)."""
    size: tuple[int, int]
    """Width and height of the frame."""


@dataclass(frozen=True)
class PartStateDetector:
    """A detector of `left_arm_bend`, ...: all (part, state) pairs of the training boxes and their mirror images."""

    settings: recipe.PartStateDetector
    """The recipe's entry."""
    fit_reads: tuple[Output, ...] = (SAMPLES, FRAMES, STATE_LABELS)
    """See `Method`."""
    predict_reads: tuple[Output, ...] = (DETECTIONS, FRAMES)
    """See `Method`."""
    fit_version: ClassVar[str] = "1"
    """See `Method`."""
    predict_version: ClassVar[str] = "2"
    """See `Method`."""

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Train the detector; see `detection.train.train`."""
        from tps_pipeline.detection.train import train as train_detector

        return train_detector(
            self.settings.detector,
            train(SAMPLES),
            train.frames(),
            classes(train(STATE_LABELS)),
            val_samples=val(SAMPLES),
            val_frames=val.frames(),
            folder=folder,
            seed=seed,
            weights=weights,
        )

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """Look at the crop of everyone detected; a part's box is kept from the detections where none is found.

        A part whose state cannot be told (its frame is damaged, or no training box shows the part) is in `none`.
        """
        from tps_pipeline.cpu import prepare_cpu
        from tps_pipeline.detection.detector import load

        prepare_cpu()
        detector = load(checkpoint / WEIGHTS, inference=self.settings.detector.inference)
        detections = shard(DETECTIONS)
        found = [row for file in shard.frames() for row in find(detector, file, detections, settings=self.settings)]
        return with_found(detections, found, box_threshold=self.settings.inference.box_threshold)


def classes(state_labels: pa.Table) -> list[str]:
    """The detector's classes: all pairs of `tables.STATE_LABELS`, closed under mirroring, joined and sorted."""
    from tps_pipeline.detection.datasets import join_state

    labels = {join_state(row["part"], row["state"]) for row in state_labels.to_pylist()}
    return sorted(labels | {swap(label) for label in labels})


def find(
    detector: TrainedDetector, frames: FrameFile, detections: pa.Table, *, settings: recipe.PartStateDetector
) -> Iterator[Found]:
    """Find the parts and states of the people in some frames, crops of several frames in one batch.

    Args:
        detector: Its classes are joined labels.
        frames: Where the frames are; people in other frames are passed over.
        detections: `tables.DETECTIONS`: whose crops to look at.
        settings: Margin of the crops and choice.
    """
    from tps_pipeline.detection.datasets import crops, split_state, to_frame
    from tps_pipeline.detection.pictures import read, steps
    from tps_pipeline.detection.two_stage import to_pixels

    pairs, used = [split_state(label) for label in detector.labels], settings.inference
    columns = columns_of(pairs)
    people = to_frame(detections, *_PERSON, *PERSON_BOX).drop_duplicates(_PERSON)
    of_frame = dict(iter(people.groupby(["video_id", "frame"], sort=False)))

    def cut(keys: Sequence[tuple[str, int]]) -> tuple[list[Crop], list[Batch]]:
        pictures, everyone, cuts = read(frames, keys), [], []
        for key, picture in zip(pictures.keys, pictures.frames, strict=True):
            size = (picture.shape[1], picture.shape[0])
            rows = of_frame[key]
            windows = crops(rows[[*PERSON_BOX]].to_numpy(), np.array(size), margin=settings.crop_margin)
            everyone += [Crop(*key, int(p), np.tile(w[:2], 2), size) for p, w in zip(rows.person, windows, strict=True)]
            cuts += [picture[y1 : y2 + 1, x1 : x2 + 1] for x1, y1, x2, y2 in windows]
        return everyone, detector.prepare(cuts)

    keys = [key for key in frames.keys() if key in of_frame]  # noqa: SIM118
    for everyone, batches in ahead(cut, steps(keys)):
        for crop, (candidates, scores) in zip(everyone, detector(batches), strict=True):
            chosen = choose(candidates, scores, columns, choice=used.choice, vote_iou=used.vote_iou)
            pixels = to_pixels(np.stack([box for box, _, _ in chosen.values()]) + crop.corner, crop.size)
            for (part, (_, score, states)), box in zip(chosen.items(), pixels, strict=True):
                yield Found(crop.video_id, crop.frame, crop.person, part, box, score, states)


def columns_of(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[list[int], list[str]]]:
    """Of each part the classes that are states of it, and these states.

    Args:
        pairs: Part and state of each class.
    """
    columns: dict[str, tuple[list[int], list[str]]] = {}
    for at, (part, state) in enumerate(pairs):
        of_part, states = columns.setdefault(part, ([], []))
        of_part.append(at)
        states.append(state)
    return columns


def choose(
    candidates: NDArray[np.float32],
    scores: NDArray[np.float32],
    columns: Mapping[str, tuple[Sequence[int], Sequence[str]]],
    *,
    choice: Literal["best", "vote"],
    vote_iou: float,
) -> dict[str, tuple[NDArray[np.float32], float, dict[str, float]]]:
    """One box and one state for each part.

    The box is the one with the highest score for any of the part's states. `best` takes its states' scores, `vote`
    sums them over all boxes that overlap it enough (itself included).

    Args:
        candidates: Everything that the detector sees in a crop, continuous pixels, (N, 4).
        scores: Of each class, (N, C).
        columns: Of each part its classes, and their states.
        choice: How the state is chosen.
        vote_iou: Overlap of the boxes that vote.

    Returns:
        By part: box, score, and the likeliest states, best first, each with its share of the scores of all the part's
        states. Parts without classes are left out.
    """
    chosen = {}
    for part, (which, names) in columns.items():
        of_part = scores[:, which]
        best = int(of_part.max(1).argmax())
        votes = of_part[best]
        if choice == "vote":
            pixels = candidates - np.array((0, 0, 1, 1), candidates.dtype)
            votes = of_part[boxes.paired_iou(pixels, pixels[best]) >= vote_iou].sum(0)
        order = np.argsort(-votes, kind="stable")[:LIKELIEST]
        shares = votes / max(float(votes.sum()), 1e-12)
        states = {names[i]: float(shares[i]) for i in order.tolist()}
        chosen[part] = (candidates[best], float(of_part[best].max()), states)
    return chosen


def with_found(detections: pa.Table, found: Sequence[Found], *, box_threshold: float) -> pa.Table:
    """Detections with the boxes and states that were found for them.

    Args:
        detections: `tables.DETECTIONS`.
        found: At most one for each of their rows.
        box_threshold: A box with a lower score does not replace the detections' box.

    Returns:
        A table of `tables.PREDICTIONS`; a replaced box's score is its own times its person's.
    """
    found_by_key = {match[:4]: match for match in found}
    rows = detections.to_pandas()
    keys = zip(rows.video_id.astype(str), rows.frame, rows.person, rows.part.astype(str), strict=True)
    matched = [found_by_key.get(key) for key in keys]
    states = [tuple(match.states.items()) if match else UNKNOWN for match in matched]
    replaced = [i for i, match in enumerate(matched) if match and match.score >= box_threshold]
    better = [match for match in matched if match and match.score >= box_threshold]
    rows.loc[replaced, [*BOX]] = np.array([match.box for match in better], np.int16).reshape(-1, 4)
    rows.loc[replaced, "part_score"] = rows.person_score.iloc[replaced] * np.array(
        [e.score for e in better], np.float32
    )
    return in_states(rows, states)
