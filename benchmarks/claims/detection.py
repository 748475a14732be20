"""Detectors: trained alike and scored on one seed's generated data, each when first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.claims.claim import Claim
from benchmarks.claims.world import World
from tps_pipeline.detection import single_stage, two_stage
from tps_pipeline.detection.average_precision import average_precision
from tps_pipeline.detection.confusion import confusion
from tps_pipeline.detection.datasets import Flip, part_samples, person_samples, single_stage_samples
from tps_pipeline.detection.train import train
from tps_pipeline.evaluation import figures
from tps_pipeline.labels import PARTS, PERSON
from tps_pipeline.learners.pretrained import SHIPPED, weights_named
from tps_pipeline.recipe import Detector, DetectorInference, Recipe
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import FrameFile

CROWD = 4
"""People in a frame that is a crowd."""

Kind = Literal["person", "part", "single_stage", "single_stage_double"]
Way = Literal["two_stage", "single_stage", "single_stage_double"]
"""`single_stage_double`: twice the picture's size, so that a part has about as many pixels as in a person's crop."""


class Detectors(World):
    """One seed's data, detectors and their scores."""

    actions = ("country_line_dancing", "salsa_dancing", "push_up", "lunge")
    """Half of the videos, line and salsa dancing, are of groups."""
    videos = 72
    size = (320, 240)
    frames = 60

    def __init__(self, folder: Path, settings: Recipe, *, seed: int) -> None:
        super().__init__(folder, settings, seed=seed)
        # Remembered by this object, not by the class.
        self.scores, self.detections = cache(self.scores), cache(self.detections)

    def network(self, kind: Kind, flip: Flip) -> Path:
        """A trained detector."""
        return trained(self, kind, flip, self.pictures("train"))

    def detections(self, way: Way, flip: Flip) -> pa.Table:
        """What is found in the held-out videos; the people are found by one network whatever `flip` is."""
        frames = self.pictures("test")
        if way == "two_stage":
            networks = self.network("person", "label_swap"), self.network("part", flip)
            return two_stage.detect(
                frames, *networks, settings=self.settings.two_stage, inference=inference_of(self.settings)
            )
        inference = _single_stage(self.settings, way).inference
        return single_stage.detect(
            frames, self.network(way, flip), settings=self.settings.single_stage, inference=inference
        )

    def scores(self, way: Way, *, flip: Flip = "label_swap", crowds: bool = False) -> dict[str, float]:
        """Precision and confusion on the held-out frames, or on those that show a crowd."""
        labelled, index = self.annotations.labelled_frames, self.pictures("test").index
        if crowds:
            labelled = labelled.filter(pc.field("n_people") >= CROWD)
        tables = labelled, self.annotations.people, self.annotations.parts
        found = self.detections(way, flip)
        scored = [score(found, *tables, frames=index, split="test") for score in (average_precision, confusion)]
        return {name.removeprefix("test_"): value for table in scored for name, value in figures(table).items()}


def inference_of(settings: Recipe) -> tuple[DetectorInference, DetectorInference]:
    """How the detectors of people and of parts look at pictures."""
    people, parts = settings.trained_detectors
    return people.inference, parts.inference


def trained(world: World, kind: Kind, flip: Flip, frames: FrameFile) -> Path:
    """A detector that learned from some frames of a world."""
    settings, of = world.settings, world.annotations
    detectors: dict[str, Detector] = dict(zip(("person", "part"), settings.trained_detectors, strict=True))
    labelled, people, parts = of.labelled_frames, of.people, of.parts
    match kind:
        case "person":
            samples, labels = person_samples(labelled, people, frames.index, flip=flip), (PERSON,)
        case "part":
            margin = settings.two_stage.crop_margin
            samples, labels = part_samples(people, parts, frames.index, margin=margin, flip=flip), PARTS
        case "single_stage" | "single_stage_double":
            samples = single_stage_samples(labelled, people, parts, frames.index, flip=flip)
            labels = (PERSON, *PARTS)
    folder = world.folder / f"{kind}_{flip}"
    if not (folder / WEIGHTS).exists():
        detector = detectors.get(kind) or _single_stage(settings, kind)
        train(
            detector, samples, [frames], labels, val_samples=samples.slice(0, 0), val_frames=[], folder=folder,
            seed=world.seed, weights=SHIPPED.get(weights_named(detector.model_dump()) or ""),
        )  # fmt: skip
    return folder / WEIGHTS


def _single_stage(settings: Recipe, way: str) -> Detector:
    """The single stage's detector; at twice the size its objectness weighs as much as before."""
    detector = settings.single_stage_detector
    assert detector is not None
    if way == "single_stage":
        return detector
    assert detector.gains.objectness != "auto"
    gains = detector.gains.model_copy(update={"objectness": detector.gains.objectness / 4})
    return detector.model_copy(update={"image_size": 2 * detector.pixels, "gains": gains})


CLAIMS = (
    Claim(
        "crowd_parts",
        "Among four people and more, two stages find parts better than a single stage trained alike",
        "part AP50",
        True,
        ("two stages", "single stage"),
        lambda d: tuple(d.scores(way, crowds=True)["parts_ap50"] for way in ("two_stage", "single_stage")),
    ),
    Claim(
        "crowd_people",
        "Among four people and more, two stages give fewer parts to the wrong person than a single stage trained alike",
        "share on the wrong person",
        False,
        ("two stages", "single stage"),
        lambda d: tuple(d.scores(way, crowds=True)["wrong_person"] for way in ("two_stage", "single_stage")),
    ),
    Claim(
        "crowd_parts_double",
        "The same, of a single stage that sees pictures of twice the size, in which parts are as large as in crops",
        "part AP50",
        True,
        ("two stages", "single stage, twice the size"),
        lambda d: tuple(d.scores(way, crowds=True)["parts_ap50"] for way in ("two_stage", "single_stage_double")),
    ),
    Claim(
        "crowd_people_double",
        "And of the parts that it gives to the wrong person",
        "share on the wrong person",
        False,
        ("two stages", "single stage, twice the size"),
        lambda d: tuple(d.scores(way, crowds=True)["wrong_person"] for way in ("two_stage", "single_stage_double")),
    ),
    Claim(
        "label_swap_sides",
        "Exchanging left and right in mirrored images confuses sides less than mirroring alone",
        "share of sides confused",
        False,
        ("label swap", "plain flips"),
        lambda d: tuple(d.scores("two_stage", flip=flip)["sides_confused"] for flip in ("label_swap", "plain")),
    ),
    Claim(
        "label_swap_precision",
        "Mirrored images with exchanged labels make parts more precise than no mirrored images",
        "part AP",
        True,
        ("label swap", "no flips"),
        lambda d: tuple(d.scores("two_stage", flip=flip)["parts_ap"] for flip in ("label_swap", "none")),
    ),
)
