"""The batches of a training's epochs: which samples, in which order, whoever makes them.

All of it is a function of (seed, epoch, sample), never of the number of workers or of what ran before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

T = TypeVar("T")


class Samples(Protocol):
    """Training samples whose augmentation draws from the generator it is given, and from nothing else."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Return sample `index`, augmented by `rng`'s draws; where samples come in `Groups`, a list of them."""
        ...


@dataclass(frozen=True)
class Groups:
    """Samples that are cheaper to make several at once, as the clips of one video, and mixed before they are used.

    Attributes:
        size: Samples in a group.
        buffer: Samples that wait, for batches to be drawn from them at random.
    """

    size: int
    buffer: int


class Batches:
    """One process's share of the batches of every epoch.

    Without groups an epoch is whole batches of a permutation of the samples (a smaller one if there are no whole ones);
    the processes' batches at one step are a single process's batch of their size together. With groups it is every
    sample of this process's share of the groups, and the last batch may be smaller.

    Args:
        data: The samples.
        collate: Makes a batch of a list of samples.
        size: Samples in a batch.
        seed: Of all draws.
        groups: How samples are mixed; None if each comes by itself.
        rank: Which process this is.
        processes: How many there are.
        workers: Processes that make samples beside this one.
        pin_memory: Put batches where a GPU copies them from fastest.
    """

    def __init__(
        self,
        data: Samples,
        collate: Callable[[list[Any]], Any],
        *,
        size: int,
        seed: int,
        groups: Groups | None = None,
        rank: int = 0,
        processes: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.collate, self.seed, self.groups, self.rank = collate, seed, groups, rank
        self.keys = _Keys(len(data), 1 if groups else size, seed, rank, processes)
        self.size = min(size, len(self.keys) * groups.size) if groups else self.keys.size
        self.loader = DataLoader(
            _Keyed(data, seed),
            batch_sampler=self.keys,
            collate_fn=itemgetter(0) if groups else collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else workers would draw from the generator that dropout uses
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.keys) * self.groups.size / self.size) if self.groups else len(self.keys)

    def of(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, collated."""
        self.keys.epoch = epoch
        if self.groups is None:
            yield from self.loader
            return
        # No sample's generator: those have the third number above zero.
        rng = np.random.default_rng((self.seed, epoch, 0, self.rank + 1))
        samples = shuffled(self.loader, self.groups.buffer, rng)
        while batch := list(islice(samples, self.size)):
            yield self.collate(batch)


def shuffled(groups: Iterable[list[T]], buffer: int, rng: np.random.Generator) -> Iterator[T]:
    """Mix the members of groups, holding at most `buffer` of them and one group more.

    Args:
        groups: Taken one at a time, when there is room.
        buffer: Members that wait while more groups come.
        rng: Chooses who leaves.

    Yields:
        Every member of every group, once.
    """
    waiting: list[T] = []
    for group in groups:
        waiting += group
        while len(waiting) > buffer:
            yield _taken(waiting, rng)
    while waiting:
        yield _taken(waiting, rng)


def _taken(waiting: list[T], rng: np.random.Generator) -> T:
    at = int(rng.integers(len(waiting)))
    waiting[at], waiting[-1] = waiting[-1], waiting[at]
    return waiting.pop()


class _Keyed(Dataset[Any]):
    """Samples by (epoch, index): the key seeds the sample's own generator, whichever worker makes it."""

    def __init__(self, data: Samples, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        return self.data.sample(index, np.random.default_rng((self.seed, epoch, index + 1)))


class _Keys(Sampler[list[tuple[int, int]]]):
    """This process's share of an epoch's permutation, in whole batches (a smaller one if there are no whole ones)."""

    def __init__(self, samples: int, size: int, seed: int, rank: int, processes: int) -> None:
        self.samples, self.seed, self.rank, self.processes = samples, seed, rank, processes
        self.size = max(1, min(size, samples // processes))
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, self.samples // (self.size * self.processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)
        mine = np.resize(order, max(self.samples, self.processes))[self.rank :: self.processes]
        for start in range(0, len(self) * self.size, self.size):
            yield [(self.epoch, int(index)) for index in mine[start : start + self.size]]
