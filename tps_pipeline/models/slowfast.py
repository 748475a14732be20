"""SlowFast (arXiv 1812.03982) of any depth as actions in AVA are detected with it, on PyTorchVideo's blocks.

The last stage keeps the stride of the one before and dilates its convolutions (paper, section 4.3), so a place of the
features is 16 pixels wide. Blocks and entries are named as in PyTorchVideo's own SlowFast. Two code bases publish
checkpoints trained on AVA, which differ in small things (`SlowFast` has an argument for each):

- ACAR-Net: the convolutions from the fast to the slow pathway have no norm in the 101-layer network; the slow pathway
  sees every `alpha`-th frame from the first.
- PySlowFast: those convolutions are normalised; of the 101-layer network's third stage only the first six blocks
  convolve in time, and three blocks of the slow one are followed by a non-local block (arXiv 1711.07971); the slow
  pathway's frames reach from the first to the last.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tps_pipeline.errors import WeightsError
from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.weights import load_strictly

with without_compiler(), warnings.catch_warnings():  # of TorchScript, which its dependency fvcore uses meanwhile
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.layers.nonlocal_net import create_nonlocal
    from pytorchvideo.models.net import MultiPathWayWithFuse
    from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
    from pytorchvideo.models.slowfast import FastToSlowFusionBuilder
    from pytorchvideo.models.stem import create_res_basic_stem

FUSION = 2
"""Channels that come over from the fast pathway, as a multiple of its own (paper, section 3.4)."""
TEMPORAL = ((1, 1, 3, 3), (3, 3, 3, 3))
"""Frames that a block's first convolution sees, by pathway and stage (paper, table 1)."""
STRIDES, DILATIONS = (1, 2, 2, 1), (1, 1, 1, 2)
"""Of the stages, in rows and columns (paper, section 4.3)."""
STAGE_STRIDES = (4, 4, 8, 16, 16)
"""Pixels of a place after the stem and after each stage."""
ACAR_MEAN, ACAR_STD = (110.6, 103.2, 96.3), (38.8, 37.9, 40.0)
"""Of red, green and blue, 0 to 255, which ACAR-Net's 101-layer network expects (its configuration)."""
PYSLOWFAST_MEAN, PYSLOWFAST_STD = (114.75, 114.75, 114.75), (57.375, 57.375, 57.375)
"""Likewise, PySlowFast's: 0.45 and 0.225 of 255."""


