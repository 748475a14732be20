"""Batch norms folded into the convolutions of PyTorchVideo's blocks before them, for evaluation only.

Results are the same but for rounding.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

NORMED = {"conv": "norm", "conv_a": "norm_a", "conv_b": "norm_b", "conv_c": "norm_c", "branch1_conv": "branch1_norm"}
"""The convolutions of PyTorchVideo's blocks, and what normalises each."""


@torch.no_grad()
def fuse_norms(network: nn.Module) -> None:
    """Fold all norms of a network into the convolutions before them, in place."""
    network.eval()
    for module in [*network.modules()]:
        for name, norm in NORMED.items():
            pair = getattr(module, name, None), getattr(module, norm, None)
            if isinstance(pair[0], nn.Conv3d) and isinstance(pair[1], nn.BatchNorm3d):
                setattr(module, name, fuse_conv_bn_eval(pair[0], pair[1]))
                setattr(module, norm, nn.Identity())
