"""Which device computes: chosen here, and remembered for the lineage of what it computed."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def _processor() -> str:
    """What the processor calls itself, where the system tells; one kind may differ from another in the last digits."""
    with suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                return f"{platform.machine()}, {line.partition(':')[2].strip()}"
    return platform.machine()


CPU = f"cpu ({_processor()})"
"""What computes where no network does."""

Used = Counter[str]
"""How many processes computed on a device at once, by the device's name."""

_listening: list[Used] = []


def choose_device(asked: str | None = None) -> torch.device:
    """The device that a network is to run on: a GPU if there is one, unless something else is asked for.

    Args:
        asked: PyTorch's name of a device (`cpu`, `cuda:1`).
    """
    import torch

    chosen = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
    note(name_of(chosen))
    return chosen


def has_gpu() -> bool:
    """Whether there is a GPU; where there is surely none, PyTorch, which takes a second to import, is not asked.

    On Linux it reaches a GPU through NVIDIA's driver, whose library it loads by this name, or AMD's in the kernel.
    """
    if sys.platform == "linux" and not Path("/dev/kfd").exists():
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    import torch

    return torch.cuda.is_available()


def name_of(device: torch.device) -> str:
    """A device with its name: `cuda (NVIDIA H100 80GB HBM3)`, `cpu (x86_64, AMD EPYC 9554)`."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else CPU


def note(*names: str) -> None:
    """Say on which device each of the processes that compute together does so; `used` hears of it."""
    for heard in _listening:
        heard |= Counter(names)


@contextmanager
def used() -> Iterator[Used]:
    """Listen to what computes meanwhile.

    Yields:
        The devices, as they are noted.
    """
    heard: Used = Counter()
    _listening.append(heard)
    try:
        yield heard
    finally:
        _listening[:] = [other for other in _listening if other is not heard]


def described(devices: Used) -> str:
    """Devices in words for a record; without any a CPU did it.

    >>> described(Counter(["cuda (A)", "cuda (A)"])), described(Counter())[:3]
    ('2 x cuda (A)', 'cpu')
    """
    return " + ".join(name if count == 1 else f"{count} x {name}" for name, count in sorted(devices.items())) or CPU