class SlowFast(nn.Module):
    """The features of clips, by both pathways.

    Args:
        depths: Bottlenecks of each of the four stages (paper, table 1: 3, 4, 6, 3; of 101 layers: 3, 4, 23, 3).
        stem: Channels of the slow pathway's first convolution; everything else follows (64).
        alpha: Frames of the fast pathway for one of the slow pathway (paper: 8; the checkpoints for AVA: 4).
        beta: Channels of the fast pathway, as a share of the slow one's: one over a whole number (1/8).
        lateral_kernel: Frames seen by the convolutions from the fast to the slow pathway (5).
        lateral_norms: They are followed by a batch norm and a ReLU.
        temporal_blocks: So many first blocks of the third stage convolve in time; None for all.
        non_local: Blocks of the slow pathway's third stage, from 0, that are followed by a non-local block.
        full_span: The slow pathway's frames reach from the first to the last; else every `alpha`-th from the first.
        from_last: They are every `alpha`-th counted back from the last, whatever `full_span` says.
        frozen_norms: Batch norms keep the statistics that were loaded, in training too.

    Attributes:
        alpha: As given.
        beta: As given.
        full_span: As given.
        from_last: As given.
        frozen_norms: As given.
        channels: Of the slow and of the fast features.
        stage_channels: The same of what each of `stages` gives.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        stem: int = 64,
        alpha: int = 4,
        beta: float = 0.125,
        lateral_kernel: int = 5,
        lateral_norms: bool = False,
        temporal_blocks: int | None = None,
        non_local: Sequence[int] = (),
        full_span: bool = False,
        from_last: bool = False,
        frozen_norms: bool = False,
    ) -> None:
        reduction = round(1 / beta)
        fusion = FastToSlowFusionBuilder(
            slowfast_channel_reduction_ratio=reduction,
            conv_fusion_channel_ratio=FUSION,
            conv_kernel_size=(lateral_kernel, 1, 1),  # pyright: ignore[reportArgumentType]
            conv_stride=(alpha, 1, 1),  # pyright: ignore[reportArgumentType]
            norm=nn.BatchNorm3d if lateral_norms else None,  # pyright: ignore[reportArgumentType]
            activation=nn.ReLU if lateral_norms else None,  # pyright: ignore[reportArgumentType]
        )
        slow, fast = stem, stem // reduction
        blocks = [_fused([_stem(slow, 1), _stem(fast, 5)], fusion, slow, 0)]
        widths = [(slow + FUSION * fast, fast)]
        for stage, depth in enumerate(depths):
            wide = (stem * 2**stage, stem * 2**stage // reduction)
            in_time = depth if stage != 2 or temporal_blocks is None else temporal_blocks
            pathways = [
                _stage(stage, pathway, channels, inner, depth=depth, in_time=in_time)
                for pathway, channels, inner in zip((0, 1), (slow + FUSION * fast, fast), wide, strict=True)
            ]
            slow, fast = 4 * wide[0], 4 * wide[1]
            blocks.append(_fused(pathways, fusion, slow, stage + 1))
            widths.append((slow + FUSION * fast, fast))
        super().__init__()
        self.blocks, self.channels = nn.ModuleList(blocks), (slow, fast)
        self.stage_channels = (*widths[:-1], self.channels)  # nothing comes over after the last stage
        self.alpha, self.beta, self.full_span, self.frozen_norms = alpha, beta, full_span, frozen_norms
        self.from_last = from_last
        for at in non_local:
            block = self.get_submodule(f"blocks.3.multipathway_blocks.0.res_blocks.{at}")
            block.activation = nn.Sequential(block.activation, _non_local(16 * stem))  # pyright: ignore

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Describe clips.

        Args:
            x: Normalised clips as the fast pathway sees them, `(B, 3, T, H, W)`; T is a multiple of `alpha`.

        Returns:
            Slow features `(B, 32 stem, T / alpha, H / 16, W / 16)` and fast ones `(B, 32 stem beta, T, H / 16,
            W / 16)`, rounded up.
        """
        return self.stages(x)[-1]

    def stages(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Describe clips as each stage sees them, the stem's first: `STAGE_STRIDES` pixels a place.

        Args:
            x: As in `forward`.

        Returns:
            Slow and fast features; the slow ones of all but the last have what came over from the fast ones in them.
        """
        # One by one: a list of Python's as an index is handed to a GPU, which is waited for.
        pathways = [torch.stack([x[:, :, at] for at in self._slow_frames(x.shape[2])], 2), x]
        found = []
        for block in self.blocks:
            pathways = block([*pathways])  # a block changes the list that it is given
            found.append((pathways[0], pathways[1]))
        return found

    def _slow_frames(self, frames: int) -> list[int]:
        if frames % self.alpha:
            raise ValueError(f"{frames} frames are no multiple of alpha, {self.alpha}")
        if self.from_last:
            return list(range(self.alpha - 1, frames, self.alpha))
        if self.full_span:
            return list(_spread(frames, frames // self.alpha))
        return list(range(0, frames, self.alpha))

    def train(self, mode: bool = True) -> SlowFast:
        """Switch between training and evaluation; frozen norms keep the statistics that they were loaded with."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        return self


@cache
def _spread(frames: int, chosen: int) -> tuple[int, ...]:
    """So many frames from the first to the last; kept, so that what traces a network finds numbers once it was used."""
    return tuple(torch.linspace(0, frames - 1, chosen).long().tolist())


def from_acar(state_dict: Mapping[str, Tensor], *, alpha: int = 4, beta: float = 0.125) -> SlowFast:
    """The network of ACAR-Net's SlowFast checkpoints (Kinetics, AVA), in evaluation mode.

    Args:
        state_dict: Its tensors, with or without the prefix `backbone.`; a head is left out.
        alpha: Frames of the fast pathway for one of the slow one.
        beta: Channels of the fast pathway, as a share of the slow one's.

    Raises:
        WeightsError: The tensors are not those of such a network.
    """
    named = {_from_acar(name): tensor for name, tensor in backbone_of(state_dict).items()}
    return _loaded(named, alpha=alpha, beta=beta, full_span=False)


def from_pyslowfast(state_dict: Mapping[str, Tensor], *, alpha: int = 4, beta: float = 0.125) -> SlowFast:
    """The network of PySlowFast's checkpoints (AVA's 101-layer ones have non-local blocks), in evaluation mode.

    Args:
        state_dict: Its tensors, as PyTorch or (the model zoo's `.pkl`) Caffe2 names them; a head is left out.
        alpha: Frames of the fast pathway for one of the slow one.
        beta: Channels of the fast pathway, as a share of the slow one's.

    Raises:
        WeightsError: The tensors are not those of such a network.
    """
    if "conv1_w" in state_dict:
        state_dict = {_from_caffe2(name): t for name, t in state_dict.items() if not name.startswith(_NO_BACKBONE)}
    named = {_from_pyslowfast(name): tensor for name, tensor in backbone_of(state_dict).items()}
    return _loaded(named, alpha=alpha, beta=beta, full_span=True)


def backbone_of(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published detector of actions that come before its head."""
    return {name.removeprefix("backbone."): t for name, t in state_dict.items() if not name.startswith("head.")}


class Dimensions(NamedTuple):
    """What the tensors of a `SlowFast` tell about it: arguments of its, under their names."""

    depths: tuple[int, ...]
    """Bottlenecks a stage."""
    stem: int
    """Channels of the slow pathway's first convolution."""
    lateral_kernel: int
    """Frames seen by the convolutions from the fast to the slow pathway."""
    lateral_norms: bool
    """Whether these are followed by a batch norm and a ReLU."""
    temporal_blocks: int | None
    """So many first blocks of the third stage convolve in time (None: all)."""
    non_local: tuple[int, ...]
    """Blocks of the slow pathway's third stage, from 0, that a non-local block follows."""


def _loaded(named: Mapping[str, Tensor], *, alpha: int, beta: float, full_span: bool) -> SlowFast:
    """The network of tensors under our names, whose dimensions are theirs."""
    size = dimensions(named)
    if round(size.stem * beta) != len(named["blocks.0.multipathway_blocks.1.conv.weight"]):
        raise WeightsError(f"these are not the weights of a SlowFast whose beta is {beta}")
    model = SlowFast(
        depths=size.depths,
        stem=size.stem,
        alpha=alpha,
        beta=beta,
        lateral_kernel=size.lateral_kernel,
        lateral_norms=size.lateral_norms,
        temporal_blocks=size.temporal_blocks,
        non_local=size.non_local,
        full_span=full_span,
    )
    # How often a norm has seen a batch is not always stored and changes nothing.
    counts = {name: buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")}
    load_strictly(model, counts | dict(named))
    return model.eval()


def dimensions(named: Mapping[str, Tensor]) -> Dimensions:
    """What tensors under our names tell about their network.

    Raises:
        WeightsError: They are not those of a SlowFast.
    """
    lateral, first = "blocks.0.multipathway_fusion.conv_fast_to_slow.weight", "blocks.0.multipathway_blocks.{}.conv"
    if not {lateral, *(f"{first.format(pathway)}.weight" for pathway in (0, 1))} <= named.keys():
        raise WeightsError("these are not the weights of a SlowFast: its first layers are not there")
    slow = "blocks.{}.multipathway_blocks.0.res_blocks."
    third = {at: named.get(f"{slow.format(3)}{at}.branch2.conv_a.weight") for at in _blocks(named, slow.format(3))}
    temporal = [at for at, kernel in third.items() if kernel is not None and kernel.shape[2] > 1]
    return Dimensions(
        depths=tuple(len(_blocks(named, slow.format(stage))) for stage in (1, 2, 3, 4)),
        stem=len(named[f"{first.format(0)}.weight"]),
        lateral_kernel=named[lateral].shape[2],
        lateral_norms="blocks.0.multipathway_fusion.norm.weight" in named,
        temporal_blocks=None if len(temporal) == len(third) else len(temporal),
        non_local=tuple(at for at in third if f"{slow.format(3)}{at}.activation.1.conv_g.weight" in named),
    )


def _blocks(names: Iterable[str], stage: str) -> list[int]:
    return sorted({int(name.removeprefix(stage).split(".")[0]) for name in names if name.startswith(stage)})


def _fused(pathways: list[nn.Module], fusion: FastToSlowFusionBuilder, channels: int, stage: int) -> nn.Module:
    """A stage of both pathways, and the way from the fast to the slow one after it."""
    across = fusion.create_module(fusion_dim_in=channels, stage_idx=stage)
    return MultiPathWayWithFuse(multipathway_blocks=nn.ModuleList(pathways), multipathway_fusion=across)


def _stem(channels: int, frames: int) -> nn.Module:
    return create_res_basic_stem(
        in_channels=3,
        out_channels=channels,
        conv_kernel_size=_triple(frames, 7, 7),
        conv_stride=_triple(1, 2, 2),
        conv_padding=_triple(frames // 2, 3, 3),
        pool_kernel_size=_triple(1, 3, 3),
        pool_stride=_triple(1, 2, 2),
        pool_padding=_triple(0, 1, 1),
    )


def _stage(stage: int, pathway: int, channels: int, inner: int, *, depth: int, in_time: int) -> nn.Module:
    """A stage of one pathway: so many bottlenecks, of which the first so many convolve in time."""
    stride, dilation = STRIDES[stage], DILATIONS[stage]
    frames = [TEMPORAL[pathway][stage] if block < in_time else 1 for block in range(depth)]
    return create_res_stage(
        depth=depth,
        dim_in=channels,
        dim_inner=inner,
        dim_out=4 * inner,
        bottleneck=create_bottleneck_block,
        conv_a_kernel_size=[_triple(size, 1, 1) for size in frames],
        conv_a_stride=_triple(1, 1, 1),
        conv_a_padding=[_triple(size // 2, 0, 0) for size in frames],
        conv_b_kernel_size=_triple(1, 3, 3),
        conv_b_stride=_triple(1, stride, stride),
        conv_b_padding=_triple(0, dilation, dilation),
        conv_b_dilation=_triple(1, dilation, dilation),
    )


def _non_local(channels: int) -> nn.Module:
    """Every place looks at all others (PySlowFast's AVA configurations: dot products, half the channels)."""
    return create_nonlocal(
        dim_in=channels, dim_inner=channels // 2, pool_size=_triple(2, 2, 2), instantiation="dot_product"
    )


def _triple(*sizes: int) -> Any:
    """Frames, rows and columns; PyTorchVideo annotates them as tuples of one."""
    return sizes


def _from_acar(name: str) -> str:
    """An ACAR-Net entry's name in our network."""
    name = re.sub(r"^(slow|fast)_(conv|bn)1", lambda m: f"blocks.0.{_PATHWAY[m[1]]}.{_LAYER[m[2]]}", name)
    name = re.sub(r"^(slow|fast)_res(\d)\.", lambda m: f"blocks.{m[2]}.{_PATHWAY[m[1]]}.res_blocks.", name)
    name = re.sub(r"\.(conv|bn)([123])\.", lambda m: f".branch2.{_LAYER[m[1]]}_{' abc'[int(m[2])]}.", name)
    name = name.replace(".downsample.0.", ".branch1_conv.").replace(".downsample_bn.", ".branch1_norm.")
    name = re.sub(r"^Tconv(\d)", lambda m: f"blocks.{int(m[1]) - 1}.multipathway_fusion", name)
    name = re.sub(r"_fusion(?:\.0)?\.weight", "_fusion.conv_fast_to_slow.weight", name)
    return name.replace("_fusion.1.", "_fusion.norm.")


def _from_pyslowfast(name: str) -> str:
    """A PySlowFast entry's name in our network."""
    name = re.sub(r"^s(\d)", lambda m: f"blocks.{int(m[1]) - 1}", name)
    name = re.sub(r"_fuse\.(conv_f2s|bn)", lambda m: f".multipathway_fusion.{_LAYER[m[1]]}", name)
    name = re.sub(r"\.pathway(\d)_stem\.(conv|bn)", lambda m: f".multipathway_blocks.{m[1]}.{_LAYER[m[2]]}", name)
    name = re.sub(r"\.pathway(\d)_res(\d+)\.", r".multipathway_blocks.\1.res_blocks.\2.", name)
    name = re.sub(r"\.pathway(\d)_nonlocal(\d+)\.", r".multipathway_blocks.\1.res_blocks.\2.activation.1.", name)
    name = name.replace(".activation.1.bn.", ".activation.1.norm.")
    name = re.sub(r"\.branch1(_bn)?\.", lambda m: f".branch1_{_LAYER[m[1] or 'conv']}.", name)
    return re.sub(r"\.branch2\.([abc])(_bn)?\.", lambda m: f".branch2.{_LAYER[m[2] or 'conv']}_{m[1]}.", name)


def _from_caffe2(name: str) -> str:
    """The PyTorch name of an entry that PySlowFast has under Caffe2's name: `t_` is the fast pathway."""
    base, _, kind = name.rpartition("_")
    pathway = int(base.startswith("t_"))
    base = base.removeprefix("t_")
    if fusion := re.fullmatch(r"(?:pool(1)|res(\d)_\d+_branch2c_bn)_subsample(_bn)?", base):
        base = f"s{fusion[1] or fusion[2]}_fuse.{'bn' if fusion[3] else 'conv_f2s'}"
    elif stem := re.fullmatch(r"conv1|res_conv1_(bn)", base):
        base = f"s1.pathway{pathway}_stem.{stem[1] or 'conv'}"
    elif block := re.fullmatch(r"res(\d)_(\d+)_branch(1|2[abc])(_bn)?", base):
        branch = block[3] if block[3] == "1" else f"2.{block[3][1]}"
        base = f"s{block[1]}.pathway{pathway}_res{block[2]}.branch{branch}{block[4] or ''}"
    elif whole := re.fullmatch(r"nonlocal_conv(\d)_(\d+)_(\w+)", base):
        layer = "bn" if whole[3] == "bn" else f"conv_{whole[3]}"
        base = f"s{whole[1]}.pathway{pathway}_nonlocal{whole[2]}.{layer}"
    return f"{base}.{_CAFFE2.get(kind, kind)}"


_CAFFE2 = {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
"""Kinds of blobs: what Caffe2's batch norm calls an inverse variance is the variance when it is stored."""
_NO_BACKBONE = ("pred_", "lr", "model_iter")
"""Blobs of the head and of the training loop."""
_PATHWAY = {"slow": "multipathway_blocks.0", "fast": "multipathway_blocks.1"}
_LAYER = {"conv": "conv", "bn": "norm", "_bn": "norm", "conv_f2s": "conv_fast_to_slow"}
