"""Videos and frames."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tps_pipeline.recipe.section import Fraction, Positive, Section


class Shards(Section):
    """How videos are batched and split at ingestion; later changes touch new videos only."""

    videos_per_shard: Positive = 64
    """At most; the last shard of a split has the rest."""
    val_fraction: Fraction = 0.2
    """Share of each action's training videos that become the split `val`."""


class Frames(Section):
    """Which frames are extracted, and how."""

    decoder: Literal["pyav", "decord"] = "pyav"
    """The library that decodes videos."""
    sample_stride: Positive = 5
    """Frames 1, 1 + stride, ... are detected, predicted and scored (the challenge's is 5)."""
    train_stride: Positive = 5
    """Of the training frames, those at 1, 1 + stride, ... are extracted."""
    train_frames: Literal["labelled", "all"] = "labelled"
    """Which of these. Detectors and states learn from labelled ones anyway. With `all`, people are detected in the
    rest of a training video, too: they are seen move for as long as in use (what it gains: docs/recipes.md)."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Of extracted frames, 1 to 100."""
