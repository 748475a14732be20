"""Published checkpoints as our networks: one entry a kind in `KINDS`. Importing this module does not import torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tps_pipeline.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Tensors = Mapping[str, Tensor]
    """A state dict: tensors by name."""

PATCH_FRAMES, WINDOW_FRAMES = 2, 16
"""Of the paper's Video Swin, for which image weights are inflated: frames of a patch, patches of a window."""

OURS = "detector"
"""The kind of weights that a detector of ours is: one that was trained here, in another store."""

MOST_CLASSES = 1000
"""Of a detector of ours; one of people and parts has eleven."""

MOST_PATCHES = 4096
"""Patches of an attention window. Published ones have 784; what is built for a window grows with its square."""


@dataclass(frozen=True)
class Converted:
    """A published checkpoint as our network.

    Attributes:
        network: With the checkpoint's weights.
        settings: What a recipe's network section must say to take them.
        classes: Of its classifier, None without one.
        missing: Entries of the network that the file lacks; they have the values that change nothing.
        unexpected: Entries of the file that have no place in the network.
        described: What else is worth keeping with the weights.
    """

    network: nn.Module
    settings: Mapping[str, Any]
    classes: int | None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    described: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """How to read a kind of published checkpoint.

    Attributes:
        normalisation: What its network takes for pixels.
        convert: Makes our network of its tensors; raises `WeightsError` if they are of another kind.
        read: Reads the tensors of a file, whose SHA-256 may be expected; without, as `read_weights` does.
    """

    normalisation: str
    convert: Callable[[Tensors], Converted]
    read: Callable[[Path, str | None], Tensors] | None = None


def _yolov7(state: Tensors, *, variant: Literal["x", "tiny"]) -> Converted:
    from tps_pipeline.models import yolov7

    network = yolov7.from_reference(state, variant=variant)
    names = yolov7.reference_names(network)
    return Converted(
        network,
        {"variant": variant, "width": 1.0, "depth": 1.0},
        network.head.classes,
        missing=tuple(name for name in names if name not in state and not name.endswith("num_batches_tracked")),
        unexpected=tuple(name for name in state if name not in names and not name.endswith(".anchors")),
    )


def _video_swin(state: Tensors) -> Converted:
    from tps_pipeline.models import video_swin

    size = _swin_dimensions(state)
    network = video_swin.from_reference(
        state,
        patch_size=size.patch,
        embed_dim=size.embed,
        depths=size.depths,
        num_heads=size.heads,
        window_size=size.window,
    )
    head = dict(network.named_parameters()).get("head.weight")
    return Converted(network, size._asdict(), None if head is None else len(head))


def _swin_imagenet(state: Tensors) -> Converted:
    """Inflated for the frames that a patch and a window have in the paper's network."""
    from tps_pipeline.models.video_swin import VideoSwin, inflate
    from tps_pipeline.models.weights import load_strictly

    size = _swin_dimensions(state)
    network = VideoSwin(patch=size.patch, embed=size.embed, depths=size.depths, heads=size.heads, window=size.window)
    index = {name: buffer for name, buffer in network.named_buffers() if name.endswith("relative_position_index")}
    load_strictly(network, index | inflate(state, patch_frames=size.patch[0], window_frames=size.window[0]))
    return Converted(
        network, size._asdict(), None, unexpected=tuple(name for name in state if name.startswith("head."))
    )


def _ir_csn(state: Tensors) -> Converted:
    from tps_pipeline.models import csn

    blocks = {name.removeprefix("backbone.").split(".")[1] for name in state if "layer3." in name}
    depth = next((depth for depth, stages in csn.DEPTHS.items() if stages[2] == len(blocks)), None)
    if depth is None:
        raise WeightsError(f"these are not the weights of an ir-CSN: {len(blocks)} blocks in the third stage")
    network = csn.from_reference(state, depth=depth)
    head = dict(network.named_parameters()).get("blocks.5.proj.weight")
    return Converted(network, {"depths": list(csn.DEPTHS[depth]), "stem": 64}, None if head is None else len(head))


