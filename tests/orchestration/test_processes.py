"""Training by an asset in two processes that torchrun starts: the same curve, by configuration alone."""

import csv
from typing import Any

import pytest
import yaml

from tests.orchestration.workplace import Workplace
from tps_pipeline import device
from tps_pipeline.models.weights import load_checkpoint

torch = pytest.importorskip("torch")


def curve(workplace: Workplace, processes: int) -> tuple[list[dict[str, float]], dict[str, Any]]:
    record = workplace.lineage.latest().records["checkpoints/video_action", None]
    folder = workplace.folder / "store" / record.path
    with (folder / "log.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items() if v and k != "seconds"} for row in csv.DictReader(file)]
    assert record.metrics["loss"] == rows[-1]["loss"]
    assert record.device == ("" if processes == 1 else f"{processes} x ") + device.CPU  # all ranks, as they said
    return rows, load_checkpoint(folder / "model.safetensors")[0]


def test_two_processes_give_the_loss_curve_of_one_with_the_same_global_batch(workplace: Workplace) -> None:
    settings = yaml.safe_load((workplace.folder / "recipe.yaml").read_text())
    swin = settings["video_action"]["members"]["swin"]
    swin["training"] |= {"batch_size": 1, "global_batch": 2, "epochs": 3}
    swin["network"] |= {"stochastic_depth": 0.0}  # what is drawn by process would differ
    (workplace.folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    workplace.materialize("checkpoints/video_action")
    alone, weights = curve(workplace, 1)
    log = workplace.materialize("checkpoints/video_action", force=True, TPS_PROCESSES="2")
    assert "[pipes]" in log
    together, same_weights = curve(workplace, 2)
    assert len(alone) == 3
    assert together == [{name: pytest.approx(value, rel=1e-3) for name, value in row.items()} for row in alone]
    for name, value in weights.items():
        torch.testing.assert_close(same_weights[name], value, rtol=1e-2, atol=1e-4)
