"""One training loop for every network, on Lightning Fabric (devices, precision, DDP under ``torchrun``).

A task brings its network, its samples, its loss and its evaluation as plain functions; the recipe's `Training` section
says how to optimise. Everything random in an epoch is a function of (seed, epoch, sample), never of the number of
workers or of what ran before, so a resumed training ends with the weights of an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import csv
import ctypes
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tps_pipeline import recipe
from tps_pipeline.errors import TpsError

if TYPE_CHECKING:  # seconds that inference, which calls `prepare_cpu`, need not pay
    from lightning.fabric import Fabric
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class Samples(Protocol):
    """Training samples whose augmentation draws from the generator it is given, and from nothing else."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Return sample ``index``, augmented by ``rng``'s draws."""
        ...


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        model: The network; `fit` leaves the trained weights in it.
        data: The training samples.
        loss: Of the network and a batch on its device: the loss to minimise, a mean over the batch's samples, and its
            parts by name, for the log. Accumulated batches are averaged.
        collate: Makes a batch of a list of samples.
        evaluate: Of the network, in eval mode and without gradients: metrics by name. Called about ten times.
    """

    model: nn.Module
    data: Samples
    loss: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]]
    collate: Callable[[list[Any]], Any] = default_collate
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        model: The trained network on the CPU, in eval mode (the moving average if the recipe asks for one).
        metrics: The last epoch's losses and metrics.
        history: The same for each epoch, oldest first.
    """

    model: nn.Module
    metrics: dict[str, float]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Rates:
    """What the schedule sets at a step: learning rate, that of biases, and momentum (SGD only)."""

    learning_rate: float
    bias_learning_rate: float
    momentum: float


def fit(
    task: Task,
    settings: recipe.Training,
    *,
    folder: Path,
    seed: int,
    accelerator: str = "auto",
    devices: int = 1,
    progress: bool = True,
) -> Fit:
    """Train a network, or go on with a training that was cut off.

    Writes ``log.csv`` and TensorBoard events to the folder. After each epoch ``resume.ckpt`` is replaced; it goes when
    training is finished.

    Args:
        task: What is trained.
        settings: The recipe's section.
        folder: Where logs and the resume file are kept.
        seed: Of data order, augmentation and dropout.
        accelerator: Lightning's name of the hardware (``auto``, ``cpu``, ``cuda``).
        devices: Devices of this machine; under ``torchrun`` its number of processes counts instead.
        progress: Show a bar on a terminal's stderr.

    Returns:
        The trained network with its metrics; the same network as ``task.model``.

    Raises:
        TpsError: There are no samples, or the loss is not a finite number.
    """
    from lightning.fabric import Fabric
    from torch.utils.tensorboard import SummaryWriter

    prepare_cpu(workers=settings.workers)
    if len(task.data) == 0:
        raise TpsError("no training samples: check that the training shards have readable, labelled videos")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    nodes = int(os.environ.get("WORLD_SIZE", processes)) // processes
    fabric = Fabric(accelerator=accelerator, devices=processes, num_nodes=nodes, precision=settings.precision)
    fabric.launch()
    _seed(seed, fabric.global_rank)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(fabric, task, settings, folder, seed)
    run.restore()
    steps, done = len(run.batches), len(run.history)
    bar, line = _bar(settings.epochs * steps, done * steps, progress and fabric.is_global_zero)
    with bar, SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1) as board:
        for epoch in range(done, settings.epochs):
            row = run.train_epoch(epoch, lambda loss: bar.update(line, advance=1, description=f"loss {loss:.3f}"))
            if fabric.is_global_zero:
                _log(row, run.history, folder, board)
            run.save()
    final = run.averaged.module if run.averaged else run.network
    task.model.load_state_dict(final.state_dict())
    fabric.barrier()
    if fabric.is_global_zero:
        (folder / "resume.ckpt").unlink(missing_ok=True)
    return Fit(task.model.cpu().eval(), run.history[-1], run.history)


