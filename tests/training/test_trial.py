"""What a training tells that is only tried."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.line import Line, settings, squares
from tps_pipeline.training.loop import Task, fit
from tps_pipeline.training.trial import Trial, Tried, trying


def tried(folder: Path, task: Task, times: float = 1.0, **changes: object) -> Tried:
    with trying(Trial(times, seconds=0.01)) as trial:
        fit(task, settings(**changes), folder=folder, seed=0, accelerator="cpu", progress=False)
    assert trial.tried
    return trial.tried


def test_a_few_samples_are_taken_for_as_many_as_there_will_be(tmp_path: Path):
    told = tried(tmp_path, Task(nn.Linear(2, 1), Line(16), loss=squares), times=10, epochs=3, batch_size=4)
    assert (told.samples, told.batch, told.batches, told.epochs) == (160, 4, 3 * 40, 3)
    assert told.step is not None
    assert told.step > 0
    steps = tried(tmp_path, Task(nn.Linear(2, 1), Line(16), loss=squares), epochs=None, optimizer_steps=7, batch_size=4)
    assert (steps.batches, steps.evaluations) == (7, 0)


def test_a_training_after_a_trial_is_as_if_there_had_been_none(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    tried(tmp_path / "a", Task(model, Line(16), loss=squares), epochs=2, batch_size=4, weight_decay=0.1)
    for before, after in zip(weights, model.parameters(), strict=True):
        assert torch.equal(before, after)
    history = fit(
        Task(nn.Linear(2, 1), Line(16), loss=squares), settings(epochs=2, batch_size=4),
        folder=tmp_path / "b", seed=0, accelerator="cpu", progress=False,
    ).history  # fmt: skip
    assert [row["epoch"] for row in history] == [1, 2]


def test_operations_and_memory_are_counted_without_computing(tmp_path: Path):
    wide = nn.Sequential(nn.Linear(2, 1000), nn.Tanh(), nn.Linear(1000, 1))
    told = tried(tmp_path, Task(wide, Line(64), loss=squares), epochs=1, batch_size=32, optimizer="adamw")
    # Two products forward, one for each weight backward, and one for what is between.
    assert told.flops == 2 * 32 * 1000 * (2 + 1 + 2 + 1 + 1)
    learned = 4 * (2 * 1000 + 1000 + 1000 + 1)
    between = 4 * 32 * 1000
    assert told.weights == learned
    assert told.memory is not None
    assert 4 * learned + between <= told.memory <= 4 * learned + 2 * between


def test_a_network_that_asks_for_numbers_is_timed_all_the_same(tmp_path: Path):
    def asks(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = squares(model, batch)
        return (loss if loss.item() > 0 else loss * 2), parts

    told = tried(tmp_path, Task(nn.Linear(2, 1), Line(16), loss=asks), epochs=1, batch_size=4)
    assert (told.flops, told.memory) == (None, None)
    assert told.step


def test_a_network_that_is_too_large_is_only_counted(tmp_path: Path):
    with trying(Trial(1.0, seconds=0.01, most_flops=1)) as trial:
        task = Task(nn.Linear(2, 1), Line(16), loss=squares)
        fit(task, settings(epochs=1, batch_size=4), folder=tmp_path, seed=0, accelerator="cpu", progress=False)
    assert trial.tried
    assert trial.tried.step is None
    assert trial.tried.flops == pytest.approx(2 * 4 * 2 * 2)
