"""How long a training takes, by the recipe in epochs, optimiser steps or minutes, and how much of that is over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tps_pipeline import recipe

EVALUATIONS = 10
"""About so many times a training is evaluated."""


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        batches: Batches seen.
        seconds: How long it took so far, runs that were cut off included.
    """

    batches: int
    seconds: float


@dataclass(frozen=True)
class Budget:
    """What a training may use.

    Attributes:
        settings: The recipe's section.
        per_epoch: Batches an epoch.
        accumulate: Batches an optimiser step; an epoch's last step may have fewer.
    """

    settings: recipe.Training
    per_epoch: int
    accumulate: int

    def batches(self, now: Progress) -> float:
        """Batches of the whole training; by the clock: as many as there will be if it goes on as fast as so far."""
        if self.settings.epochs:
            return self.settings.epochs * self.per_epoch
        if self.settings.optimizer_steps:
            epochs, steps = divmod(self.settings.optimizer_steps, self._steps_per_epoch)
            return epochs * self.per_epoch + min(steps * self.accumulate, self.per_epoch)
        used = self.used(now)
        return now.batches / used if now.batches and used else math.inf

    def optimizer_steps(self, now: Progress) -> float:
        """Optimiser steps of the whole training, as `batches`."""
        if self.settings.epochs:
            return self.settings.epochs * self._steps_per_epoch
        return self.settings.optimizer_steps or self.batches(now) / self.accumulate

    def used(self, now: Progress) -> float:
        """The share that is over: 1 or more ends the training."""
        if self.settings.minutes:
            return now.seconds / 60 / self.settings.minutes
        return now.batches / self.batches(now)

    def evaluates(self, epoch: int, before: Progress, after: Progress) -> bool:
        """Whether a training is evaluated after an epoch (from 0) that has taken it from one point to another."""
        if self.settings.epochs:
            due = (epoch + 1) % max(1, self.settings.epochs // EVALUATIONS) == 0
        else:
            due = int(self.used(after) * EVALUATIONS) > int(self.used(before) * EVALUATIONS)
        return due or self.used(after) >= 1

    @property
    def evaluations(self) -> int:
        """How often a training is evaluated."""
        return (
            self.settings.epochs // max(1, self.settings.epochs // EVALUATIONS) if self.settings.epochs else EVALUATIONS
        )

    @property
    def _steps_per_epoch(self) -> int:
        return math.ceil(self.per_epoch / self.accumulate)


def batch_size(settings: recipe.Training, samples: int) -> int:
    """Samples in a batch; `auto`: the power of two from 4 to 32 with which an epoch has 32 batches or more."""
    if settings.batch_size != "auto":
        return settings.batch_size
    return min(32, max(4, 2 ** int(math.log2(max(1, samples / 32)))))
