"""A SlowFast for evaluation: what follows from its weights alone is worked out once.

Results are those of `slowfast` but for rounding; so methods whose results are kept in stores do not use it unawares.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tps_pipeline.models.slowfast import SlowFast

NORMED = {"conv": "norm", "conv_a": "norm_a", "conv_b": "norm_b", "conv_c": "norm_c", "branch1_conv": "branch1_norm"}
"""The convolutions of PyTorchVideo's blocks, and what normalises each."""


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
    network.eval()
    for module in [*network.modules()]:
        for name, norm in NORMED.items():
            pair = getattr(module, name, None), getattr(module, norm, None)
            if isinstance(pair[0], nn.Conv3d) and isinstance(pair[1], nn.BatchNorm3d):
                setattr(module, name, fuse_conv_bn_eval(pair[0], pair[1]))
                setattr(module, norm, nn.Identity())
    stem = network.get_submodule("blocks.0.multipathway_blocks.1")
    stem.conv = FrameByFrame(cast(nn.Conv3d, stem.conv))
