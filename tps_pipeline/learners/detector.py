"""The detectors as learners; how a detector is trained stands in `tps_pipeline.detection.train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tps_pipeline import recipe
from tps_pipeline.outputs import FRAMES, Output, checkpoint, dataset
from tps_pipeline.reading import Reads


@dataclass(frozen=True)
class Kind:
    """One of the recipe's detectors.

    Attributes:
        section: Its section, and its checkpoint's name.
        samples: What it is trained on.
        people: Whether it detects people.
        parts: Whether it detects parts.
        description: For people.
    """

    section: str
    samples: Output
    people: bool
    parts: bool
    description: str


PERSON = Kind("person_detector", dataset("person"), True, False, "YOLOv7 for people on whole frames.")
"""The first stage of the two-stage detection."""

PART = Kind("part_detector", dataset("part"), False, True, "A detector of the parts on a person's crop.")
"""The second stage of the two-stage detection."""

SINGLE_STAGE = Kind(
    "single_stage_detector",
    dataset("single_stage"),
    True,
    True,
    "YOLOv7 for people and parts together on whole frames.",
)
"""The detector that the two stages are compared with."""


@dataclass(frozen=True)
class DetectorLearner:
    """One of the recipe's detectors (a `Learner`)."""

    kind: Kind
    """Which detector."""
    settings: recipe.Detector
    """Its section of the recipe."""
    figure: ClassVar[str] = "AP"
    """Average precision."""
    version: str = "1"
    """See `Learner`."""
    alone: bool = False
    """See `Learner`."""

    @property
    def name(self) -> str:
        """Of its checkpoint."""
        return self.kind.section

    @property
    def section(self) -> str:
        """Where its settings are in the recipe."""
        return self.kind.section

    @property
    def description(self) -> str:
        """For people."""
        return self.kind.description

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        return self.fit

    @property
    def weights(self) -> str | None:
        """The imported weights that it starts from."""
        return self.settings.network.weights

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """Its samples, the frames that they are on, and the detector that it starts from, if any."""
        start = self.settings.start_from
        return (*self.evaluate_reads, checkpoint(start)) if start else self.evaluate_reads

    @property
    def evaluate_reads(self) -> tuple[Output, ...]:
        """Samples of validation videos, and their frames."""
        return self.kind.samples, FRAMES

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `detection.train.train`."""
        from tps_pipeline.detection.datasets import classes
        from tps_pipeline.detection.train import train as train_detector
        from tps_pipeline.tables import distinct
        from tps_pipeline.training.checkpoint import WEIGHTS

        if start := self.settings.start_from:
            weights = train.path(checkpoint(start)) / WEIGHTS
        samples = train(self.kind.samples)
        named = distinct(samples["label"].drop_null())
        return train_detector(
            self.settings,
            samples,
            train.frames(),
            classes(named, people=self.kind.people, parts=self.kind.parts),
            val_samples=val(self.kind.samples),
            val_frames=val.frames(),
            folder=folder,
            seed=seed,
            weights=weights,
        )

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """Average precision, the mean over its classes."""
        from tps_pipeline.detection.train import validate
        from tps_pipeline.training.checkpoint import WEIGHTS

        return validate(checkpoint / WEIGHTS, val(self.kind.samples), val.frames())["ap"]
