import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.line import Line, settings, squares
from tps_pipeline import recipe
from tps_pipeline.errors import TpsError
from tps_pipeline.training import loop, optimization
from tps_pipeline.training.batches import Groups
from tps_pipeline.training.budget import batch_size

STEPS = 3


class Twins:
    """The points of a line in groups of two."""

    def __init__(self, groups: int) -> None:
        self.line = Line(groups)

    def __len__(self) -> int:
        return len(self.line)

    def sample(self, index: int, rng: np.random.Generator) -> list[dict[str, torch.Tensor]]:
        return [self.line.sample(index, rng) for _ in range(2)]


TWINS = {"data": Twins(12), "groups": Groups(2, 5)}


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def task(**changes: Any) -> loop.Task:
    given: dict[str, Any] = {"model": network(), "data": Line(), "loss": squares} | changes
    return loop.Task(**given)


def run(folder: Path, task_: loop.Task, settings_: recipe.Training, **options: Any) -> loop.Fit:
    return loop.fit(task_, settings_, folder=folder, seed=5, accelerator="cpu", **options)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def bias(model: nn.Module) -> dict[str, float]:
    return {"bias": model.get_parameter("4.bias").item()}


def test_training_fits_and_logs(tmp_path: Path):
    fitted = run(tmp_path, task(evaluate=bias), settings(epochs=40))
    assert fitted.history[-1]["loss"] < 0.25 * fitted.history[0]["loss"]
    assert fitted.metrics["bias"] == pytest.approx(fitted.model.get_parameter("4.bias").item())
    assert not fitted.model.training
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert float(rows[-1]["squares"]) == pytest.approx(fitted.metrics["squares"])
    assert sum(row["bias"] != "" for row in rows) == 10
    assert list((tmp_path / "tensorboard").iterdir())
    assert not (tmp_path / "resume.ckpt").exists()


def power_cut_in_the_third_epoch() -> Any:
    """The loss of `squares` until then."""
    calls = 0

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]):
        nonlocal calls
        calls += 1
        if calls > 2 * STEPS + 1:
            raise KeyboardInterrupt
        return squares(model, batch)

    return loss


@pytest.mark.parametrize("data", [{}, TWINS])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["one_cycle", "yolo_cosine"])
def test_resumed_training_ends_bit_for_bit_where_an_uninterrupted_one_does(
    tmp_path: Path, data: dict[str, Any], optimizer: str, schedule: str
):
    how = settings(optimizer=optimizer, schedule=schedule, ema=0.9, momentum=0.9, global_batch=16, clip_norm=1.0)
    whole = run(tmp_path / "whole", task(**data), how)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", task(loss=power_cut_in_the_third_epoch(), **data), how)
    torch.manual_seed(99)  # what another process would have
    resumed = run(tmp_path / "cut", task(**data), how)
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert len((tmp_path / "cut" / "log.csv").read_text().splitlines()) == 5


def test_a_resume_file_of_other_settings_is_not_taken_up(tmp_path: Path):
    def cut(model: nn.Module) -> NoReturn:
        raise KeyboardInterrupt

    def cut_late(model: nn.Module) -> dict[str, float]:
        if next(epochs):
            cut(model)
        return {}

    epochs = iter([0, 1])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, task(evaluate=cut_late), settings())
    assert (tmp_path / "resume.ckpt").exists()
    fitted = run(tmp_path, task(), settings(learning_rate=0.02))
    assert torch.equal(weights(fitted.model), weights(run(tmp_path / "b", task(), settings(learning_rate=0.02)).model))


def flipped(content: bytes) -> bytes:
    """With one bit of each sixteenth byte other than it was, in the middle of the file."""
    middle = range(len(content) // 3, len(content) // 2, 16)
    return bytes(byte ^ 1 if at in middle else byte for at, byte in enumerate(content))


def without_optimizer(content: bytes) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    del state["optimizer"]
    torch.save(state, kept := io.BytesIO())
    return kept.getvalue()


def of_another_network(content: bytes) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    state["network"] = {name: torch.zeros(7) for name in state["network"]}
    torch.save(state, kept := io.BytesIO())
    return kept.getvalue()


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda content: b"",
    lambda content: content[:10],
    lambda content: content[: len(content) // 2],
    lambda content: content[:-1],
    lambda content: bytes(len(content)),
    lambda content: b"epoch,loss\n1,0.5\n",
    flipped,
    without_optimizer,
    of_another_network,
]


@pytest.mark.parametrize(
    "damage",
    DAMAGES,
    ids=["empty", "head", "half", "last byte", "zeros", "text", "bits", "no optimizer", "other network"],
)
def test_a_damaged_resume_file_is_set_aside_and_training_starts_anew(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
):
    def power_cut(model: nn.Module) -> NoReturn:
        raise KeyboardInterrupt

    how = settings(optimizer="adamw", ema=0.9)

    def evaluate(model: nn.Module) -> dict[str, float]:
        return power_cut(model) if next(epochs) else {}

    epochs = iter([0, 1])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", task(evaluate=evaluate), how)
    resume = tmp_path / "cut" / "resume.ckpt"
    damaged = damage(resume.read_bytes())
    resume.write_bytes(damaged)
    fitted = run(tmp_path / "cut", task(), how)
    assert torch.equal(weights(fitted.model), weights(run(tmp_path / "whole", task(), how).model))
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4]
    assert f"{resume} is damaged" in caplog.text
    assert (tmp_path / "cut" / "resume.damaged").read_bytes() == damaged
    assert not resume.exists()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("data", [{}, TWINS])
