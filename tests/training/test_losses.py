"""Losses stay on the device until they are looked at."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.line import Line, settings, squares
from tps_pipeline.training.loop import Task, fit


class Asked(TorchDispatchMode):
    """Counts how often a tensor's number is asked for, as `item`, `float`, `bool` and `if` do."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


def test_a_step_that_is_not_logged_asks_the_device_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tps_pipeline.training.losses.LOGGED_EVERY", 3600)
    counts = []
    for samples in (16, 64):
        plain = settings(epochs=1, batch_size=4, optimizer="sgd", clip_norm=1.0)
        task = Task(nn.Linear(2, 1), Line(samples), loss=squares)
        with Asked() as asked:
            fit(task, plain, folder=tmp_path / str(samples), seed=0, accelerator="cpu", progress=False)
        counts.append(asked.count)
    assert counts[0] == counts[1]
