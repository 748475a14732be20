"""Video Swin Transformer (arXiv 2106.13230) of any size, on torchvision's implementation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.errors import RecipeError
from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.weights import load_strictly

with without_compiler():
    from torchvision.models.video.swin_transformer import SwinTransformer3d

STOCHASTIC_DEPTH = 0.4
"""Should a published network be trained on (the authors' configuration for Something-Something v2)."""


class VideoSwin(SwinTransformer3d):
    """A Video Swin Transformer, with a linear classifier on the pooled features or without one.

    Args:
        patch: Frames, rows and columns of a patch in pixels (paper: 2, 4, 4).
        embed: Channels of the first stage; each stage after it has twice as many.
        depths: Blocks a stage.
        heads: Attention heads a stage; each divides the stage's channels.
        window: Frames, rows and columns of an attention window in patches; one larger than the feature map shrinks.
        stochastic_depth: Share of training samples for which the last block is left out; earlier ones linearly less.
        gradients: Patches are of oriented gradients (`GradientPatches`), not of pixels.
        classes: Outputs of the classifier; without, `forward` gives the features.

    Raises:
        RecipeError: With `gradients`, a patch's rows or columns are not whole cells.
    """

    def __init__(
        self,
        *,
        patch: Sequence[int] = (2, 4, 4),
        embed: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: Sequence[int],
        stochastic_depth: float = 0.0,
        gradients: bool = False,
        classes: int | None = None,
    ) -> None:
        super().__init__(
            patch_size=list(patch),
            embed_dim=embed,
            depths=list(depths),
            num_heads=list(heads),
            window_size=list(window),
            stochastic_depth_prob=stochastic_depth,
            num_classes=classes or 1,
        )
        if gradients:
            self.patch_embed = GradientPatches(patch, embed)
        if classes is None:
            self.head: nn.Module = nn.Identity()
        self._begin()

    def _begin(self) -> None:
        """Initial weights that keep the scale of what they are applied to, whatever its width.

        The paper's deviation of 0.02 suits 96 channels and more; narrower blocks then begin as all but the identity
        and take several times as long to learn anything.
        """
        for module in self.features.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Classify clips, or describe them.

        Args:
            x: Normalised clips `(B, 3, T, H, W)` of any length and size.

        Returns:
            Logits `(B, classes)`; without a classifier the normalised features of the last stage `(B, C, t, h, w)`.
        """
        features = self.norm(self.features(self.patch_embed(x))).permute(0, 4, 1, 2, 3)
        return features if isinstance(self.head, nn.Identity) else self.head(features.mean((2, 3, 4)))


class GradientPatches(nn.Module):
    """Embeds patches of oriented gradients (after Dalal and Triggs, CVPR 2005) in place of patches of pixels.

    Each cell of 4 x 4 pixels has a histogram of its gradients' orientations, relative to the gradients around it, so
    that shapes count and colours and lighting do not; beside it stands its deviation from the clip's mean, where only
    what moves remains. Nothing of this is learned, which is what a few hundred training videos are too few for.

    Args:
        patch: Frames, rows and columns of a patch in pixels; rows and columns are multiples of `CELL`.
        channels: Of a patch's embedding.
    """

    CELL = 4
    ORIENTATIONS = 8
    """Over half a turn: an edge is the same whichever of its sides is brighter."""
    NOISE = 0.05
    """Gradient, in deviations of a pixel's brightness, below which a cell counts as empty."""
    TOGETHER = 8
    """Pictures that are described at once: all steps of so few stay in a processor's cache, which halves the time."""

    def __init__(self, patch: Sequence[int], channels: int) -> None:
        super().__init__()
        if patch[1] % self.CELL or patch[2] % self.CELL:
            raise RecipeError(f"patch {tuple(patch)}: rows and columns must be multiples of {self.CELL} for gradients")
        cells = (patch[0], patch[1] // self.CELL, patch[2] // self.CELL)
        self.proj = nn.Conv3d(2 * self.ORIENTATIONS, channels, cells, cells)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised clips `(B, 3, T, H, W)` as `(B, t, h, w, channels)`; remainders are left out."""
        with torch.no_grad():
            pictures = x.transpose(1, 2).flatten(0, 1)
            # What is exported takes any number of them.
            few = [pictures] if torch.onnx.is_in_onnx_export() else pictures.split(self.TOGETHER)
            histograms = torch.cat([self.histograms(each) for each in few])
            histograms = histograms.unflatten(0, (x.shape[0], -1)).transpose(1, 2)
            described = torch.cat([histograms, histograms - histograms.mean(2, keepdim=True)], 1)
        return self.norm(self.proj(described).permute(0, 2, 3, 4, 1))

    def histograms(self, pictures: Tensor) -> Tensor:
        """Orientations of gradients in cells of pictures; colours count together (Di Zenzo's structure tensor, 1986).

        Args:
            pictures: `(N, 3, H, W)`.

        Returns:
            Square roots of shares, shifted to a mean near zero, `(N, ORIENTATIONS, H / CELL, W / CELL)`.
        """
        across, down = _differences(pictures, 3), _differences(pictures, 2)
        xx, yy, xy = (_products(a, b) for a, b in ((across, across), (down, down), (across, down)))
        strength = (xx + yy).sqrt() + 1e-4
        # The double angle takes opposite directions to the same orientation.
        cosine, sine = (xx - yy) / strength, 2 * xy / strength
        pooled_cosine, pooled_sine = (functional.avg_pool2d(channel, self.CELL) for channel in (cosine, sine))
        ahead, behind = [], []
        for angle in (2 * math.pi * index / self.ORIENTATIONS for index in range(self.ORIENTATIONS // 2)):
            x, y = math.cos(angle), math.sin(angle)
            ahead.append(functional.avg_pool2d((cosine * x + sine * y).relu_(), self.CELL))
            # What the opposite orientation has is the positive part less the whole.
            behind.append((ahead[-1] - pooled_cosine * x - pooled_sine * y).clamp_(min=0))
        cells = torch.cat(ahead + behind, 1)
        around = functional.avg_pool2d(cells.sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)
        return 2 * (cells / (around + self.NOISE)).sqrt() - 0.7


def _differences(pictures: Tensor, axis: int) -> Tensor:
    """Between the neighbours on either side of each pixel, along rows or columns; an edge pixel is its own."""
    found = torch.empty_like(pictures)
    x, out = pictures.movedim(axis, -1), found.movedim(axis, -1)
    torch.sub(x[..., 2:], x[..., :-2], out=out[..., 1:-1])
    torch.sub(x[..., 1], x[..., 0], out=out[..., 0])
    torch.sub(x[..., -1], x[..., -2], out=out[..., -1])
    return found


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Added up over three colours, `(N, 1, H, W)`: `sum` takes several times as long over so few."""
    red, green, blue = (a * b).split(1, 1)
    return red + green + blue


def from_reference(
    state_dict: Mapping[str, Tensor],
    *,
    patch_size: Sequence[int] = (2, 4, 4),
    embed_dim: int = 96,
    depths: Sequence[int] = (2, 2, 6, 2),
    num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: Sequence[int] = (8, 7, 7),
) -> VideoSwin:
    """The network of a published Video Swin checkpoint (the authors', or MMAction2's), in evaluation mode.

    Args:
        state_dict: Its tensors, with or without the prefix `backbone.` and the classifier `cls_head.fc_cls`.
        patch_size: Frames, rows and columns of a patch.
        embed_dim: Channels of the first stage.
        depths: Blocks a stage.
        num_heads: Attention heads a stage.
        window_size: Patches in an attention window.

    Raises:
        WeightsError: The tensors do not fit these dimensions.
    """
    named = {_own_name(name): tensor for name, tensor in state_dict.items()}
    model = VideoSwin(
        patch=patch_size,
        embed=embed_dim,
        depths=depths,
        heads=num_heads,
        window=window_size,
        stochastic_depth=STOCHASTIC_DEPTH,
        classes=len(named["head.weight"]) if "head.weight" in named else None,
    )
    # Which bias belongs to which pair of patches follows from the window and is not always stored.
    index = {name: buffer for name, buffer in model.named_buffers() if name.endswith("relative_position_index")}
    load_strictly(model, index | named)
    return model.eval()


def inflate(state_dict: Mapping[str, Tensor], *, patch_frames: int, window_frames: int) -> dict[str, Tensor]:
    """Weights for the video network from those of an image network, as the paper's section 3.3 begins training.

    A clip of one repeated picture then gives the picture's features: the patch kernel is divided among the frames of a
    patch, and the position bias is the same at every distance in time. The classifier is left out.

    Args:
        state_dict: A Swin Transformer under timm's names (`swin_*_patch4_window7_*`).
        patch_frames: Frames of the video network's patches, whose rows and columns are the image network's.
        window_frames: Patches in time in its attention windows; likewise.

    Returns:
        A state dict under our names, for `tps_pipeline.models.weights.load_into`.
    """
    inflated = {}
    for name, tensor in state_dict.items():
        if name.endswith(("relative_position_index", "attn_mask")) or name.startswith("head."):
            continue
        ours = _own_name(re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"features.{2 * int(m[1]) - 1}", name))
        if ours == "patch_embed.proj.weight":
            tensor = tensor.unsqueeze(2).repeat(1, 1, patch_frames, 1, 1) / patch_frames
        elif ours.endswith("relative_position_bias_table"):
            tensor = tensor.repeat(2 * window_frames - 1, 1)
        inflated[ours] = tensor
    return inflated


def _own_name(name: str) -> str:
    """An entry's name in torchvision's network; MMAction2 1.x calls the last norm `norm3`."""
    name = name.removeprefix("backbone.")
    name = re.sub(r"^layers\.(\d+)\.blocks", lambda m: f"features.{2 * int(m[1])}", name)
    name = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"features.{2 * int(m[1]) + 1}", name)
    name = re.sub(r"^norm\d*\.", "norm.", name)
    return name.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3").replace("cls_head.fc_cls", "head")