def test_workers_do_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # workers take threads away, and sums differ in their last digits
    alone = run(tmp_path / "0", task(**data), settings(epochs=2))
    helped = run(tmp_path / "2", task(**data), settings(epochs=2, workers=2))
    assert torch.equal(weights(alone.model), weights(helped.model))


def test_accumulated_batches_are_one_large_batch(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 1))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    how = {"epochs": 2, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "warmup": 0}
    small = run(tmp_path / "a", task(model=model), settings(batch_size=4, global_batch=24, **how)).model
    small = weights(small)
    model.load_state_dict(start)
    large = weights(run(tmp_path / "b", task(model=model), settings(batch_size=24, **how)).model)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-6)


def test_weight_decay_is_for_matrices_only():
    model = network()
    model.register_parameter("implicit", nn.Parameter(torch.ones(1, 3, 1, 1)))
    groups = optimization.parameter_groups(model, 0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [{names[id(parameter)] for parameter in group["params"]} for group in groups]
    assert found == [{"0.weight", "4.weight"}, {"1.weight", "implicit"}, {"0.bias", "1.bias", "4.bias"}]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_one_cycle_is_pytorchs():
    how = settings(epochs=10, learning_rate=0.3, warmup=0.2)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=50, pct_start=0.2)
    for step in range(50):
        assert optimization.rates(how, step, 5, 50).learning_rate == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < 49:
            theirs.step()


def test_a_warm_up_of_one_step_begins_at_the_peak():
    assert optimization.rates(settings(epochs=2, learning_rate=0.3, warmup=0.1), 0, 5, 10).learning_rate == 0.3


def test_yolo_cosine_warms_up_within_steps_and_falls_by_epochs():
    how = settings(epochs=300, schedule="yolo_cosine", learning_rate=0.01, final_learning_rate=0.1, warmup=3)
    first, half, warm = (optimization.rates(how, step, 1000, 300_000) for step in (0, 1500, 3000))
    assert (first.learning_rate, first.bias_learning_rate, first.momentum) == (0, 0.1, 0.8)
    fall = (1 + np.cos(np.pi * 1 / 300)) / 2 * 0.9 + 0.1  # YOLOv7: 1 -> 0.1 along a cosine, here after one epoch
    assert half.learning_rate == pytest.approx(0.5 * 0.01 * fall)
    assert half.bias_learning_rate == pytest.approx((0.1 + 0.01 * fall) / 2)
    assert half.momentum == pytest.approx((0.8 + 0.937) / 2)
    assert warm.bias_learning_rate == pytest.approx(warm.learning_rate)
    assert warm.momentum == pytest.approx(0.937)
    assert optimization.rates(how, 150_000, 1000, 300_000).learning_rate == pytest.approx(0.01 * 0.55)
    assert optimization.rates(how, 150_999, 1000, 300_000) == optimization.rates(how, 150_000, 1000, 300_000)
    assert optimization.rates(how, 299_999, 1000, 300_000).learning_rate == pytest.approx(0.001, rel=1e-3)


def test_steps_fall_to_a_tenth_after_a_warm_up():
    how = settings(epochs=6, schedule="step", learning_rate=0.064, steps=(5.6, 5.8), warmup=1)
    at = [optimization.rates(how, step, 10, 60).learning_rate for step in (0, 5, 10, 55, 56, 58)]
    assert at == pytest.approx([0, 0.032, 0.064, 0.064, 0.0064, 0.00064])


def test_moving_average_follows_the_ramp():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    averaged = optimization.moving_average(model, 0.9, lambda: 100)
    values, expected = [1.0, 5.0, 2.0], 0.0
    for count, value in enumerate(values):
        nn.init.constant_(model.get_parameter("0.weight"), value)
        model.get_buffer("1.running_mean").fill_(value)
        model.get_buffer("1.num_batches_tracked").fill_(count)
        kept = 0.9 * (1 - np.exp(-count / 10))  # 100 updates: the ramp is a tenth of them
        expected = kept * expected + (1 - kept) * value
        averaged.update_parameters(model)
    assert averaged.module.get_parameter("0.weight").item() == pytest.approx(expected, rel=1e-6)
    assert averaged.module.get_buffer("1.running_mean").item() == pytest.approx(expected, rel=1e-6)
    assert averaged.module.get_buffer("1.num_batches_tracked").item() == 2


