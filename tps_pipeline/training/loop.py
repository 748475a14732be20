"""One training loop for every network, on Lightning Fabric (devices, precision, DDP under `torchrun`).

A task brings its network, its samples, its loss and its evaluation as plain functions; the recipe's `Training` section
says how to optimise. Nothing random in an epoch depends on what ran before, so a resumed training ends with the weights
of an uninterrupted one, bit for bit. Under `torchrun` every process calls `fit` alike; one of them evaluates, logs
and writes, and none returns before that is done.
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from tps_pipeline import device as devices
from tps_pipeline import recipe
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.errors import TpsError
from tps_pipeline.progress import bar as progress_bar
from tps_pipeline.training import trial as trials
from tps_pipeline.training.batches import Batches, Groups, Samples
from tps_pipeline.training.budget import Budget, Progress, batch_size
from tps_pipeline.training.checkpoint import DAMAGED
from tps_pipeline.training.losses import Losses
from tps_pipeline.training.optimization import moving_average, optimizer_of, rates
from tps_pipeline.whole_file import whole_file

if TYPE_CHECKING:  # seconds that inference, which calls `prepare_cpu`, need not pay
    from lightning.fabric import Fabric
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

RESUME = "resume.ckpt"
"""The file in a training's folder that it goes on from."""


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        model: The network; `fit` leaves the trained weights in it.
        data: The training samples.
        loss: Of the network and a batch on its device: the loss to minimise, a mean over the batch's samples, and its
            parts by name, for the log. Accumulated batches are averaged, and so are those of several processes.
        collate: Makes a batch of a list of samples.
        evaluate: Of the network, in eval mode and without gradients: metrics by name. Called about ten times, in one
            process.
        save: Writes the trained network, in eval mode and on the CPU. Called once, in one process.
        groups: How samples are mixed that come several at once; None if each comes by itself.
        figure: The metric of `evaluate` that the best epoch is the best by; more is better.
    """

    model: nn.Module
    data: Samples
    loss: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]]
    collate: Callable[[list[Any]], Any] = default_collate
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    save: Callable[[nn.Module], None] | None = None
    groups: Groups | None = None
    figure: str = ""


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        model: The trained network on the CPU, in eval mode (the moving average if the recipe asks for one).
        metrics: Losses and metrics of the epoch that was kept: the last, or the best.
        history: The same for each epoch, oldest first.
    """

    model: nn.Module
    metrics: dict[str, float]
    history: list[dict[str, float]]


def processes() -> int:
    """How many processes train together: as many as `torchrun` started, else this one."""
    return int(os.environ.get("WORLD_SIZE", 1))


def fit(
    task: Task,
    settings: recipe.Training,
    *,
    folder: Path,
    seed: int,
    accelerator: str = "auto",
    progress: bool = True,
) -> Fit:
    """Train a network, or go on with a training that was cut off.

    Writes `log.csv` and TensorBoard events to the folder. After each epoch `resume.ckpt` is replaced; it goes when
    the trained network is saved.

    Args:
        task: What is trained.
        settings: The recipe's section.
        folder: Where logs and the resume file are kept; every process must see it.
        seed: Of data order, augmentation and dropout.
        accelerator: Lightning's name of the hardware (`auto`, `cpu`, `cuda`).
        progress: Show a bar on a terminal's stderr.

    Returns:
        The trained network with its metrics, alike in all processes; the same network as `task.model`.

    Raises:
        TpsError: There are no samples, or the loss is not a finite number.
    """
    from lightning.fabric import Fabric
    from torch.utils.tensorboard import SummaryWriter

    prepare_cpu(workers=settings.workers)
    if len(task.data) == 0:
        raise TpsError("no training samples: check that the training shards have readable, labelled videos")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=processes() // here, precision=settings.precision)
    fabric.launch()
    devices.note(*_devices(fabric))
    folder.mkdir(parents=True, exist_ok=True)
    if trial := trials.wanted():
        run = Training(fabric, replace(task, data=trials.repeated(task.data, trial)), settings, folder, seed)
        trials.try_out(run, trial)
        run.history.append({"epoch": 0.0})
        return run.finish()
    run = Training(fabric, task, settings, folder, seed)
    run.restore()
    done, shown = len(run.history), progress and fabric.is_global_zero
    bar, line = progress_bar("training", 100, done=int(100 * run.used), shown=shown)
    events = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1) if fabric.is_global_zero else nullcontext()

    def show(loss: float) -> None:
        bar.update(line, completed=min(100, int(100 * run.used)), description=f"loss {loss:.3f}")

    with bar, events as board:
        while run.used < 1:
            row = run.train_epoch(show)
            if board is not None:
                _log(row, run.history, folder, board)
                run.save()
    return run.finish()


