"""YOLOv7 (arXiv 2207.02696), members X and tiny, at any width and depth.

One structure serves both: a backbone of ELAN stages, a spatial pyramid pooling block, a path aggregation neck that goes
down to stride 8 and up again, and one detection layer a stride. `VARIANTS` holds what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from tps_pipeline.errors import WeightsError
from tps_pipeline.models.weights import load_strictly, misfit
from tps_pipeline.models.yolov7_layers import STRIDES, ConvBlock, Elan, Head, ImplicitConv, PyramidPooling, TwoPathDown


@dataclass(frozen=True)
class Variant:
    """Channel counts of one member of the family at width 1.

    Attributes:
        activation: The non-linearity after every normalisation.
        stem: (channels, stride) of the first convolutions.
        stages: (inner, output) channels of the backbone's ELAN blocks, strides 4 to 32.
        neck: Channels that the neck carries at strides 8, 16, 32.
        neck_inner: Inner channels of the neck's ELAN blocks: down to 16, 8, then up to 16, 32.
        groups: Groups of convolutions in an ELAN block; each group's output is concatenated.
        group_size: Convolutions in a group.
        two_path: Down-sample by a strided convolution beside a max-pooling; otherwise by one of them alone.
        deep_pyramid: Pooling block with 3x3 convolutions around the pools.
        anchors: Nine widths and heights in pixels, three a stride, fitted to COCO.
    """

    activation: nn.Module
    stem: tuple[tuple[int, int], ...]
    stages: tuple[tuple[int, int], ...]
    neck: tuple[int, int, int]
    neck_inner: tuple[int, int, int, int]
    groups: int
    group_size: int
    two_path: bool
    deep_pyramid: bool
    anchors: tuple[tuple[int, int], ...]


VARIANTS = {
    "tiny": Variant(
        activation=nn.LeakyReLU(0.1, inplace=True),
        stem=((32, 2), (64, 2)),
        stages=((32, 64), (64, 128), (128, 256), (256, 512)),
        neck=(64, 128, 256),
        neck_inner=(64, 32, 64, 128),
        groups=2,
        group_size=1,
        two_path=False,
        deep_pyramid=False,
        anchors=((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)),
    ),
    "x": Variant(
        activation=nn.SiLU(inplace=True),
        stem=((40, 1), (80, 2), (80, 1), (160, 2)),
        stages=((64, 320), (128, 640), (256, 1280), (256, 1280)),
        neck=(160, 320, 640),
        neck_inner=(256, 128, 256, 512),
        groups=3,
        group_size=2,
        two_path=True,
        deep_pyramid=True,
        anchors=((12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401)),
    ),
}
"""The family's members that a recipe can name (arXiv 2207.02696)."""