def _slowfast(state: Tensors, *, by: Literal["acar", "pyslowfast"]) -> Converted:
    from tps_pipeline.models import slowfast

    if by == "acar":
        network, mean, std = slowfast.from_acar(state), slowfast.ACAR_MEAN, slowfast.ACAR_STD
    else:
        network, mean, std = slowfast.from_pyslowfast(state), slowfast.PYSLOWFAST_MEAN, slowfast.PYSLOWFAST_STD
    size = slowfast.dimensions(network.state_dict())
    settings = {
        "depths": size.depths,
        "stem": size.stem,
        "alpha": network.alpha,
        "beta": network.beta,
        "lateral_kernel": size.lateral_kernel,
        "lateral_norms": size.lateral_norms,
        "temporal_blocks": size.temporal_blocks,
        "non_local": size.non_local,
        "full_span": network.full_span,
        "mean": mean,
        "std": std,
    }
    head = tuple(name for name in state if name.startswith("head."))
    return Converted(network, settings, None, unexpected=head)


def _detector(state: Tensors) -> Converted:
    from tps_pipeline.models.heat_maps import HeatMaps
    from tps_pipeline.models.weights import Described, load_strictly
    from tps_pipeline.models.yolov7 import YOLOv7

    about = state.described if isinstance(state, Described) else {}
    try:
        labels, size = json.loads(about["labels"]), json.loads(about["settings"])["network"]
        variant, width, depth = size["variant"], float(size.get("width", 1)), float(size.get("depth", 1))
        kind = {key: size[key] for key in size.keys() & {"kind"}}  # as in a recipe: without one it is a YOLOv7
        if kind not in ({}, {"kind": "heat_maps"}):
            raise ValueError(f"{kind}")
        if not (variant in ("tiny", "x") and 0 < width <= 4 and 0 < depth <= 4 and 0 < len(labels) <= MOST_CLASSES):
            raise ValueError(f"{variant}, width {width:g}, depth {depth:g}, {len(labels)} classes")
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"no detector of ours: it does not say what it detects ({error})") from error
    network = (HeatMaps if kind else YOLOv7)(variant, classes=len(labels), width=width, depth=depth)
    load_strictly(network, state)
    described = {"labels": about["labels"], "detector": about["settings"]}
    settings = {**kind, "variant": variant, "width": width, "depth": depth}
    return Converted(network, settings, len(labels), described=described)


def _read_detector(file: Path, sha256: str | None) -> Tensors:
    from tps_pipeline.models.weights import read_described

    return read_described(file, sha256=sha256)


def _read_blazepose(file: Path, sha256: str | None) -> Tensors:
    from tps_pipeline.models.blazepose import read_published

    return read_published(file, sha256=sha256)


def _blazepose(state: Tensors) -> Converted:
    from tps_pipeline.models.blazepose import PublishedFiles

    return Converted(PublishedFiles(state), {}, None)


class _SwinDimensions(NamedTuple):
    """Arguments of `VideoSwin`, under the names that a recipe's section has for them."""

    patch: tuple[int, ...]
    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: tuple[int, int, int]


def _swin_dimensions(state: Tensors) -> _SwinDimensions:
    """The dimensions of a Swin Transformer, for pictures or video, from the shapes of its published tensors."""
    named = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    bias, patch = "layers.{}.blocks.0.attn.relative_position_bias_table", named.get("patch_embed.proj.weight")
    if patch is None or bias.format(0) not in named:
        raise WeightsError("these are not the weights of a Swin Transformer: no patch embedding or no position biases")
    stages = [i for i in range(len(named)) if bias.format(i) in named]
    if patch.ndim not in (4, 5) or any(named[bias.format(i)].ndim != 2 for i in stages):
        raise WeightsError("these are not the weights of a Swin Transformer: patches or position biases of other axes")
    blocks = [{name.split(".")[3] for name in named if name.startswith(f"layers.{i}.blocks.")} for i in stages]
    rows, size = len(named[bias.format(0)]), tuple(patch.shape[2:])
    if patch.ndim == 5:
        window = _video_window(rows, named.get("layers.0.blocks.0.attn.relative_position_index"))
    else:
        side = (math.isqrt(rows) + 1) // 2  # (2 side - 1)² distances in a square window
        window, size = (WINDOW_FRAMES, side, side), (PATCH_FRAMES, *size)
    heads = tuple(named[bias.format(i)].shape[1] for i in stages)
    if not (patch.numel() and all(heads)):
        raise WeightsError("these are not the weights of a Swin Transformer: no channels or no heads")
    _check_stages(named, len(patch), stages, blocks, window)
    return _SwinDimensions(size, len(patch), tuple(map(len, blocks)), heads, window)


