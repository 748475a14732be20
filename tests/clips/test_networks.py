"""A recipe's section and the network that is built of it: nothing that is set is forgotten on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from tps_pipeline import recipe
from tps_pipeline.clips import networks
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.trajectories.classifier import build as trajectories

SWIN = {"embed": 16, "depths": (1, 2), "heads": (2, 4), "window": (4, 4, 4)}
NARROW = {"depths": (1, 1, 2, 1), "stem": 16}
SPACE = LabelSpace((("head", "none"), ("head", "turn")))
CASES: list[tuple[Callable[[Any], nn.Module], recipe.Section, Mapping[str, Any]]] = [
    (
        lambda section: networks.video_swin(section, 5),
        recipe.VideoSwin.model_validate(SWIN),
        {
            "patch": (4, 4, 4), "embed": 32, "depths": (1, 1), "heads": (4, 4), "window": (8, 4, 4),
            "stochastic_depth": 0.1, "input": "gradients",
        },
    ),
    (
        lambda section: networks.csn(section, 5),
        recipe.Csn.model_validate(NARROW),
        {"depths": (1, 1, 1, 1), "stem": 8, "dropout": 0.1, "frozen_norms": True},
    ),
    (
        networks.slowfast,
        recipe.SlowFast.model_validate(NARROW),
        {
            "depths": (1, 1, 1, 1), "stem": 8, "alpha": 8, "beta": 0.25, "lateral_kernel": 7, "lateral_norms": True,
            "temporal_blocks": 1, "non_local": (1,), "full_span": True, "from_last": True, "frozen_norms": True,
        },
    ),
    (
        lambda section: trajectories(section, SPACE, 3),
        recipe.PartTrajectoryNet(),
        {"width": 16, "blocks": 2, "kernel": 5},
    ),
]  # fmt: skip
ELSEWHERE = {"weights", "mean", "std"}
"""Fields that are not of the network but of what it starts from and is fed with."""


def described(network: nn.Module) -> tuple[object, ...]:
    """All that tells networks apart but their weights."""
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    plain = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    heads = [module.num_heads for module in network.modules() if isinstance(getattr(module, "num_heads", None), int)]
    return str(network), shapes, plain, heads


@pytest.mark.parametrize(("build", "section", "changes"), CASES, ids=[type(case[1]).__name__ for case in CASES])
def test_every_setting_of_a_network_s_section_reaches_it(
    build: Callable[[Any], nn.Module], section: recipe.Section, changes: dict[str, Any]
) -> None:
    assert changes.keys() == type(section).model_fields.keys() - ELSEWHERE
    with torch.device("meta"):
        before = described(build(section))
        assert described(build(section)) == before
        for name, value in changes.items():
            changed = section.model_copy(update={name: value})
            assert described(build(changed)) != before, f"{name} makes no difference"
