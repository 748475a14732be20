"""Which samples make the batches of an epoch: alone, in several processes, and in groups that are mixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tps_pipeline.training.batches import Batches, Groups, shuffled


class Numbers:
    """Sample i is i itself, or all of (i, 0), (i, 1), ... in groups; a draw stands beside it."""

    def __init__(self, count: int, group: int | None = None) -> None:
        self.count, self.group = count, group

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        if self.group is None:
            return index, rng.random()
        return [((index, member), rng.random()) for member in range(self.group)]


def batches(count: int, *, group: int | None = None, buffer: int = 0, **options: Any) -> Batches:
    groups = None if group is None else Groups(group, buffer)
    return Batches(Numbers(count, group), list, seed=3, groups=groups, **options)


def names(epoch: Iterator[list[tuple[Any, float]]]) -> list[list[Any]]:
    return [[name for name, _ in batch] for batch in epoch]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_together_make_a_single_process_s_batches(processes: int) -> None:
    alone = batches(24, size=2 * processes)
    shares = [batches(24, size=2, rank=rank, processes=processes) for rank in range(processes)]
    seen = []
    for epoch in range(2):
        steps = zip(*(names(share.of(epoch)) for share in shares), strict=True)
        together = [sorted(chain(*step)) for step in steps]
        assert together == [sorted(batch) for batch in names(alone.of(epoch))]
        assert len(together) == len(alone) == len(shares[0])
        seen.append(list(chain(*together)))
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(24))
    assert seen[0] != seen[1]


@given(
    sizes=st.lists(st.integers(0, 5), max_size=20),
    buffer=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_everyone_in_a_group_leaves_once_and_few_wait(sizes: list[int], buffer: int, seed: int) -> None:
    arrived = 0

    def groups() -> Iterator[list[int]]:
        nonlocal arrived
        for size in sizes:
            arrived += size
            yield list(range(arrived - size, arrived))

    left = []
    for member in shuffled(groups(), buffer, np.random.default_rng(seed)):
        left.append(member)
        assert arrived - len(left) <= buffer + max(sizes)
    assert sorted(left) == list(range(sum(sizes)))


def test_batches_mix_groups_and_use_every_member_once_an_epoch() -> None:
    mixed = batches(40, group=4, buffer=32, size=2)
    epochs = [names(mixed.of(epoch)) for epoch in range(2)]
    everything = {(index, member) for index in range(40) for member in range(4)}
    for epoch in epochs:
        assert len(epoch) == len(mixed) == 80
        assert Counter(chain(*epoch)) == Counter(everything)
        of_one_group = sum(len({index for index, _ in batch}) == 1 for batch in epoch)
        assert of_one_group < 8  # 3 of 31 others that wait are of the same group, where the buffer is full
    assert epochs[0] != epochs[1]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("group", [None, 3])
def test_workers_change_neither_batches_nor_draws(group: int | None) -> None:
    alone, helped = (batches(10, group=group, buffer=5, size=4, workers=workers) for workers in (0, 2))
    assert list(alone.of(1)) == list(helped.of(1))


@pytest.mark.parametrize(
    ("videos", "group", "size", "processes", "expected"),
    [
        (10, 4, 8, 1, [8, 8, 8, 8, 8]),
        (10, 3, 8, 1, [8, 8, 8, 6]),  # no member is left out
        (10, 3, 8, 3, [8, 1]),  # three groups each: every process has as many batches
        (2, 3, 8, 1, [6]),
        (1, 3, 8, 2, [3]),
    ],
)
def test_batches_of_groups_are_as_many_as_announced(
    videos: int, group: int, size: int, processes: int, expected: list[int]
) -> None:
    seen = set()
    for rank in range(processes):
        share = batches(videos, group=group, buffer=7, size=size, rank=rank, processes=processes)
        epoch = names(share.of(0))
        assert [len(batch) for batch in epoch] == expected
        assert len(share) == len(expected)
        assert share.size == expected[0]
        seen |= set(chain(*epoch))
    assert len(seen) == min(videos * group, processes * sum(expected))  # no two processes share a group
