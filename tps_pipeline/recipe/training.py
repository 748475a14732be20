"""How any network is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from tps_pipeline.recipe.section import Amount, Count, Fraction, Positive, Section, Size


class Training(Section):
    """One optimisation: what `tps_pipeline.training.loop` does with any network."""

    epochs: Positive | None = None
    """Passes over the training samples. A budget: of `epochs`, `optimizer_steps` and `minutes` exactly one is given."""
    optimizer_steps: Positive | None = None
    """Steps of the optimiser: as long a training however few samples there are."""
    minutes: Size | None = None
    """Of this clock's time, evaluation included; how far it gets depends on the machine and on who else uses it."""
    keep: Literal["last", "best"] = "last"
    """The weights that are kept: those at the end, or those of the epoch that was best on `val` (where nothing is held
    out: those at the end)."""
    batch_size: Positive | Literal["auto"]
    """Samples in a forward pass (`auto`: 4 to 32, the fewer the fewer samples there are)."""
    global_batch: Positive | None = None
    """Gradients accumulate until this many samples were seen (null: every batch steps)."""
    optimizer: Literal["sgd", "adamw"]
    """Stochastic gradient descent with Nesterov momentum, or Adam with decoupled weight decay."""
    learning_rate: Amount
    """The highest of the schedule."""
    momentum: Fraction = 0.937
    """`sgd` only (default: YOLOv7's)."""
    weight_decay: Amount = 0.0
    """Of weights; norms, biases and learned tables have none."""
    schedule: Literal["one_cycle", "yolo_cosine", "step", "constant"] = "one_cycle"
    """How the learning rate changes over the training."""
    final_learning_rate: Amount = 0.1
    """`yolo_cosine`: the last epoch's learning rate as a share of the first's."""
    steps: tuple[Amount, ...] = ()
    """`step`: epochs at which the learning rate falls to a tenth."""
    warmup: Amount = 0.1
    """`one_cycle`: share of all steps with a rising rate; the other schedules: epochs."""
    ema: Fraction | Literal["auto"] | None = None
    """Decay of the exponential moving average of the weights (null: none; `auto`: one that averages over about the last
    fiftieth of the training)."""
    clip_norm: Amount | None = None
    """Gradients with a greater norm are scaled down to it (null: never)."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    """Of the arithmetic: single, or mixed with half or with bfloat16."""
    workers: Count = 0
    """Processes that prepare samples beside the training (0: none)."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        """A training ends after so many epochs, so many steps or so many minutes."""
        if (self.epochs, self.optimizer_steps, self.minutes).count(None) != 2:
            raise ValueError("give exactly one of epochs, optimizer_steps and minutes")
        return self
