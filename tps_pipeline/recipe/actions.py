"""The video's action: its members, each with what it sees and how it learns, and how what they say becomes one."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from tps_pipeline.recipe.clips import ClipAugmentation
from tps_pipeline.recipe.methods import TrajectoryAugmentation
from tps_pipeline.recipe.networks import VideoSwin
from tps_pipeline.recipe.section import ClipLength, ClipSide, Count, Fraction, Positive, Section, Share
from tps_pipeline.recipe.training import Training


class SwinAction(Section):
    """Member: the video's pictures, by a Video Swin Transformer on a uniform sample of its frames."""

    network: VideoSwin
    """The network and what it starts from."""
    frames: ClipLength
    """Of the sample."""
    image_size: ClipSide
    """Pixels of the square that the network sees."""
    training: Training
    """A sample is a video."""
    augment: ClipAugmentation = ClipAugmentation()
    """What is done to training clips."""
    cache_megabytes: Count = 0
    """Decoded training videos kept in memory, at the network's size."""


class SkeletonNet(Section):
    """A network of graph convolutions over a person's boxes and convolutions over time."""

    width: Positive = 64
    """Channels of each box's features."""
    blocks: Positive = 3
    """Graph convolutions, each followed by one over time."""
    heads: Positive = 4
    """Learned graphs of a block, each of its share of the channels."""
    dropout: Fraction = 0.2
    """Share of features left out in training."""


class TrajectoryAction(Section):
    """Member: the detected boxes of tracked people's parts over time; no pixels.

    It learns from boxes detected in the training videos, so people are detected in all of those before.
    """

    network: SkeletonNet = SkeletonNet()
    """The network's dimensions."""
    boxes: Literal["detected", "annotated"] = "detected"
    """What is learned from, and measured on while learning; `annotated` where these are like what will be detected, as
    those of generated motion are."""
    training: Training
    """A sample is a stretch of one of a video's people, drawn by how surely and how long they are seen."""
    augment: TrajectoryAugmentation = TrajectoryAugmentation(jitter=0.05)
    """What is done to training sequences."""
    sequences_per_video: Positive = 8
    """Training sequences drawn from one pass over a video."""
    stride: Positive = 5
    """Step between the frames of a sequence: that of the sampled frames."""
    frames: Positive = 16
    """The longest training sequence; longer ones are cut at random."""
    part_threshold: Fraction = 0.1
    """Detected parts whose score, as a share of their person's, is lower are not looked at."""


class StatisticsAction(Section):
    """Member: statistics of the detected boxes of tracked people's parts, by randomised trees; no network.

    It learns from boxes detected in the training videos, so people are detected in all of those before.
    """

    boxes: Literal["detected", "annotated"] = "detected"
    """See `TrajectoryAction`."""
    trees: Positive = 500
    """How many; the time and the size grow with it."""
    min_samples_leaf: Positive = 3
    """People, each seen twice (as they are and mirrored), that a leaf has at least."""
    max_features: Share = 0.15
    """Share of the statistics that each split is looked for in."""
    stride: Positive = 5
    """Step between the frames that a person is looked at in: that of the sampled frames."""
    part_threshold: Fraction = 0.1
    """Detected parts whose score, as a share of their person's, is lower are not looked at."""


class ActionMembers(Section):
    """Who names the video's action; at least one."""

    swin: SwinAction | None = None
    """Sees the pictures."""
    trajectory: TrajectoryAction | None = None
    """Sees how people move."""
    statistics: StatisticsAction | None = None
    """Counts how people move."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.names:
            raise ValueError(f"nobody names the video's action; members are {', '.join(type(self).model_fields)}")
        return self

    @property
    def names(self) -> list[str]:
        """The members that there are."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


class VideoAction(Section):
    """The video's action, named by one member or by several together.

    The settings of `members.swin` may also stand here by themselves, as they did when there was no other member.
    """

    members: ActionMembers
    """Who names it."""
    fusion: Literal["mean", "fitted"] = "mean"
    """The `mean` of the members' log probabilities, or their sum with the weights that are likeliest on `val`: `fitted`
    (of few videos there not far from the usual ones)."""

    @model_validator(mode="before")
    @classmethod
    def _swin_alone(cls, content: Any) -> Any:
        """Recipes up to version 0.3 have the settings of the one network here."""
        if isinstance(content, dict) and content and not content.keys() & cls.model_fields.keys():
            return {"members": {"swin": content}}
        return content
