"""Everything that learns, with one shape: detectors, the video's action, and the methods.

A learner says what it reads and where in the recipe its settings are, fits, and tells how good what was fitted is.
Checkpoint assets, training in several processes, sharing of checkpoints and promotion follow from that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from tps_pipeline.outputs import Output
from tps_pipeline.reading import Reads
from tps_pipeline.recipe import Detector, Recipe


class Learner(Protocol):
    """Something that is trained from one section of the recipe."""

    figure: ClassVar[str]
    """What networks of a name are compared by; more is better."""

    @property
    def name(self) -> str:
        """Of its checkpoint."""
        ...

    @property
    def section(self) -> str:
        """Where its settings are in the recipe."""
        ...

    @property
    def description(self) -> str:
        """For people."""
        ...

    @property
    def version(self) -> str:
        """Of the code that learns: bumped when it learns something else from the same."""
        ...

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns."""
        ...

    @property
    def weights(self) -> str | None:
        """The imported weights that it starts from, by name."""
        ...

    @property
    def alone(self) -> bool:
        """Whether it learns in one process, however many there are: where there is no network."""
        ...

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """The outputs that `fit` needs."""
        ...

    @property
    def evaluate_reads(self) -> tuple[Output, ...]:
        """The outputs that `evaluate` needs beside the checkpoint."""
        ...

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """Learn from the training shards, and from imported weights if any, and leave a checkpoint in a folder.

        A training that was cut off goes on from what is in the folder.

        Returns:
            Figures worth keeping with the checkpoint.
        """
        ...

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """How good a checkpoint is on some validation shards, by `figure`."""
        ...


def learners_of(recipe: Recipe) -> list[Learner]:
    """All that a recipe has learn: its detectors, who names the video's action, and every entry of its methods."""
    from tps_pipeline.learners.detector import PART, PERSON, SINGLE_STAGE, DetectorLearner
    from tps_pipeline.learners.method import MethodLearner
    from tps_pipeline.learners.video_action import members_of

    detectors = ((kind, recipe.without_inference(kind.section)) for kind in (PERSON, PART, SINGLE_STAGE))
    return [
        *(DetectorLearner(kind, settings) for kind, settings in detectors if isinstance(settings, Detector)),
        *members_of(recipe.video_action).values(),
        *(MethodLearner(name, recipe) for name in recipe.methods),
    ]