def _check_stages(
    named: Tensors, embed: int, stages: list[int], blocks: list[set[str]], window: tuple[int, int, int]
) -> None:
    """Refuse layers that make no network, or one far larger than the file, before anything is built of them."""
    wrong = None
    if stages != [*range(len(stages))] or sum(map(len, blocks)) < 2:
        wrong = "stages are missing, or there is a single block"
    elif not 0 < math.prod(window) <= MOST_PATCHES:
        wrong = f"a window of {' x '.join(map(str, window))} patches; at most {MOST_PATCHES} are read"
    for i in stages:
        inner = named.get(f"layers.{i}.blocks.0.attn.qkv.weight")
        if wrong is None and (inner is None or tuple(inner.shape) != (3 * embed << i, embed << i)):
            wrong = f"the attention of stage {i} does not see {embed << i} channels"
    if wrong:
        raise WeightsError(f"these are not the weights of a Swin Transformer: {wrong}")


def _video_window(rows: int, index: Tensor | None) -> tuple[int, int, int]:
    """Frames, rows and columns of a square window of patches, from its number of distances and of patches.

    Published networks without the index, which tells the number of patches, have windows of 7 by 7.
    """
    for side in (7,) if index is None else range(1, math.isqrt(len(index)) + 1):
        frames = (rows // (2 * side - 1) ** 2 + 1) // 2
        if (2 * frames - 1) * (2 * side - 1) ** 2 == rows and (index is None or frames * side**2 == len(index)):
            return frames, side, side
    raise WeightsError(f"these are not the weights of a Video Swin Transformer: {rows} position biases fit no window")


_UNIT = "RGB, 0..1"
_BLAZEPOSE = "RGB, detector -1..1, landmarks 0..1"
_IMAGENET = "RGB, 0..255, minus (123.675, 116.28, 103.53), over (58.395, 57.12, 57.375)"  # video_action's
_ACAR = "RGB, 0..255, minus (110.6, 103.2, 96.3), over (38.8, 37.9, 40.0)"  # slowfast's
_PYSLOWFAST = "RGB, 0..1, minus 0.45, over 0.225"  # slowfast's, likewise
_KINETICS = "RGB, 0..255, minus (110.2008, 100.63983, 95.99475), over (58.14765, 56.46975, 55.332195)"  # csn's

KINDS = {
    "yolov7x": Conversion(_UNIT, partial(_yolov7, variant="x")),
    "yolov7_tiny": Conversion(_UNIT, partial(_yolov7, variant="tiny")),
    "video_swin": Conversion(_IMAGENET, _video_swin),
    "swin_imagenet": Conversion(_IMAGENET, _swin_imagenet),
    "ir_csn": Conversion(_KINETICS, _ir_csn),
    "slowfast_acar": Conversion(_ACAR, partial(_slowfast, by="acar")),
    "slowfast_pyslowfast": Conversion(_PYSLOWFAST, partial(_slowfast, by="pyslowfast")),
    OURS: Conversion(_UNIT, _detector, _read_detector),
    "blazepose": Conversion(_BLAZEPOSE, _blazepose, _read_blazepose),
}
"""How to read the published checkpoints, by kind of network."""