def _devices(fabric: Fabric) -> list[str]:
    """The device of each process, by name."""
    device = devices.name_of(fabric.device)
    if fabric.world_size == 1:
        return [device]
    names: list[str] = [""] * fabric.world_size
    torch.distributed.all_gather_object(names, device)
    return names


def _seed(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch."""
    value = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


@dataclass
class Training:
    """A training under way: what `fit` sets up, and what the resume file holds."""

    fabric: Fabric
    """The devices and processes it runs on."""
    task: Task
    """What is learned, of what."""
    settings: recipe.Training
    """The recipe's."""
    folder: Path
    """Gets the network, the logs and the resume file."""
    seed: int
    """Of everything random."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The log's row of each epoch that is over."""
    best: dict[str, Any] | None = None
    """With `keep: best`, of the best epoch so far: its figure, its row of the history, its network."""

    def __post_init__(self) -> None:
        fabric, settings = self.fabric, self.settings
        self.network = fabric.to_device(self.task.model)
        optimizer = optimizer_of(self.network, settings)
        self.batches = Batches(
            self.task.data,
            self.task.collate,
            size=batch_size(settings, len(self.task.data)),
            seed=self.seed,
            groups=self.task.groups,
            rank=fabric.global_rank,
            processes=fabric.world_size,
            workers=settings.workers,
            pin_memory=fabric.device.type == "cuda",
        )
        seen = self.batches.size * fabric.world_size
        self.accumulate = max(1, round((settings.global_batch or seen) / seen))
        self.budget, self.now = Budget(settings, len(self.batches), self.accumulate), Progress(0, 0.0)
        self.averaged = (
            moving_average(self.network, settings.ema, lambda: self.budget.optimizer_steps(self.now))
            if settings.ema
            else None
        )
        self.model, self.optimizer = fabric.setup(self.network, optimizer)

    @property
    def used(self) -> float:
        """The share of the budget that is over."""
        return self.budget.used(self.now)

    def train_epoch(self, show: Callable[[float], None]) -> dict[str, float]:
        """Train the next epoch or what the budget has left of it, evaluate if it is time, and return its log's row."""
        epoch, before = len(self.history), self.now
        _seed(self.seed, epoch, self.fabric.global_rank + 1)
        self.model.train()
        began, losses, rate, seen = time.perf_counter(), Losses(epoch, show), 0.0, len(self.batches)
        for position, batch in enumerate(self.batches.of(epoch)):
            rate = self._set_rates()
            losses.add(self.take(self.fabric.to_device(batch), position))
            self.now = Progress(before.batches + position + 1, self._seconds(before, began))
            if self.used >= 1 and not self.settings.epochs:
                seen = position + 1
                break
        self.now = Progress(before.batches + seen, self._seconds(before, began))
        row = {"epoch": epoch + 1.0, "learning_rate": rate}
        means: Any = self.fabric.all_reduce({name: value / seen for name, value in losses.read().items()})
        row |= {name: float(mean) for name, mean in means.items()}
        if self.task.evaluate and self.budget.evaluates(epoch, before, self.now):
            row |= self.evaluate()
            self.now = Progress(self.now.batches, self._seconds(before, began))
        if not self.settings.epochs:
            row["used"] = min(1.0, self.used)
        self.history.append(row | {"seconds": time.perf_counter() - began})
        self._keep_best(self.history[-1])
        return self.history[-1]

    def _seconds(self, before: Progress, began: float) -> float:
        """How long the training has taken; where it ends by the clock, by that of one process."""
        seconds = before.seconds + time.perf_counter() - began
        return self.fabric.broadcast(seconds) if self.settings.minutes else seconds

    def _keep_best(self, row: dict[str, float]) -> None:
        """Keep the network as it is now if it is as good as the best so far."""
        figure = row.get(self.task.figure, math.nan)
        if self.settings.keep == "best" and figure >= (self.best["figure"] if self.best else -math.inf):
            state = {name: value.detach().clone() for name, value in self._kept().state_dict().items()}
            self.best = {"figure": figure, "row": row, "network": state}

    def save(self) -> None:
        """Replace the resume file, whole or not at all."""
        # Into a file that is open: of one that it opens itself PyTorch does not tell that the disk is full.
        with whole_file(self.folder / RESUME) as partial, partial.open("wb") as file:
            torch.save(self._state(), file)

    def _state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {
            "made_with": self._made_with(),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "history": self.history,
            "now": (self.now.batches, self.now.seconds),
            "best": self.best,
        }

    def restore(self) -> None:
        """Take up the resume file, if there is one of this very training; a damaged one is set aside."""
        path = self.folder / RESUME
        if not path.exists():
            return
        at_first = copy.deepcopy(self._state())
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            if state["made_with"] == self._made_with():
                self._take_up(state)
            else:
                log.warning("%s: from other settings, data or seed; training starts anew", path)
        except Exception as error:  # whatever half a file, or another version's, raises
            self._take_up(at_first)
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            log.warning("%s is damaged (%s): kept as %s; training starts anew", path, reason, DAMAGED)
            self.fabric.barrier()  # all processes have seen it
            if self.fabric.is_global_zero:
                path.replace(path.with_name(DAMAGED))

    def _take_up(self, state: dict[str, Any]) -> None:
        """Make a state of `_state` this training's own."""
        self.network.load_state_dict(state["network"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history, self.now, self.best = list(state["history"]), Progress(*state["now"]), state["best"]

    def finish(self) -> Fit:
        """Leave the trained network in the task, and have it saved."""
        self.task.model.load_state_dict(self.best["network"] if self.best else self._kept().state_dict())
        model = self.task.model.cpu().eval()
        if self.fabric.is_global_zero:
            if self.task.save:
                self.task.save(model)
            (self.folder / RESUME).unlink(missing_ok=True)
        self.fabric.barrier()
        return Fit(model, self.best["row"] if self.best else self.history[-1], self.history)

    def _made_with(self) -> str:
        return f"{self.settings.model_dump_json()} samples={len(self.task.data)} seed={self.seed}"

    def _set_rates(self) -> float:
        now = rates(self.settings, self.now.batches, len(self.batches), self.budget.batches(self.now))
        for group in self.optimizer.param_groups:
            group["lr"] = now.bias_learning_rate if group["bias"] else now.learning_rate
            if "momentum" in group:
                group["momentum"] = now.momentum
        return now.learning_rate

    def take(self, batch: Any, position: int) -> dict[str, Tensor]:
        """Gradients of one batch, and an optimiser step where an accumulation is complete.

        It asks for no number: the device would have to finish all it has been given, and then wait for more.
        """
        first = position - position % self.accumulate
        together = min(self.accumulate, len(self.batches) - first)
        stepping = position + 1 == first + together
        with self.fabric.no_backward_sync(self.model, enabled=not stepping):
            loss, parts = self.task.loss(self.model, batch)
            self.fabric.backward(loss / together)
        if stepping:
            if self.settings.clip_norm:
                most = self.settings.clip_norm
                self.fabric.clip_gradients(self.model, self.optimizer, max_norm=most, error_if_nonfinite=False)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.averaged:
                self.averaged.update_parameters(self.network)
        return {name: part.detach() for name, part in {"loss": loss, **parts}.items()}

    def evaluate(self) -> dict[str, float]:
        """Metrics of the weights that would be kept; one process computes them, the others wait."""
        metrics = {}
        if self.task.evaluate and self.fabric.is_global_zero:
            network = self._kept().eval()
            with torch.no_grad():
                metrics = self.task.evaluate(network)
        return self.fabric.broadcast(metrics)

    def _kept(self) -> nn.Module:
        """The network as it would be kept now: with averaged weights, if there are any."""
        return self.averaged.module if self.averaged else self.network


def _log(row: dict[str, float], history: list[dict[str, float]], folder: Path, board: SummaryWriter) -> None:
    """Write the whole CSV anew (a resumed training has no doubled rows) and add the epoch to TensorBoard."""
    columns = list(dict.fromkeys(name for past in history for name in past))
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
    for name, value in row.items():
        board.add_scalar(name, value, int(row["epoch"]))
