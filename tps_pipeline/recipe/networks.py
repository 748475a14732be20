"""Networks that see clips."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tps_pipeline.recipe.section import Count, Fraction, Positive, Section, Size


class VideoSwin(Section):
    """Video Swin Transformer (arXiv 2106.13230) dimensions."""

    patch: tuple[Positive, Positive, Positive] = (2, 4, 4)
    """Frames, rows and columns of a token."""
    embed: Positive = 128
    """Channels of the first stage; each later one doubles them (default: Swin-B's)."""
    depths: tuple[Positive, ...] = (2, 2, 18, 2)
    """Blocks a stage (default: Swin-B's)."""
    heads: tuple[Positive, ...] = (4, 8, 16, 32)
    """Attention heads a stage (default: Swin-B's)."""
    window: tuple[Positive, Positive, Positive] = (16, 7, 7)
    """Frames, rows and columns of tokens that attend to one another."""
    stochastic_depth: Fraction = 0.4
    """Share of training samples that leave the last block out; earlier blocks linearly less."""
    input: Literal["pixels", "gradients"] = "pixels"
    """`gradients`: patches of oriented gradients, for trainings too small to learn edges (patch: multiples of 4)."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class Csn(Section):
    """Interaction-reduced channel-separated network (ir-CSN, arXiv 1904.02811) dimensions."""

    depths: tuple[Positive, Positive, Positive, Positive] = (3, 8, 36, 3)
    """Bottlenecks a stage: those of depth 152."""
    stem: Positive = 64
    """Channels of the first convolution; everything else follows."""
    dropout: Fraction = 0.5
    """Share of features left out before the last layer in training."""
    frozen_norms: bool = False
    """Batch norms keep the statistics of `weights`: for batches too small to have their own."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class SlowFast(Section):
    """SlowFast network (arXiv 1812.03982) dimensions, with the last stage dilated as for AVA."""

    depths: tuple[Positive, Positive, Positive, Positive] = (3, 4, 23, 3)
    """Bottlenecks a stage: those of depth 101."""
    stem: Positive = 64
    """Channels of the slow pathway's first convolution; everything else follows."""
    alpha: Positive = 4
    """Frames of the fast pathway for one of the slow pathway."""
    beta: Annotated[float, Field(gt=0, le=1)] = 0.125
    """Channels of the fast pathway, as a share of the slow one's: one over a whole number."""
    lateral_kernel: Positive = 5
    """Frames seen by the convolutions from the fast to the slow pathway."""
    lateral_norms: bool = False
    """They are followed by a batch norm and a ReLU."""
    temporal_blocks: Positive | None = None
    """So many first blocks of the third stage convolve in time (null: all)."""
    non_local: tuple[Count, ...] = ()
    """Blocks of the slow pathway's third stage, from 0, that are followed by a non-local block."""
    full_span: bool = False
    """The slow pathway's frames reach from the first to the last; else they are every `alpha`-th from the first."""
    from_last: bool = False
    """The slow pathway's frames are every `alpha`-th back from the last, for clips that are labelled by their last."""
    mean: tuple[float, float, float] = (110.6, 103.2, 96.3)
    """Of red, green and blue, 0 to 255, as `weights` expect (ACAR-Net's 101-layer network)."""
    std: tuple[Size, Size, Size] = (38.8, 37.9, 40.0)
    """Standard deviation of red, green and blue, as `mean`."""
    frozen_norms: bool = False
    """Batch norms keep the statistics of `weights`: for batches too small to have their own."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""
