"""How a step is taken: learning rates over a training, what weight decay pulls on, and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tps_pipeline import recipe

WINDOW = 1 / 50
"""The share of all updates that `ema: auto` averages over."""
LONGEST_AVERAGE = 0.9999
"""The greatest decay that `ema: auto` comes to (YOLOv7's)."""


@dataclass(frozen=True)
class Rates:
    """What the schedule sets at a step: learning rate, that of biases, and momentum (SGD only)."""

    learning_rate: float
    """Of all weights but biases."""
    bias_learning_rate: float
    """Of biases, which may warm up from above."""
    momentum: float
    """Of SGD; other optimisers don't look at it."""


def rates(settings: recipe.Training, step: int, steps_per_epoch: int, total: float) -> Rates:
    """The schedule: what to optimise with at a step.

    `one_cycle` is PyTorch's `OneCycleLR` (a cosine from 1/25 of the rate up to it over `warmup` of all steps, then
    down to 1/250,000). `yolo_cosine` is YOLOv7's: constant within an epoch, along a cosine from 1 to
    `final_learning_rate` over the epochs. All but `one_cycle` begin with a linear warm-up of `warmup` epochs
    (`yolo_cosine`: at least 1000 steps, at most half the training), where biases begin at 0.1 under `yolo_cosine`
    and momentum at 0.8.

    Args:
        settings: The recipe's section.
        step: Batches seen before this one.
        steps_per_epoch: Batches an epoch.
        total: Batches of the whole training; it need not be whole epochs.
    """
    peak = settings.learning_rate
    if settings.schedule == "one_cycle":
        rate = _one_cycle(step, total, settings.warmup) * peak
        return Rates(rate, rate, settings.momentum)
    warm, bias_start = settings.warmup * steps_per_epoch, 0.0
    rate, epoch = peak, step // steps_per_epoch
    if settings.schedule == "yolo_cosine":
        fall = (1 - math.cos(math.pi * epoch / (total / steps_per_epoch))) / 2
        rate *= 1 + (settings.final_learning_rate - 1) * fall
        warm, bias_start = min(max(warm, 1000), total / 2) if warm else 0, 0.1
    elif settings.schedule == "step":
        rate *= 0.1 ** sum(step >= at * steps_per_epoch for at in settings.steps)
    done = min(1.0, step / warm) if warm else 1.0
    momentum = 0.8 + (settings.momentum - 0.8) * done if warm else settings.momentum
    return Rates(rate * done, bias_start + (rate - bias_start) * done, momentum)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters for the optimiser: weight decay pulls on matrices and kernels only.

    Norms, biases and learned tables (position biases, implicit knowledge) are left alone, as in YOLOv7 and Swin.

    Returns:
        Three groups: decayed, other, biases (which YOLOv7 warms up differently); `bias` tells them apart.
    """
    decayed, others, biases = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = name.endswith("weight") and parameter.ndim >= 2
            (decayed if matrix else biases if name.endswith("bias") else others).append(parameter)
    groups = [(decayed, weight_decay, False), (others, 0.0, False), (biases, 0.0, True)]
    return [{"params": params, "weight_decay": decay, "bias": bias} for params, decay, bias in groups if params]


def optimizer_of(model: nn.Module, settings: recipe.Training) -> torch.optim.Optimizer:
    """The optimiser of a recipe's section, for a network that is on its device."""
    groups, rate = parameter_groups(model, settings.weight_decay), settings.learning_rate
    # On a CPU a narrow network's hundreds of small tensors, here and in the average one by one from Python, take a
    # ninth of a step. A GPU's default takes them together as well, and leaves mixed precision its own way to clip.
    fused = True if all(each.device.type == "cpu" for each in model.parameters()) else None
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(groups, rate, momentum=momentum, nesterov=momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, rate, fused=fused)


class MovingAverage(AveragedModel):
    """An average whose weight of the new follows from how many there were: a GPU is not waited for to learn that.

    Args:
        model: What is averaged, weights and buffers; the average starts as a copy.
        kept: The share of the average that an update keeps, by how many there were before.
    """

    def __init__(self, model: nn.Module, kept: Callable[[int], float]) -> None:
        super().__init__(model, use_buffers=True)
        self._kept = kept
        self._updates: int | None = None
        """As `n_averaged`, which the state is kept with; None until somebody asks."""
        self._pairs: list[tuple[Tensor, Tensor]] = []
        """Tensors of the average and of the network that is taken in; to look for them again takes as long as to add
        them up."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in a network, the same one on the same device each time; the first weights are copied."""
        if not self._pairs:
            averaged, current = (chain(each.parameters(), each.buffers()) for each in (self.module, model))
            self._pairs = [*zip(averaged, current, strict=True)]
        count = int(self.n_averaged) if self._updates is None else self._updates
        means = [pair for pair in self._pairs if count and pair[0].is_floating_point()]
        if means:
            averaged, current = map(list, zip(*means, strict=True))
            get_ema_multi_avg_fn(self._kept(count))(averaged, current, count)
        for old, new in self._pairs:
            if not count or not old.is_floating_point():
                old.copy_(new)
        self.n_averaged += 1
        self._updates = count + 1

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """See `torch.nn.Module`."""
        self._updates = None
        return super().load_state_dict(*arguments, **options)


def moving_average(model: nn.Module, decay: float | Literal["auto"], updates: Callable[[], float]) -> MovingAverage:
    """An exponential moving average of weights and buffers with YOLO's ramp, `decay * (1 - exp(-n / ramp))`.

    YOLO's ramp of 2000 updates is under 1% of its training. Where a training is so short that 2000 would be more than a
    tenth of it, the ramp is that tenth.

    Args:
        model: The network; the average starts as a copy.
        decay: The share that is kept once the ramp is over; `auto`: that of an average over `WINDOW` of all updates,
            at most YOLO's. Averages over more than the end of a training never arrive at what it has learned.
        updates: Tells the optimiser steps of the whole training, as they are foreseen at an update.
    """

    def kept(count: int) -> float:
        total = updates()
        ramp = max(1.0, min(2000.0, total / 10))
        final = max(0.0, min(LONGEST_AVERAGE, 1 - 1 / max(1.0, WINDOW * total))) if decay == "auto" else decay
        return final * (1 - math.exp(-count / ramp))

    return MovingAverage(model, kept)


def _one_cycle(step: int, total: float, warmup: float) -> float:
    """The share of the peak rate at a step (Smith and Topin, arXiv 1708.07120; PyTorch's defaults)."""
    start, end, top = 1 / 25, 1 / 250_000, warmup * total - 1
    low, done = (start, 1 - step / top) if step < top else (end, (step - top) / max(1, total - 1 - top))
    return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
