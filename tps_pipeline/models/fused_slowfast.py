"""A SlowFast for evaluation: what follows from its weights alone is worked out once.

Results are those of `slowfast` but for rounding. The instance-level methods do without: they would gain 3 to 6% of
their time, and what stores keep of them would differ in its last digits.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tps_pipeline.models.fused_norms import fuse_norms
from tps_pipeline.models.slowfast import SlowFast


class FrameByFrame(nn.Module):
    """A convolution over some frames as one of every frame alone, the results of which are added up.

    Args:
        conv: What it computes: of an odd number of frames, padded so that none is lost.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.frames, self.channels = conv.kernel_size[0], conv.out_channels
        outputs, (_, *kernel), (_, *stride), (_, *padding) = (
            self.frames * self.channels, conv.kernel_size, conv.stride, cast(tuple[int, ...], conv.padding),
        )  # fmt: skip
        size, step, edge = (cast(tuple[int, int], tuple(each)) for each in (kernel, stride, padding))
        self.alone = nn.Conv2d(conv.in_channels, outputs, size, step, edge, bias=False)
        self.alone.weight.data = conv.weight.data.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous()
        self.bias = nn.Parameter(conv.bias.data[:, None, None])

    def forward(self, clips: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T, h, w)."""
        length, half = clips.shape[2], self.frames // 2
        each = self.alone(clips.transpose(1, 2).flatten(0, 1)).unflatten(1, (self.frames, self.channels))
        each = each.unflatten(0, (-1, length))  # (B, T, frames, outputs, h, w)
        seen = []
        for at in range(length):
            near = [(frame, frame - at + half) for frame in range(max(0, at - half), min(length, at + half + 1))]
            seen.append(sum((each[:, frame, place] for frame, place in near), self.bias))
        return torch.stack(seen, 2)


@torch.no_grad()
def fuse(network: SlowFast) -> None:
    """Make a SlowFast faster in place, for evaluation only.

    Normalisations are folded into the convolutions before them; the first one of the fast pathway, which takes half of
    a narrow network's time, is made of two-dimensional ones, which are quicker at few channels.
    """
    fuse_norms(network)
    stem = network.get_submodule("blocks.0.multipathway_blocks.1")
    stem.conv = FrameByFrame(cast(nn.Conv3d, stem.conv))
