"""How any network is trained."""

from __future__ import annotations

from typing import Literal

from tps_pipeline.recipe.section import Amount, Count, Fraction, Positive, Section


class Training(Section):
    """One optimisation: what `tps_pipeline.training.loop` does with any network."""

    epochs: Positive
    """Passes over the training samples."""
    batch_size: Positive
    """Samples in a forward pass."""
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
    ema: Fraction | None = None
    """Decay of the exponential moving average of the weights (null: none)."""
    clip_norm: Amount | None = None
    """Gradients with a greater norm are scaled down to it (null: never)."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    """Of the arithmetic: single, or mixed with half or with bfloat16."""
    workers: Count = 0
    """Processes that prepare samples beside the training (0: none)."""
