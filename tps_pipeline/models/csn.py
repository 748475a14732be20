"""Interaction-reduced channel-separated network (ir-CSN, arXiv 1904.02811) of any depth, on PyTorchVideo's blocks.

Stages, blocks and entries are named as in PyTorchVideo's own CSN. Nothing but `pytorchvideo.models` is imported: the
package is no longer maintained, and other parts of it do not work with today's torchvision.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from tps_pipeline.models.fused_norms import fuse_norms
from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.weights import load_strictly

with without_compiler(), warnings.catch_warnings():  # of TorchScript, which its dependency fvcore uses meanwhile
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.models.head import create_res_basic_head
    from pytorchvideo.models.net import Net
    from pytorchvideo.models.resnet import ResBlock, create_bottleneck_block, create_res_stage
    from pytorchvideo.models.stem import create_res_basic_stem

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks a stage of the published depths (paper, table 1)."""
NORM_EPS = 1e-3
"""Of the batch norms of the checkpoints published for IG-65M (MMAction2's and VMZ's); 1e-5 is 2% off."""
MEAN, STD = (110.2008, 100.63983, 95.99475), (58.14765, 56.46975, 55.332195)
"""Of red, green and blue in Kinetics, which the IG-65M checkpoints expect (MMAction2's configurations)."""
DROPOUT = 0.5
"""Should a published network be trained on (MMAction2's configurations)."""


class Csn(Net):
    """An ir-CSN, with a linear classifier on the pooled features or without one.

    Args:
        depths: Bottlenecks of each of the four stages; `DEPTHS` has the published ones.
        stem: Channels of the first convolution; everything else follows (paper, table 1: 64).
        dropout: Share of the pooled features that is dropped before the classifier, in training.
        frozen_norms: Batch norms keep the statistics that were loaded, in training too.
        classes: Outputs of the classifier; without, `forward` gives the features.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        stem: int = 64,
        dropout: float = 0.0,
        frozen_norms: bool = False,
        classes: int | None = None,
    ) -> None:
        blocks = [_stem(stem)]
        channels = stem
        for stage, depth in enumerate(depths):
            inner, stride = stem * 2**stage, 1 if stage == 0 else 2
            blocks.append(_stage(depth, channels, inner, stride=stride))
            channels = 4 * inner
        if classes is not None:
            pool: Any = nn.AdaptiveAvgPool3d
            blocks.append(
                create_res_basic_head(
                    in_features=channels,
                    out_features=classes,
                    pool=pool,
                    output_size=_triple(1, 1, 1),
                    dropout_rate=dropout,
                )
            )
        super().__init__(blocks=nn.ModuleList(blocks))
        self.frozen_norms = frozen_norms
        for module in self.modules():
            match module:
                case nn.BatchNorm3d():
                    module.eps = NORM_EPS
                # What nothing else needs is changed in place: of a clip of 32 x 320 x 320 a layer's numbers are 0.2 GB.
                case nn.ReLU():
                    module.inplace = True
                case ResBlock():
                    module.branch_fusion = _added  # pyright: ignore
                case _:
                    pass

    def forward(self, x: Tensor) -> Tensor:
        """Classify clips, or describe them.

        Args:
            x: Normalised clips `(B, 3, T, H, W)` of any length and size.

        Returns:
            Logits `(B, classes)`; without a classifier the features of the last stage `(B, C, t, h, w)`.
        """
        return super().forward(x)

    def fuse(self) -> Self:
        """Fold norms into the convolutions before them, in place, for evaluation only."""
        fuse_norms(self)
        return self

    def train(self, mode: bool = True) -> Csn:
        """Switch between training and evaluation; frozen norms keep the statistics that they were loaded with."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        return self


def from_reference(state_dict: Mapping[str, Tensor], *, depth: int = 50) -> Csn:
    """The network of MMAction2's ir-CSN checkpoints (IG-65M, Kinetics), in evaluation mode.

    Args:
        state_dict: Its tensors, with or without the prefix `backbone.` and the classifier `cls_head.fc_cls`.
        depth: 50, 101 or 152 (IG-65M: 50 and 152).

    Raises:
        WeightsError: The tensors are not those of this depth.
    """
    named = {_own_name(name): tensor for name, tensor in state_dict.items()}
    head = named.get("blocks.5.proj.weight")
    model = Csn(depths=DEPTHS[depth], dropout=DROPOUT, classes=None if head is None else len(head))
    # How often a norm has seen a batch is not always stored and changes nothing.
    counts = {name: buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")}
    load_strictly(model, counts | named)
    return model.eval()


def _added(shortcut: Tensor, found: Tensor) -> Tensor:
    return found.add_(shortcut)


def _stem(channels: int) -> nn.Module:
    return create_res_basic_stem(
        in_channels=3,
        out_channels=channels,
        conv_kernel_size=_triple(3, 7, 7),
        conv_stride=_triple(1, 2, 2),
        conv_padding=_triple(1, 3, 3),
        pool_kernel_size=_triple(1, 3, 3),
        pool_stride=_triple(1, 2, 2),
        pool_padding=_triple(0, 1, 1),
    )


def _stage(depth: int, channels: int, inner: int, *, stride: int) -> nn.Module:
    """Bottlenecks whose 3x3x3 convolution sees one channel at a time."""
    return create_res_stage(
        depth=depth,
        dim_in=channels,
        dim_inner=inner,
        dim_out=4 * inner,
        bottleneck=create_bottleneck_block,
        conv_a_kernel_size=_triple(1, 1, 1),
        conv_a_stride=_triple(1, 1, 1),
        conv_a_padding=_triple(0, 0, 0),
        conv_b_kernel_size=_triple(3, 3, 3),
        conv_b_stride=_triple(stride, stride, stride),
        conv_b_padding=_triple(1, 1, 1),
        conv_b_num_groups=inner,
    )


def _triple(*sizes: int) -> Any:
    """Frames, rows and columns; PyTorchVideo annotates them as tuples of one."""
    return sizes


def _own_name(name: str) -> str:
    """An MMAction2 entry's name in our network."""
    name = name.removeprefix("backbone.")
    name = re.sub(r"^conv1\.(conv|bn)", lambda m: f"blocks.0.{_LAYER[m[1]]}", name)
    name = re.sub(r"^layer(\d)\.(\d+)\.", r"blocks.\1.res_blocks.\2.", name)
    name = re.sub(r"\.conv([123])\.(?:0\.)?(conv|bn)", lambda m: f".branch2.{_LAYER[m[2]]}_{' abc'[int(m[1])]}", name)
    name = re.sub(r"\.downsample\.(conv|bn)", lambda m: f".branch1_{_LAYER[m[1]]}", name)
    return name.replace("cls_head.fc_cls", "blocks.5.proj")


_LAYER = {"conv": "conv", "bn": "norm"}
