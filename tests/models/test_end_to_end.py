"""The network that finds people, parts and states: what makes it faster changes nothing that it says."""

from __future__ import annotations

import pytest
import torch

from tps_pipeline.models.end_to_end import GRID, best_boxes, out_of, within
from tps_pipeline.models.fused_slowfast import fuse
from tps_pipeline.models.heat_maps import STRIDE, HeatMaps, Maps
from tps_pipeline.models.slowfast import SlowFast


def test_parts_have_the_boxes_that_the_part_detector_would_give_them() -> None:
    torch.manual_seed(0)
    maps = Maps(6 * torch.randn(3, 4, GRID, GRID), torch.randn(3, 4), torch.randn(3, 4, 4, GRID, GRID))
    maps.places[0, 0, 0, 0] = maps.places[0, 1, GRID - 1, 3] = 30.0  # at an edge there are fewer places around
    anchors = torch.tensor([[10.0, 20.0], [40.0, 40.0], [5.0, 60.0], [30.0, 8.0]])
    middle, size = HeatMaps(classes=4, width=0.25, anchors=anchors).decode(maps)[..., :4].split(2, -1)
    decoded = torch.cat([middle - size / 2, middle + size / 2], -1) / (GRID * STRIDE)
    assert torch.allclose(best_boxes(maps, anchors), decoded, atol=1e-5)


def test_shares_of_a_window_become_the_same_boxes_again() -> None:
    windows = torch.tensor([[0.2, 0.1, 0.6, 0.9], [-0.1, 0.3, 0.4, 0.4]])
    boxes = torch.rand(2, 5, 4)
    assert torch.allclose(out_of(windows, within(windows, boxes)), boxes, atol=1e-6)
    assert within(windows, windows[:, None])[:, 0] == pytest.approx(torch.tensor([[0.0, 0, 1, 1]] * 2), abs=1e-6)


@pytest.mark.parametrize("frames", [2, 4, 8])
def test_a_fused_network_sees_the_same(frames: int) -> None:
    torch.manual_seed(0)
    network = SlowFast(depths=(1, 1, 1, 1), stem=8, alpha=2, beta=0.25, lateral_norms=True, from_last=True)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, 3, frames, 32, 32))  # norms that are not neutral
        network.eval()
        clips = torch.randn(2, 3, frames, 48, 32)
        before = network.stages(clips)
        fuse(network)
        for one, other in zip(before, network.stages(clips), strict=True):
            for pathway, same in zip(one, other, strict=True):
                assert torch.allclose(pathway, same, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) and "multipathway_blocks" in name
                   for name, module in network.named_modules())  # fmt: skip
