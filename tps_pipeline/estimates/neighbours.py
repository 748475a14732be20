"""Others at work meanwhile: trainings side by side share caches and a core's units, and each takes longer than alone.

Tried alone, the demo's two detectors were estimated at 0.7 of what they then took; beside a neighbour at 0.9 and 1.0
(two threads of one core).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Have so many processes compute meanwhile what networks mostly do, each with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(os.getpid())]
    at_work = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in at_work:
            process.kill()
            process.wait()


def _compute(asked: int) -> None:
    """Take steps of a convolution until the process that asked for it is gone."""
    import torch

    pictures = torch.randn(8, 32, 48, 48).to(memory_format=torch.channels_last).requires_grad_()
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    while os.getppid() == asked:
        layer(pictures).relu().sum().backward()


if __name__ == "__main__":
    _compute(int(sys.argv[1]))
