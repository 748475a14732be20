"""How any network is trained."""

from __future__ import annotations

from typing import Literal

from tps_pipeline.recipe.section import Amount, Count, Fraction, Positive, Section


class Training(Section):
    """One optimisation: what `tps_pipeline.training.loop` does with any network."""

    epochs: Positive
    batch_size: Positive
    global_batch: Positive | None = None
    """Gradients accumulate until this many samples were seen (null: every batch steps)."""
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Amount
    momentum: Fraction = 0.937
    weight_decay: Amount = 0.0
    schedule: Literal["one_cycle", "yolo_cosine", "step", "constant"] = "one_cycle"
    final_learning_rate: Amount = 0.1
    """`yolo_cosine`: the last epoch's learning rate as a share of the first's."""
    steps: tuple[Amount, ...] = ()
    """`step`: epochs at which the learning rate falls to a tenth."""
    warmup: Amount = 0.1
    """`one_cycle`: share of all steps with a rising rate; the other schedules: epochs."""
    ema: Fraction | None = None
    """Decay of the exponential moving average of the weights (null: none)."""
    clip_norm: Amount | None = None
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    workers: Count = 0