def test_the_average_is_what_is_kept(tmp_path: Path):
    raw = run(tmp_path / "a", task(), settings())
    averaged = run(tmp_path / "b", task(), settings(ema=0.9))
    assert raw.history[-1]["loss"] == averaged.history[-1]["loss"]
    assert not torch.equal(weights(raw.model), weights(averaged.model))


def test_a_diverging_training_says_what_to_do(tmp_path: Path):
    def diverging(model: nn.Module, batch: dict[str, torch.Tensor]):
        loss, parts = squares(model, batch)
        return loss * float("nan"), parts

    with pytest.raises(TpsError, match="epoch 1, batch 1: lower `learning_rate`"):
        run(tmp_path, task(loss=diverging), settings())


def test_no_samples_is_an_error(tmp_path: Path):
    with pytest.raises(TpsError, match="no training samples"):
        run(tmp_path, task(data=Line(0)), settings())


def test_fewer_samples_than_a_batch_still_train(tmp_path: Path):
    assert run(tmp_path, task(data=Line(3)), settings(epochs=1)).history[0]["loss"] > 0


def test_steps_are_a_budget(tmp_path: Path):
    model = task()
    fitted = run(tmp_path, model, settings(epochs=None, optimizer_steps=7, schedule="one_cycle", ema="auto"))
    assert [row["used"] for row in fitted.history] == pytest.approx([3 / 7, 6 / 7, 1])  # 3 batches an epoch
    assert fitted.history[-1]["learning_rate"] == pytest.approx(0.01 / 250_000)


def test_a_budget_of_steps_counts_accumulated_batches_once(tmp_path: Path):
    taken = 0

    def counted(model: nn.Module, batch: dict[str, torch.Tensor]):
        nonlocal taken
        taken += 1
        return squares(model, batch)

    run(tmp_path, task(loss=counted), settings(epochs=None, optimizer_steps=5, global_batch=16))
    assert taken == 3 + 3 + 2  # an epoch has a step of two batches and one of what is left


class Clock:
    """Time that passes by a minute whenever somebody looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.minutes = 0
        monkeypatch.setattr(loop.time, "perf_counter", self.look)

    def look(self) -> float:
        self.minutes += 1
        return 60.0 * self.minutes


def test_minutes_are_a_budget_and_a_resumed_training_has_what_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    how = settings(epochs=None, minutes=30, schedule="one_cycle", ema=0.9)
    Clock(monkeypatch)
    whole = run(tmp_path / "whole", task(), how)
    assert whole.history[-1]["used"] == 1
    assert whole.history[-1]["learning_rate"] < 0.001
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", task(loss=power_cut_in_the_third_epoch()), how)
    resumed = run(tmp_path / "cut", task(), how)
    assert [row["used"] for row in resumed.history] == [row["used"] for row in whole.history]
    assert torch.equal(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize("cut", [False, True])
def test_the_best_epoch_is_kept(tmp_path: Path, cut: bool):
    def turns(*figures: float | None) -> Callable[[nn.Module], dict[str, float]]:
        left = iter(figures)

        def evaluate(model: nn.Module) -> dict[str, float]:
            figure = next(left)
            if figure is None:
                raise KeyboardInterrupt
            seen.append(weights(model).clone())
            return {"accuracy": figure}

        return evaluate

    seen: list[torch.Tensor] = []
    how = settings(epochs=4, keep="best", ema=0.9)
    first, rest = ([0.1, 0.9, None], [0.9, 0.2]) if cut else ([0.1, 0.9, 0.9, 0.2], [])
    if cut:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, task(evaluate=turns(*first), figure="accuracy"), how)
    fitted = run(tmp_path, task(evaluate=turns(*(rest or first)), figure="accuracy"), how)
    assert fitted.metrics["epoch"] == 3  # of equals the later
    assert torch.equal(weights(fitted.model), seen[2])


def test_where_nothing_is_held_out_the_last_epoch_is_kept(tmp_path: Path):
    last, best = (run(tmp_path / keep, task(figure="accuracy"), settings(keep=keep)) for keep in ("last", "best"))
    assert torch.equal(weights(last.model), weights(best.model))


@pytest.mark.parametrize(("samples", "size"), [(1, 4), (100, 4), (300, 8), (5000, 32)])
def test_batches_follow_the_number_of_samples(samples: int, size: int):
    assert batch_size(settings(batch_size="auto"), samples) == size


@pytest.mark.parametrize("updates", [40, 500])
def test_an_average_that_follows_the_budget_arrives(updates: int):
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.constant_(model.get_parameter("0.weight"), 0.0)
    averaged = optimization.moving_average(model, "auto", lambda: updates)
    for step in range(updates):
        nn.init.constant_(model.get_parameter("0.weight"), min(1.0, 2 * step / updates))  # has learned all by half time
        averaged.update_parameters(model)
    assert averaged.module.get_parameter("0.weight").item() > 0.99
