"""A method as a learner: it fits by the method's class, and is judged by what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tps_pipeline import recipe
from tps_pipeline.learners.pretrained import weights_named
from tps_pipeline.methods import Method, build
from tps_pipeline.methods.own import Own
from tps_pipeline.outputs import SCORED_WITH, Output, checkpoint
from tps_pipeline.reading import Reads


@dataclass(frozen=True)
class MethodLearner:
    """An entry of the recipe's methods (a `Learner`)."""

    name: str
    """Of the entry."""
    recipe: recipe.Recipe
    """The whole recipe, of which the entry is a part."""
    figure: ClassVar[str] = "mean PSC"
    """The mean over the videos that were predicted."""

    @property
    def section(self) -> str:
        """Where its settings are in the recipe."""
        return f"methods.{self.name}"

    @property
    def description(self) -> str:
        """For people."""
        return f"What the method {self.name} has learned."

    @cached_property
    def method(self) -> Method:
        """As it learns: its entry's `inference` part is left out."""
        return build(self.recipe.without_inference(self.section))

    @property
    def version(self) -> str:
        """Of the code that learns."""
        return self.method.fit_version

    @property
    def code(self) -> Callable[..., object]:
        """The function that learns: the method's."""
        return self.method.fit

    @property
    def weights(self) -> str | None:
        """The imported weights that it starts from."""
        return weights_named(self.recipe.section(self.section))

    @property
    def alone(self) -> bool:
        """Whether it only counts; or is not in this package, and does not say `alone = False`."""
        entry, method = self.recipe.methods[self.name], self.method
        return method.alone if isinstance(method, Own) else isinstance(entry, recipe.VideoCategory)

    @property
    def fit_reads(self) -> tuple[Output, ...]:
        """What the method's `fit` reads, and the network that it starts from, if any."""
        return (*self.method.fit_reads, *self._start)

    @property
    def _start(self) -> tuple[Output, ...]:
        """The checkpoint of the network of the recipe that it starts from."""
        entry = self.recipe.methods[self.name]
        return (checkpoint(entry.start_from),) if isinstance(entry, recipe.ClipMethod) and entry.start_from else ()

    @property
    def evaluate_reads(self) -> tuple[Output, ...]:
        """What the method predicts from, and what its predictions are scored with."""
        return tuple(dict.fromkeys((*SCORED_WITH, *self.method.predict_reads)))

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See the method's `fit`."""
        from tps_pipeline.training.checkpoint import WEIGHTS

        for start in self._start:
            weights = train.path(start) / WEIGHTS
        return self.method.fit(train, val, folder, seed=seed, weights=weights)

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        """Mean part state correctness over the videos, of what is predicted with the entry in force."""
        from tps_pipeline import evaluation

        predictions = build(self.recipe.methods[self.name]).predict(val, checkpoint)
        stride = self.recipe.frames.sample_stride
        scored = evaluation.score(val, predictions, method=self.name, split="val", stride=stride)
        return float(scored["psc"].to_numpy().mean())
