"""Losses and scores of networks with an output for each (part, state) pair."""

from __future__ import annotations

from itertools import groupby
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tps_pipeline.methods.part_states import LabelSpace

Loss = Literal["bce", "softmax"]
"""Labels by themselves, or one state a part; see `part_state_loss`."""


def part_state_loss(logits: Tensor, targets: Tensor, space: LabelSpace, *, kind: Loss) -> Tensor:
    """The loss of a batch.

    `bce` asks of every label whether it holds (the paper's); those of a part without a target do not. `softmax`
    asks for one state of each part that has a target: the mean cross-entropy over all such parts.

    Args:
        logits: `(B, labels)`.
        targets: The label of each part, or `UNLABELLED`, `(B, 10)`.
        space: The label space.
        kind: Which.
    """
    logits = logits.float()
    labelled = targets >= 0
    if kind == "bce":
        holds = torch.zeros_like(logits).scatter_add_(1, targets.clamp(min=0), labelled.float())
        return functional.binary_cross_entropy_with_logits(logits, holds)
    chosen = _log_softmax(logits, space).gather(1, targets.clamp(min=0))[labelled]
    return -chosen.sum() / labelled.sum().clamp(min=1)


def part_state_scores(logits: Tensor, space: LabelSpace, *, kind: Loss) -> Tensor:
    """Each label's score, from 0 to 1: its probability, under `softmax` among the states of its part.

    Args:
        logits: `(B, labels)`.
        space: The label space.
        kind: The loss that the network was trained with.

    Returns:
        float32, `(B, labels)`.
    """
    return logits.float().sigmoid() if kind == "bce" else _log_softmax(logits.float(), space).exp()


def _log_softmax(logits: Tensor, space: LabelSpace) -> Tensor:
    """Log-probabilities among the states of each part; a label space is sorted by part."""
    sizes = [len(list(states)) for _, states in groupby(space.pairs, key=lambda pair: pair[0])]
    return torch.cat([part.log_softmax(1) for part in logits.split(sizes, 1)], 1)
