"""What each process does that `torchrun` starts: train on points of a line, and note what it saw.

python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.training.processes FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

from tests.training.line import Line, settings, squares
from tps_pipeline.detection.average_precision import precision_of_classes
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.training import budget, loop

SETTINGS = {
    "one_batch_a_step": settings(batch_size=4, ema=0.9, clip_norm=0.5),
    "two_batches_a_step": settings(batch_size=4, global_batch=16, optimizer="sgd"),
}


def train(folder: Path, *, batch_size: int, name: str) -> loop.Fit:
    """Train without what looks at a whole batch (batch norm) or draws by process (dropout)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def save(trained: nn.Module) -> None:
        time.sleep(0.5)  # who does not wait finds nothing
        with (folder / "saved").open("x"):  # once
            save_checkpoint(folder / "model.safetensors", trained.state_dict())

    def evaluate(network: nn.Module) -> dict[str, float]:
        with (folder / "evaluated").open("a") as file:
            file.write("once\n")
        # A detector's metric must not wait for processes that do not evaluate.
        seen = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([0])}
        ap, _ = precision_of_classes([seen | {"scores": torch.tensor([0.5])}], [seen], classes=1)
        return {"bias": network.get_parameter("2.bias").item(), "ap": float(ap[0])}

    how = SETTINGS[name].model_copy(update={"batch_size": batch_size})
    task = loop.Task(model, Line(48), squares, evaluate=evaluate, save=save)
    return loop.fit(task, how, folder=folder, seed=5, accelerator="cpu")


def main() -> None:
    for name, how in SETTINGS.items():
        folder = Path(sys.argv[1], name)
        fitted = train(folder, batch_size=budget.batch_size(how, 0), name=name)
        saved, _ = load_checkpoint(folder / "model.safetensors")
        seen = {
            "history": [{key: value for key, value in row.items() if key != "seconds"} for row in fitted.history],
            "whole": all(torch.equal(saved[key], value) for key, value in fitted.model.state_dict().items()),
        }
        (folder / f"rank_{torch.distributed.get_rank()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