class Body(nn.Module):
    """A member of the YOLOv7 family without what says where objects are.

    Blocks are registered in the order of the published layer lists: `from_reference` relies on it.

    Args:
        variant: Which member: `tiny` or `x`.
        width: Factor on all channel counts, which stay multiples of 8.
        depth: Factor on the number of groups in every ELAN block, at least one.

    Attributes:
        channels: What it gives at strides 8, 16 and 32.
        finest: What it sees at stride 4.
    """

    def __init__(self, variant: Literal["tiny", "x"], *, width: float, depth: float) -> None:
        super().__init__()
        self.variant = variant
        self.channels = self._build(VARIANTS[variant], width=width, depth=depth)
        self.finest = self.stage2.mix.conv.out_channels

    def _build(self, v: Variant, *, width: float, depth: float) -> list[int]:
        """Everything before the head; returns the channels that the head gets."""
        groups = max(1, round(v.groups * depth))

        def scale(channels: int) -> int:
            return max(8, 8 * round(channels * width / 8))

        def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> ConvBlock:
            return ConvBlock(inputs, outputs, kernel=kernel, stride=stride, activation=v.activation)

        def elan(inputs: int, inner: int, outputs: int) -> Elan:
            return Elan(inputs, scale(inner), outputs, groups=groups, group_size=v.group_size, activation=v.activation)

        def halve(inputs: int, outputs: int) -> nn.Module:
            if v.two_path:
                return TwoPathDown(inputs, outputs, activation=v.activation)
            return nn.MaxPool2d(2) if inputs == outputs else conv(inputs, outputs, 3, 2)

        stem = [3, *(scale(channels) for channels, _ in v.stem)]
        inner = [channels for channels, _ in v.stages]
        c2, c3, c4, c5 = (scale(channels) for _, channels in v.stages)
        n3, n4, n5 = (scale(channels) for channels in v.neck)
        self.stem = nn.Sequential(*(conv(stem[i], stem[i + 1], 3, stride) for i, (_, stride) in enumerate(v.stem)))
        self.stage2 = elan(stem[-1], inner[0], c2)
        self.stage3 = nn.Sequential(halve(c2, c2), elan(c2, inner[1], c3))
        self.stage4 = nn.Sequential(halve(c3, c3), elan(c3, inner[2], c4))
        self.stage5 = nn.Sequential(halve(c4, c4), elan(c4, inner[3], c5))
        self.pyramid = PyramidPooling(c5, n5, deep=v.deep_pyramid, activation=v.activation)
        self.reduce5, self.lateral4 = conv(n5, n4), conv(c4, n4)
        self.merge4 = elan(2 * n4, v.neck_inner[0], n4)
        self.reduce4, self.lateral3 = conv(n4, n3), conv(c3, n3)
        self.merge3 = elan(2 * n3, v.neck_inner[1], n3)
        self.down3 = halve(n3, 2 * n3)
        self.refine4 = elan(2 * n3 + n4, v.neck_inner[2], n4)
        self.down4 = halve(n4, 2 * n4)
        self.refine5 = elan(2 * n4 + n5, v.neck_inner[3], n5)
        self.outputs = nn.ModuleList(conv(n, 2 * n, 3) for n in (n3, n4, n5))
        return [2 * n for n in (n3, n4, n5)]

    def features(self, images: Tensor) -> list[Tensor]:
        """What it sees in pictures (B, 3, H, W): maps (B, channels, h, w) at strides 8, 16, 32."""
        return self.levels(images)[1:]

    def levels(self, images: Tensor) -> list[Tensor]:
        """The same, and before them what it sees at stride 4, (B, finest, h, w), which knows nothing of the others."""
        p2 = self.stage2(self.stem(images))
        p3 = self.stage3(p2)
        p4 = self.stage4(p3)
        p5 = self.pyramid(self.stage5(p4))
        n4 = self.merge4(torch.cat((self.lateral4(p4), _double(self.reduce5(p5))), 1))
        n3 = self.merge3(torch.cat((self.lateral3(p3), _double(self.reduce4(n4))), 1))
        n4 = self.refine4(torch.cat((self.down3(n3), n4), 1))
        n5 = self.refine5(torch.cat((self.down4(n4), p5), 1))
        return [p2, *(output(n) for output, n in zip(self.outputs, (n3, n4, n5), strict=True))]

    @torch.no_grad()
    def fuse(self) -> Self:
        """Fold normalisations and implicit knowledge into the convolutions, in place, for evaluation only."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvBlock | ImplicitConv):
                module.fuse()
        return self


class YOLOv7(Body):
    """A member of the YOLOv7 family.

    Args:
        variant: Which member: `tiny` or `x`.
        classes: Number of classes.
        width: See `Body`.
        depth: See `Body`.
        anchors: Widths and heights in pixels, in ascending size, shape (9, 2) or (3, 3, 2); COCO's by default.
    """

    def __init__(
        self,
        variant: Literal["tiny", "x"] = "tiny",
        *,
        classes: int = 80,
        width: float = 1.0,
        depth: float = 1.0,
        anchors: ArrayLike | None = None,
    ) -> None:
        super().__init__(variant, width=width, depth=depth)
        if anchors is None:
            anchors = VARIANTS[variant].anchors
        boxes = torch.from_numpy(np.array(anchors, dtype=np.float32).reshape(3, -1, 2))
        self.head = Head(self.channels, classes=classes, anchors=boxes)

    def forward(self, images: Tensor) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Detect.

        Args:
            images: (B, 3, H, W) in 0..1, RGB; H and W multiples of 32.

        Returns:
            In training the raw maps, (B, 3, h, w, 5 + classes) at strides 8, 16, 32, before the sigmoid. In evaluation
            `(decoded, raw maps)`, see `Head.decode`.
        """
        raw = self.head(self.features(images))
        return raw if self.training else (self.head.decode(raw), raw)


