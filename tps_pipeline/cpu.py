"""Making a process fit for work on the CPU."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPINS, SPINS_ALONE = "GOMP_SPINCOUNT", "2000"
"""GNU OpenMP's: how often a thread asks whether the others are done before it sleeps, and what is right alone."""

_among = 1


@contextmanager
def sharing_cores(among: int) -> Iterator[None]:
    """Count on others that compute at the same time, each in a process of its own.

    Args:
        among: How many they are with this one. It must not depend on what is left to do: sums of other numbers of
            threads differ in their last digits, and a training that goes on would end with other weights.
    """
    global _among
    before, _among = _among, max(1, among)
    try:
        yield
    finally:
        _among = before


@contextmanager
def threads_that_sleep() -> Iterator[None]:
    """Have threads of processes that begin meanwhile sleep at once where they wait for one another.

    For processes that share the cores: beside two trainings on two cores detection takes 10 s so, and 17 s where its
    threads ask the 2,000 times of `tps_pipeline/__init__.py` first. What the environment says otherwise stays.
    """
    before = os.environ.get(SPINS)
    if before == SPINS_ALONE:
        os.environ[SPINS] = "0"
    try:
        yield
    finally:
        if before == SPINS_ALONE:
            os.environ[SPINS] = before


def prepare_cpu(*, workers: int = 0) -> None:
    """Make this process fit for networks on the CPU; call it before training or inference.

    Threads are as many as the cores this process may use (affinity and container quota) and has for itself
    (`sharing_cores`), less one for each worker, unless `OMP_NUM_THREADS` says otherwise: threads of a network wait
    for one another, and a core that is busy with something else makes all of them several times slower.

    Args:
        workers: Processes that load data beside this one.
    """
    import torch

    keep_freed_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(_torch_threads(), cores() // _among) - workers))


def keep_freed_memory() -> None:
    """Let this process keep big blocks of memory that it frees.

    glibc gives them back to the system at once, and page faults on the next ones then take about a third of the CPU
    time of anything that works on pictures or tensors. Without glibc nothing is done.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    if libc := _glibc():
        libc.mallopt(m_mmap_threshold, 2**31 - 1)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def share_freed_memory() -> None:
    """Let all threads of this process use what one has freed: glibc has an arena for each, and each would keep its own.

    For what runs without an end, where `keep_freed_memory` would let it grow. Without glibc nothing is done.
    """
    m_arena_max = -8
    if libc := _glibc():
        libc.mallopt(m_arena_max, 1)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the garbage collector: it would walk a growing million of small objects again and again, for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def _torch_threads() -> int:
    """PyTorch's own choice, before anything here changes it: the physical cores."""
    import torch

    return torch.get_num_threads()


def cores() -> int:
    """Whole cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
