"""A line to learn: its points, the squared errors, and plain settings."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tps_pipeline import recipe


class Line:
    """Points of y = 3x - 1 with noise: input (2,), target scalar."""

    def __init__(self, samples: int = 24) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        x = torch.tensor([index / self.samples, rng.normal()])
        return {"x": x, "y": 3 * x[0] - 1}


def squares(model: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = (model(batch["x"]).squeeze(1) - batch["y"]).square().mean()
    return loss, {"squares": loss}


def settings(**changes: Any) -> recipe.Training:
    plain = {"epochs": 4, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.01}
    return recipe.Training.model_validate(plain | changes)
