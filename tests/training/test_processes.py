"""Training in two processes is training in one with batches twice as large, and leaves one checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.processes import SETTINGS, train
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.training.budget import batch_size

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launch, "-m", "tests.training.processes", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def history(of: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [{name: pytest.approx(row[name], rel=1e-5) for name in row if name != "seconds"} for row in of]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_two_processes_train_as_one_with_batches_twice_as_large(trained: Path, tmp_path: Path, name: str) -> None:
    alone = train(tmp_path, batch_size=2 * batch_size(SETTINGS[name], 0), name=name)
    for rank in range(2):
        seen = json.loads((trained / name / f"rank_{rank}.json").read_text())
        assert seen["history"] == history(alone.history)
        assert seen["whole"]
    assert (trained / name / "evaluated").read_text() == 4 * "once\n"
    weights, _ = load_checkpoint(trained / name / "model.safetensors")
    for key, value in alone.model.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=1e-4, atol=1e-6)
    left = {path.name for path in (trained / name).iterdir()}
    assert left - {"rank_0.json", "rank_1.json"} == {path.name for path in tmp_path.iterdir()}
    assert len(list((trained / name / "tensorboard").iterdir())) == 1