def rates(settings: recipe.Training, step: int, steps_per_epoch: int) -> Rates:
    """The schedule: what to optimise with at a step.

    ``one_cycle`` is PyTorch's `OneCycleLR` (a cosine from 1/25 of the rate up to it over ``warmup`` of all steps, then
    down to 1/250,000). ``yolo_cosine`` is YOLOv7's: constant within an epoch, along a cosine from 1 to
    ``final_learning_rate`` over the epochs. All but ``one_cycle`` begin with a linear warm-up of ``warmup`` epochs
    (``yolo_cosine``: at least 1000 steps, at most half the training), where biases begin at 0.1 under ``yolo_cosine``
    and momentum at 0.8.

    Args:
        settings: The recipe's section.
        step: Batches seen before this one.
        steps_per_epoch: Batches an epoch.
    """
    peak, total = settings.learning_rate, settings.epochs * steps_per_epoch
    if settings.schedule == "one_cycle":
        rate = _one_cycle(step, total, settings.warmup) * peak
        return Rates(rate, rate, settings.momentum)
    warm, bias_start = settings.warmup * steps_per_epoch, 0.0
    rate, epoch = peak, step // steps_per_epoch
    if settings.schedule == "yolo_cosine":
        fall = (1 - math.cos(math.pi * epoch / settings.epochs)) / 2
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
        Three groups: decayed, other, biases (which YOLOv7 warms up differently); ``bias`` tells them apart.
    """
    decayed, others, biases = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = name.endswith("weight") and parameter.ndim >= 2
            (decayed if matrix else biases if name.endswith("bias") else others).append(parameter)
    groups = [(decayed, weight_decay, False), (others, 0.0, False), (biases, 0.0, True)]
    return [{"params": params, "weight_decay": decay, "bias": bias} for params, decay, bias in groups if params]


def moving_average(model: nn.Module, decay: float, updates: int) -> AveragedModel:
    """An exponential moving average of weights and buffers with YOLO's ramp, ``decay * (1 - exp(-n / ramp))``.

    YOLO's ramp of 2000 updates is under 1% of its training. Where a training is so short that 2000 would be more than a
    tenth of it, the ramp is that tenth.

    Args:
        model: The network; the average starts as a copy.
        decay: The share that is kept once the ramp is over.
        updates: Optimiser steps of the whole training.
    """
    ramp = max(1.0, min(2000.0, updates / 10))

    def average(averaged: Any, current: Any, count: Any) -> None:
        kept = decay * (1 - math.exp(-float(count) / ramp))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - kept)
            else:
                old.copy_(new)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def prepare_cpu(*, workers: int = 0) -> None:
    """Make this process fit for networks on the CPU; call it before training or inference.

    glibc gives big tensors back to the system as soon as they are freed, and page faults then take about a third of the
    CPU time, so its thresholds are raised. Threads are as many as the cores this process may use (affinity and
    container quota), less one for each worker, unless ``OMP_NUM_THREADS`` says otherwise: threads of a network wait for
    one another, and a core that is busy with something else makes all of them several times slower.

    Args:
        workers: Processes that load data beside this one.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # not glibc
        pass
    else:
        libc.mallopt(m_mmap_threshold, 2**31 - 1)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), _cores()) - workers))


