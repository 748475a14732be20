"""A training that is only tried: a few steps of it, from which follows what all of it takes.

Who trains need not know: within `trying`, `loop.fit` takes the few samples that it is given for as many as there really
are, and tells what it has found. How that becomes an estimate stands in `tps_pipeline.estimates`.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tps_pipeline.training.batches import Samples

if TYPE_CHECKING:
    from tps_pipeline.training.loop import Training

UNTIMED = 3
"""Steps before time is taken: the first ones allocate, choose kernels, and have batches waiting."""


@dataclass(frozen=True)
class Tried:
    """What a few steps of a training tell.

    Attributes:
        samples: Of an epoch of the whole training.
        batch: Samples that go through the network at once.
        batches: Of the whole training; 0 where minutes are its budget.
        epochs: Of the whole training, each of which ends with a resume file.
        evaluations: So often the network is measured.
        step: Seconds a batch; None if no step was taken for real.
        evaluation: Seconds of one measurement, on the videos tried.
        saving: Seconds that a resume file takes.
        flops: Floating-point operations of a batch, forward and backward; None if they cannot be told.
        weights: Bytes of the network.
        memory: Bytes that a step holds: weights, gradients, optimiser, average, and what the backward pass needs; on a
            GPU the most that were allocated. None if it cannot be told.
    """

    samples: int
    batch: int
    batches: float
    epochs: float
    evaluations: int
    step: float | None
    evaluation: float
    saving: float
    flops: int | None
    weights: int
    memory: int | None


@dataclass
class Trial:
    """How trainings are tried, and what came of it.

    Attributes:
        times: So many times as many samples as there are here have a whole training, by what there is a sample of.
        seconds: That steps are timed for; 0 takes none, and only tells when they would begin.
        most_flops: A batch that takes more is not computed.
        began: When the last training had all it needs to take its first step, `time.perf_counter`'s.
        tried: What it told.
    """

    times: float
    seconds: float = 0.0
    most_flops: float = float("inf")
    began: float = 0.0
    tried: Tried | None = None


@dataclass(frozen=True)
class Repeated:
    """Samples that come again and again (a `batches.Samples`).

    Attributes:
        data: The samples.
        count: How many they are taken for.
    """

    data: Samples
    count: int

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """See `batches.Samples`."""
        return self.data.sample(index % len(self.data), rng)


_trials: list[Trial] = []


@contextmanager
def trying(trial: Trial) -> Iterator[Trial]:
    """Have trainings tried, in place of trained, meanwhile; what they leave is a network that has learned nothing."""
    _trials.append(trial)
    try:
        yield trial
    finally:
        _trials.pop()


def wanted() -> Trial | None:
    """The trial that is under way."""
    return _trials[-1] if _trials else None


def repeated(data: Samples, trial: Trial) -> Samples:
    """Samples as many as a whole training has."""
    return Repeated(data, max(1, round(len(data) * trial.times))) if len(data) else data


def try_out(training: Training, trial: Trial) -> None:
    """Take a few steps of a training, and tell what they took."""
    trial.began = time.perf_counter()
    if not trial.seconds:
        return
    batches = training.batches.of(0)
    first = training.fabric.to_device(next(batches))
    training.model.train()
    flops, activations = _arithmetic(training, first)
    for group in training.optimizer.param_groups:
        group["lr"] = 0.0
    real = (flops or 0) <= trial.most_flops
    memory = None if activations is None else activations + _state(training)
    step = evaluation = None
    if real:
        step = _timed(training, first, batches, trial.seconds)
        began = time.perf_counter()
        training.evaluate()
        evaluation = time.perf_counter() - began
        if training.fabric.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(training.fabric.device)
    began = time.perf_counter()
    training.save()
    saving = time.perf_counter() - began
    budget, settings = training.budget, training.settings
    every = 0.0 if settings.minutes else budget.batches(training.now)
    epochs = every / len(training.batches)
    trial.tried = Tried(
        samples=len(training.task.data),
        batch=training.batches.size,
        batches=every,
        epochs=epochs,
        evaluations=min(budget.evaluations, math.ceil(epochs)) if training.task.evaluate else 0,
        step=step,
        evaluation=evaluation or 0.0,
        saving=saving,
        flops=flops,
        weights=_bytes(training.network),
        memory=memory,
    )


def _timed(training: Training, first: Any, batches: Iterator[Any], seconds: float) -> float:
    """Seconds that a batch takes, its samples included."""
    untimed, times, ended = UNTIMED + 2 * training.settings.workers, list[float](), time.perf_counter()
    for position, batch in enumerate(chain([first], batches, *(training.batches.of(epoch) for epoch in (1, 2, 3)))):
        training.take(training.fabric.to_device(batch), position % len(training.batches))
        _wait_for(training.fabric.device)
        times.append(time.perf_counter() - ended)
        ended += times[-1]
        if sum(times[untimed:]) >= seconds or (len(times) > 1 and sum(times) >= 3 * seconds):
            break
    return fmean(times[untimed:] or times[1:] or times)


def _wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _arithmetic(training: Training, batch: Any) -> tuple[int | None, int | None]:
    """Operations of a batch, and bytes that its backward pass needs; None where it cannot be told without computing.

    In a process of its own, as what is kept from batch to batch would be without numbers.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(there, training, batch))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        return None, None
    finally:
        process.join()


def _tell(where: Any, training: Training, batch: Any) -> None:
    """Go through a step with shapes and types alone: nothing is computed, and nothing takes memory."""
    from torch.utils.flop_counter import FlopCounterMode  # imports triton: 70 MB, which nobody else needs

    held: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):  # weights, which are counted by themselves
            held.setdefault(tensor.untyped_storage()._cdata, tensor)  # pyright: ignore[reportPrivateUsage]
        return tensor

    counter = FlopCounterMode(display=False)
    logging.disable()
    torch.set_num_threads(1)  # the copied pool of threads is replaced now, not by several of autograd's threads at once
    sys.unraisablehook = lambda _: None  # of loaders that are another process's
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, counter:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                loss, _ = training.task.loss(training.model, _fake(batch, fake))
            training.fabric.backward(loss)
        where.send((counter.get_total_flops(), sum(tensor.untyped_storage().nbytes() for tensor in held.values())))
    except Exception:  # a network may be anybody's, and ask for numbers
        where.send((None, None))
    os._exit(0)  # without an end to what was copied: a loader's workers are another's


def _fake(value: Any, mode: FakeTensorMode) -> Any:
    """A batch's shapes and types without its numbers."""
    if isinstance(value, Tensor):
        return mode.from_tensor(value)
    if isinstance(value, dict):
        return {name: _fake(each, mode) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fake(each, mode) for each in value)
    return value


def _bytes(module: torch.nn.Module) -> int:
    """Of weights and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _state(training: Training) -> int:
    """Bytes that stay from step to step: weights, their gradients, what the optimiser keeps of them, their average."""
    learned = sum(parameter.nbytes for parameter in training.network.parameters() if parameter.requires_grad)
    kept = 2 if training.settings.optimizer == "adamw" else int(training.settings.momentum > 0)
    return _bytes(training.network) * (2 if training.averaged else 1) + learned * (1 + kept)
