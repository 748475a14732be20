"""The building blocks of YOLOv7 (arXiv 2207.02696)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDES = (8, 16, 32)
"""Image pixels a cell of each of the three levels that boxes are predicted on (arXiv 2207.02696)."""


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, activation: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        return self.activation(self.norm(self.conv(x)))

    def fuse(self) -> None:
        """Fold the normalisation, as it is in evaluation, into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Elan(nn.Module):
    """Efficient layer aggregation (arXiv 2207.02696, figure 2c): a chain whose links are concatenated and mixed."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, *, groups: int, group_size: int, activation: nn.Module
    ) -> None:
        super().__init__()
        self.shortcut = ConvBlock(inputs, inner, activation=activation)
        self.entry = ConvBlock(inputs, inner, activation=activation)
        self.chain = nn.ModuleList(
            nn.Sequential(*(ConvBlock(inner, inner, kernel=3, activation=activation) for _ in range(group_size)))
            for _ in range(groups)
        )
        self.mix = ConvBlock(inner * (groups + 2), outputs, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        links = [self.shortcut(x), self.entry(x)]
        for group in self.chain:
            links.append(group(links[-1]))
        return self.mix(torch.cat(links[::-1], 1))


class TwoPathDown(nn.Module):
    """Halves height and width: half of the channels by a strided convolution, half by max-pooling."""

    def __init__(self, inputs: int, outputs: int, *, activation: nn.Module) -> None:
        super().__init__()
        half = outputs // 2
        self.pool = nn.MaxPool2d(2)
        self.pooled = ConvBlock(inputs, half, activation=activation)
        self.reduce = ConvBlock(inputs, half, activation=activation)
        self.strided = ConvBlock(half, half, kernel=3, stride=2, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / 2, w / 2)."""
        return torch.cat((self.strided(self.reduce(x)), self.pooled(self.pool(x))), 1)


class PyramidPooling(nn.Module):
    """Spatial pyramid pooling on one of two cross-stage partial branches; pools 5, 9, 13 side by side."""

    def __init__(self, inputs: int, outputs: int, *, deep: bool, activation: nn.Module) -> None:
        super().__init__()

        def conv(inputs: int, kernel: int = 1) -> ConvBlock:
            return ConvBlock(inputs, outputs, kernel=kernel, activation=activation)

        self.deep = deep
        self.shortcut = conv(inputs)
        self.before = nn.Sequential(conv(inputs), *((conv(outputs, 3), conv(outputs)) if deep else ()))
        self.pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.after = nn.Sequential(conv(4 * outputs), *((conv(outputs, 3),) if deep else ()))
        self.mix = conv(2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        y = self.before(x)
        pyramid = [y, *(pool(y) for pool in self.pools)]
        # The published weights expect the pools in opposite orders.
        y = self.after(torch.cat(pyramid if self.deep else pyramid[::-1], 1))
        return self.mix(torch.cat((y, self.shortcut(x)), 1))


class ImplicitConv(nn.Module):
    """1x1 convolution with implicit knowledge: a learned vector added before it and one multiplied after it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 1)
        self.weight, self.bias = conv.weight, cast(nn.Parameter, conv.bias)
        self.add = nn.Parameter(torch.empty(1, inputs, 1, 1).normal_(0.0, 0.02))
        self.multiply = nn.Parameter(torch.empty(1, outputs, 1, 1).normal_(1.0, 0.02))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        return self.multiply * nn.functional.conv2d(x + self.add, self.weight, self.bias)

    def fuse(self) -> None:
        """Fold both vectors into the convolution, leaving them neutral."""
        self.bias.copy_(self(self.add.new_zeros(self.add.shape)).flatten())
        self.weight.mul_(self.multiply.view(-1, 1, 1, 1))
        self.add.zero_()
        self.multiply.fill_(1.0)


class Head(nn.Module):
    """One detection layer a stride, and how its numbers become boxes.

    Attributes:
        anchors: (3, A, 2) widths and heights in pixels; saved with the weights.
    """

    anchors: Tensor

    def __init__(self, channels: Sequence[int], *, classes: int, anchors: Tensor) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("anchors", anchors)
        levels = [ImplicitConv(c, anchors.shape[1] * (5 + classes)) for c in channels]
        for level, stride in zip(levels, STRIDES, strict=True):
            # Objects are rare at the start: 8 in 640 x 640 pixels (the prior of arXiv 1708.02002, section 3.3).
            bias = level.bias.detach().view(-1, 5 + classes)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (classes - 0.99))
        self.levels = nn.ModuleList(levels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps (B, A, h, w, 5 + classes), one a stride."""
        maps = []
        for level, x in zip(self.levels, features, strict=True):
            y = level(x)
            maps.append(y.unflatten(1, (self.anchors.shape[1], -1)).permute(0, 1, 3, 4, 2).contiguous())
        return maps

    def decode(self, raw: Sequence[Tensor]) -> Tensor:
        """(B, N, 5 + classes): centre x, y, width, height in pixels, objectness, class probabilities."""
        tables = []
        for level, stride, anchors in zip(raw, STRIDES, self.anchors, strict=True):
            y = level.float().sigmoid()  # bfloat16 cannot tell pixels apart
            xy = (2 * y[..., :2] - 0.5 + cells(level)) * stride
            wh = (2 * y[..., 2:4]) ** 2 * anchors[:, None, None]
            tables.append(torch.cat((xy, wh, y[..., 4:]), -1).flatten(1, 3))
        return torch.cat(tables, 1)


def cells(raw: Tensor) -> Tensor:
    """Column and row of every cell of a raw map (B, A, h, w, ...), as (h, w, 2)."""
    rows, columns = (torch.arange(n, device=raw.device) for n in raw.shape[2:4])
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