def _cores() -> int:
    """Whole cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def _one_cycle(step: int, total: int, warmup: float) -> float:
    """The share of the peak rate at a step (Smith and Topin, arXiv 1708.07120; PyTorch's defaults)."""
    start, end, top = 1 / 25, 1 / 250_000, warmup * total - 1
    low, done = (start, 1 - step / top) if step <= top else (end, (step - top) / max(1, total - 1 - top))
    return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2


def _seed(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch."""
    value = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


class _Keyed(Dataset):
    """Samples by (epoch, index): the key seeds the sample's own generator, whichever worker makes it."""

    def __init__(self, data: Samples, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        return self.data.sample(index, np.random.default_rng((self.seed, epoch, index + 1)))


class _Batches(Sampler[list[tuple[int, int]]]):
    """This process's share of an epoch's permutation, in whole batches (a smaller one if there are no whole ones)."""

    def __init__(self, samples: int, batch: int, seed: int, rank: int, processes: int) -> None:
        self.samples, self.seed, self.rank, self.processes = samples, seed, rank, processes
        self.batch = max(1, min(batch, samples // processes))
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, self.samples // (self.batch * self.processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)
        mine = np.resize(order, max(self.samples, self.processes))[self.rank :: self.processes]
        for start in range(0, len(self) * self.batch, self.batch):
            yield [(self.epoch, int(index)) for index in mine[start : start + self.batch]]


@dataclass
class _Run:
    """A training under way: what `fit` sets up, and what the resume file holds."""

    fabric: Fabric
    task: Task
    settings: recipe.Training
    folder: Path
    seed: int
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        fabric, settings = self.fabric, self.settings
        self.network = fabric.to_device(self.task.model)
        groups = parameter_groups(self.network, settings.weight_decay)
        if settings.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
            )
        else:
            optimizer = torch.optim.AdamW(groups, settings.learning_rate)
        rank, processes = fabric.global_rank, fabric.world_size
        self.batches = _Batches(len(self.task.data), settings.batch_size, self.seed, rank, processes)
        self.loader = DataLoader(
            _Keyed(self.task.data, self.seed),
            batch_sampler=self.batches,
            collate_fn=self.task.collate,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            pin_memory=fabric.device.type == "cuda",
            generator=torch.Generator(),  # else workers would draw from the generator that dropout uses
        )
        seen = self.batches.batch * processes
        self.accumulate = max(1, round((settings.global_batch or seen) / seen))
        updates = settings.epochs * math.ceil(len(self.batches) / self.accumulate)
        self.averaged = moving_average(self.network, settings.ema, updates) if settings.ema else None
        self.model, self.optimizer = fabric.setup(self.network, optimizer)

    def train_epoch(self, epoch: int, advance: Callable[[float], None]) -> dict[str, float]:
        """Train one epoch, evaluate if it is time, and return the epoch's row of the log."""
        _seed(self.seed, epoch, self.fabric.global_rank + 1)
        self.batches.epoch = epoch
        self.model.train()
        began, sums, rate = time.perf_counter(), {}, 0.0
        for position, batch in enumerate(self.loader):
            rate = self._set_rates(epoch * len(self.batches) + position)
            parts = self._step(self.fabric.to_device(batch), epoch, position)
            sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
            advance(parts["loss"])
        row = {"epoch": epoch + 1.0, "learning_rate": rate}
        row |= {name: value / len(self.batches) for name, value in sums.items()}
        if self.task.evaluate and ((epoch + 1) % max(1, self.settings.epochs // 10) == 0 or self._is_last(epoch)):
            row |= self._evaluate(self.task.evaluate)
        self.history.append(row | {"seconds": time.perf_counter() - began})
        return self.history[-1]

    def save(self) -> None:
        """Replace the resume file, whole or not at all."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "made_with": self._made_with(),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "history": self.history,
        }
        partial = self.folder / "resume.ckpt.part"
        torch.save(state, partial)
        partial.replace(self.folder / "resume.ckpt")

    def restore(self) -> None:
        """Take up the resume file, if there is one of this very training."""
        path = self.folder / "resume.ckpt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.fabric.device, weights_only=True)
        if state["made_with"] != self._made_with():
            log.warning("%s: from other settings, data or seed; training starts anew", path)
            return
        self.network.load_state_dict(state["network"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history = state["history"]

    def _made_with(self) -> str:
        return f"{self.settings.model_dump_json()} samples={len(self.task.data)} seed={self.seed}"

    def _is_last(self, epoch: int) -> bool:
        return epoch + 1 == self.settings.epochs

    def _set_rates(self, step: int) -> float:
        now = rates(self.settings, step, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = now.bias_learning_rate if group["bias"] else now.learning_rate
            if "momentum" in group:
                group["momentum"] = now.momentum
        return now.learning_rate

    def _step(self, batch: Any, epoch: int, position: int) -> dict[str, float]:
        """Gradients of one batch, and an optimiser step where an accumulation is complete."""
        first = position - position % self.accumulate
        together = min(self.accumulate, len(self.batches) - first)
        stepping = position + 1 == first + together
        with self.fabric.no_backward_sync(self.model, enabled=not stepping):
            loss, parts = self.task.loss(self.model, batch)
            if not torch.isfinite(loss):
                raise TpsError(
                    f"the loss is {loss.item()} at epoch {epoch + 1}, batch {position + 1}: lower `learning_rate`, set "
                    f"`clip_norm` (1.0 is common) or use `precision: 32-true`; then train again"
                )
            self.fabric.backward(loss / together)
        if stepping:
            if self.settings.clip_norm:
                self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.settings.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.averaged:
                self.averaged.update_parameters(self.network)
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    def _evaluate(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Metrics of the weights that would be kept; one process computes them, the others wait."""
        network = self.averaged.module if self.averaged else self.network
        metrics = {}
        if self.fabric.is_global_zero:
            network.eval()
            with torch.no_grad():
                metrics = evaluate(network)
        self.fabric.barrier()
        return metrics


def _log(row: dict[str, float], history: list[dict[str, float]], folder: Path, board: SummaryWriter) -> None:
    """Write the whole CSV anew (a resumed training has no doubled rows) and add the epoch to TensorBoard."""
    columns = list(dict.fromkeys(name for past in history for name in past))
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
    for name, value in row.items():
        board.add_scalar(name, value, int(row["epoch"]))


def _bar(total: int, done: int, shown: bool) -> tuple[Progress, TaskID]:
    """A progress bar on stderr; silent without a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, disable=not (shown and console.is_terminal))
    return bar, bar.add_task("training", total=total, completed=done)
