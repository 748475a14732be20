"""What all that looks at clips has in common."""

from __future__ import annotations

from typing import Literal

from tps_pipeline.recipe.section import Amount, ClipLength, ClipSide, Count, Fraction, Name, Positive, Section
from tps_pipeline.recipe.training import Training


class ClipAugmentation(Section):
    """What is done to a training clip; every frame of a clip gets the same."""

    rotation: Amount = 0.0
    """Degrees, either way."""
    scale: Amount = 0.0
    """Gain: 0.2 draws from 0.8 to 1.2."""
    translate: Amount = 0.0
    """Share of the picture, either way."""
    color: Amount = 0.0
    """Brightness, contrast and saturation, either way."""
    flip: Fraction = 0.5
    """Share of clips mirrored; labels with a side are swapped."""


class ClipMethod(Section):
    """What the methods have in common that learn the states of all parts of a clip at once."""

    start_from: Name | None = None
    """A network of this recipe whose body it begins with, in place of imported weights: `video_action`, or another
    method's with the same `network` (null: none). It then learns in fewer steps."""
    frames: ClipLength
    """Of a clip."""
    image_size: ClipSide
    """Pixels of the square that the network sees."""
    loss: Literal["bce", "softmax"] = "bce"
    """`bce`: each state of each part is there or not; `softmax`: one state a part, parts without a label left out."""
    long_tail: Literal["class_balanced", "focal", "logit_adjusted"] | None = None
    """What the loss does for rare states: weighs them by the inverse of their effective number, makes little of what is
    already likely, or leaves it to the loss to know which states are frequent (null: nothing)."""
    training: Training
    """A sample is a clip."""
    augment: ClipAugmentation = ClipAugmentation()
    """What is done to training clips."""
    clips_per_video: Positive = 1
    """Training clips drawn from one pass over a video."""
    shuffle_buffer: Positive = 32
    """Clips that wait for batches to be drawn from them, so that those of one video are spread over many batches."""
    cache_megabytes: Count = 0
    """Decoded training videos kept in memory, at the network's size."""