def _double(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


_NO_WEIGHTS = {
    "tiny": {6, 8, 13, 15, 20, 22, 27, 31, 32, 33, 34, 36, 39, 41, 46, 49, 51, 56, 59, 64, 67, 72},
    "x": {12, 14, 18, 27, 29, 33, 42, 44, 48, 57, 61, 63, 72, 75, 77, 86, 88, 92, 101, 103, 107, 116},
}
"""Numbers of the published models' layers that only pool, resize or concatenate."""
_HEAD = {"tiny": "model.77", "x": "model.121"}
_PYRAMID = tuple(f"model.59.cv{i}" for i in (2, 1, 3, 4, 5, 6, 7))
"""The X model's pooling block is one layer; its convolutions in our order."""


def reference_names(model: YOLOv7) -> dict[str, str]:
    """Published name -> ours, for every entry of a full-depth model but its anchors."""
    head = _HEAD[model.variant]
    last = int(head.removeprefix("model."))
    layers = [f"model.{i}" for i in range(last) if i not in _NO_WEIGHTS[model.variant]]
    if model.variant == "x":
        layers[layers.index("model.59") : layers.index("model.59") + 1] = _PYRAMID
    blocks = [name for name, module in model.named_modules() if isinstance(module, ConvBlock)]
    names = {}
    for layer, block in zip(layers, blocks, strict=True):
        names[f"{layer}.conv.weight"] = f"{block}.conv.weight"
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"{layer}.bn.{leaf}"] = f"{block}.norm.{leaf}"
    for i in range(len(STRIDES)):
        for theirs, ours in (
            (f"m.{i}.weight", "weight"),
            (f"m.{i}.bias", "bias"),
            (f"ia.{i}.implicit", "add"),
            (f"im.{i}.implicit", "multiply"),
        ):
            names[f"{head}.{theirs}"] = f"head.levels.{i}.{ours}"
    return names


def from_reference(
    state_dict: Mapping[str, Tensor], *, variant: Literal["tiny", "x"], classes: int | None = None
) -> YOLOv7:
    """Our network with a published checkpoint's weights, in evaluation mode.

    Both published forms are accepted: the training model and the deployed one, whose implicit knowledge is folded in.

    Args:
        state_dict: Tensors under the published names, such as `model.0.conv.weight`.
        variant: Which member of the family.
        classes: Number of classes; that of the checkpoint by default.

    Raises:
        WeightsError: The tensors are not those of this member.
    """
    head = _HEAD[variant]
    bias = state_dict.get(f"{head}.m.0.bias")
    if classes is None:
        classes = 80 if bias is None else bias.numel() // 3 - 5
    model = YOLOv7(variant, classes=classes)
    names = reference_names(model)
    tensors = {k: v for k, v in state_dict.items() if k not in (f"{head}.anchors", f"{head}.anchor_grid")}
    deployed = not any(".implicit" in key for key in tensors)
    optional = {k for k in names if k.endswith("num_batches_tracked") or (deployed and k.endswith(".implicit"))}
    missing, unexpected = names.keys() - tensors.keys() - optional, tensors.keys() - names.keys()
    if missing or unexpected:
        raise WeightsError(misfit(f"a YOLOv7 checkpoint ({variant})", missing=missing, unexpected=unexpected))
    ours = model.state_dict()
    if deployed:
        for i in range(len(STRIDES)):
            ours[f"head.levels.{i}.add"] = torch.zeros_like(ours[f"head.levels.{i}.add"])
            ours[f"head.levels.{i}.multiply"] = torch.ones_like(ours[f"head.levels.{i}.multiply"])
    ours |= {names[key]: tensor.float() for key, tensor in tensors.items()}
    if (anchors := state_dict.get(f"{head}.anchors")) is not None:
        ours["head.anchors"] = anchors.float() * torch.tensor(STRIDES).view(3, 1, 1)
    load_strictly(model, ours)
    return model.eval()


def _shape_iou(sizes: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    shared = np.minimum(sizes[:, None], centres).prod(2)
    return shared / (sizes.prod(1)[:, None] + centres.prod(1) - shared)


def kmeans_anchors(sizes: NDArray[np.floating], n: int = 9, *, seed: int = 0) -> NDArray[np.float32]:
    """Fit anchors to boxes: k-means with 1 - IoU for distance (arXiv 1612.08242, section 2).

    Args:
        sizes: Widths and heights of the training boxes in pixels of the network's input, (M, 2).
        n: Number of anchors.
        seed: Of the choice of the first centres.

    Returns:
        Widths and heights by ascending area, (n, 2).

    Raises:
        ValueError: No size is positive.
    """
    sizes = sizes[(sizes > 0).all(1)].astype(np.float64)
    if len(sizes) == 0:
        raise ValueError("anchors need at least one box with an area")
    random = np.random.default_rng(seed)
    centres = random.choice(sizes, 1)
    while len(centres) < n:  # k-means++: the next is likely one that is far from the others
        distance = (1 - _shape_iou(sizes, centres)).min(1) ** 2 + 1e-9
        centres = np.concatenate((centres, random.choice(sizes, 1, p=distance / distance.sum())))
    members = np.full(len(sizes), -1)
    for _ in range(300):
        nearest = _shape_iou(sizes, centres).argmax(1)
        if (nearest == members).all():
            break
        members = nearest
        for i in np.unique(members):
            centres[i] = np.median(sizes[members == i], axis=0)
    return centres[centres.prod(1).argsort()].astype(np.float32)
