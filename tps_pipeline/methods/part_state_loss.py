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

LongTail = Literal["class_balanced", "focal", "logit_adjusted"]
"""What a loss does about states that are rare; see `part_state_loss`."""

BETA = 0.999
"""`class_balanced`: of a state's samples, so many as 1 / (1 - BETA) tell something new (Cui et al., 2019)."""
FOCUS = 2.0
"""`focal`: the exponent (gamma) of Lin et al. (2017)."""


def part_state_loss(
    logits: Tensor,
    targets: Tensor,
    space: LabelSpace,
    *,
    kind: Loss,
    long_tail: LongTail | None = None,
    counts: Tensor | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """The loss of a batch; a GPU is not waited for.

    `bce` asks of every label whether it holds (the paper's); those of a part without a target do not. `softmax`
    asks for one state of each part that has a target: the mean cross-entropy over all such parts.

    For rare states, `class_balanced` weighs labels by the inverse of their effective number (Cui et al., 2019), the
    mean over a part's being one. `focal` makes little of what is already likely (Lin et al., 2017; without its weight
    of positives). `logit_adjusted` adds the log of how frequent a state is to its logit, by `bce` the log-odds of
    that, in training only (Menon et al., 2021): the network itself then need not know which states are frequent.

    Args:
        logits: `(B, labels)`.
        targets: The label of each part, or `UNLABELLED`, `(B, parts)`.
        space: The label space.
        kind: Which.
        long_tail: What is done for rare states.
        counts: How often each label is a training target, `(labels,)`; `class_balanced` and `logit_adjusted` need it.
        among: Which rows count, `(B,)`; all without.
    """
    logits = logits.float()
    if counts is not None:
        counts = counts.to(logits)
    if long_tail == "logit_adjusted":
        assert counts is not None
        logits = logits + prior_logits(counts, space, kind=kind)
    if kind == "bce":
        losses = functional.binary_cross_entropy_with_logits(logits, _holds(logits, targets), reduction="none")
        counted = torch.ones_like(losses) if among is None else among[:, None].expand_as(losses)
    else:
        losses = -_log_softmax(logits, space).gather(1, targets.clamp(min=0))
        counted = targets >= 0 if among is None else (targets >= 0) & among[:, None]
    if long_tail == "focal":
        losses = losses * (1 - (-losses).exp()) ** FOCUS
    if long_tail == "class_balanced":
        assert counts is not None
        weights = class_weights(counts, space)
        losses = losses * (weights if kind == "bce" else weights[targets.clamp(min=0)])
    return losses.where(counted.bool(), 0).sum() / counted.sum().clamp(min=1)


def class_weights(counts: Tensor, space: LabelSpace) -> Tensor:
    """Each label's weight, `(labels,)`: the inverse of its effective number, of a mean of one over a part's labels."""
    weights = (1 - BETA) / (1 - BETA ** counts.clamp(min=1))
    return torch.cat([part / part.mean() for part in weights.split(_sizes(space))])


def prior_logits(counts: Tensor, space: LabelSpace, *, kind: Loss) -> Tensor:
    """What logits are adjusted by, `(labels,)`; one target more than there are, so that none has no chance."""
    chances = [(part + 1) / (part.sum() + max(2, len(part))) for part in counts.split(_sizes(space))]
    return torch.cat([part.logit() if kind == "bce" else part.log() for part in chances])


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


def _holds(logits: Tensor, targets: Tensor) -> Tensor:
    """Which labels are targets, as zeros and ones, `(B, labels)`."""
    return torch.zeros_like(logits).scatter_add_(1, targets.clamp(min=0), (targets >= 0).float())


def _log_softmax(logits: Tensor, space: LabelSpace) -> Tensor:
    """Log-probabilities among the states of each part; a label space is sorted by part."""
    return torch.cat([part.log_softmax(1) for part in logits.split(_sizes(space), 1)], 1)


def _sizes(space: LabelSpace) -> list[int]:
    """How many states each part has that has any."""
    return [len(list(states)) for _, states in groupby(space.pairs, key=lambda pair: pair[0])]
