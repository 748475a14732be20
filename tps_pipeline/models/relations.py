"""What a person is described by: the person alone, with the other people of a clip, or with them and the scene.

Every head takes the features of some clips, the boxes of all people in them and each one's clip, and returns a row a
person. People of a clip are a set: their order and number do not matter, there may be one or none, and nobody sees the
people of another clip.

A person's features are the largest of 7 by 7 places within the box (RoIAlign, sampled densely). Boxes are shares of the
picture; they are multiplied by the features' rows and columns without the half-pixel shift of `aligned=True`, as
ACAR-Net and AIA do it (PySlowFast shifts).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.keypoints import Keypoints

with without_compiler():
    from torchvision.ops import roi_align

PLACES = 7
"""Rows and columns that a box is sampled at (ACAR paper, section 4)."""


class People(NamedTuple):
    """Who is looked at in some clips.

    Attributes:
        boxes: Left, upper, right and lower edge as shares of the picture, `(N, 4)`.
        clips: Each one's clip, from 0, `(N,)`.
        tracks: A number that someone has in all clips in which they are, and nobody else has, `(N,)`; None if who is
            who is not known.
        frames: Each one's frame in the video, `(N,)`; None if all are of the same time.
        landmarks: Each one's, as `Keypoints` takes them, `(N, 33, 3)`; None for heads without keypoints.
    """

    boxes: Tensor
    clips: Tensor
    tracks: Tensor | None = None
    frames: Tensor | None = None
    landmarks: Tensor | None = None

    def of(self, features: Tensor) -> Tensor:
        """Their features `(N, C)` in those of the clips, `(B, C, H, W)`."""
        height, width = features.shape[2:]
        boxes = self.boxes.to(features.dtype)
        # Number by number: a GPU would be waited for to hand it a tensor of Python's.
        scaled = torch.stack([edge * side for edge, side in zip(boxes.unbind(1), 2 * (width, height), strict=True)], 1)
        rois = torch.cat([self.clips[:, None].to(features.dtype), scaled], 1)
        return roi_align(features, rois, PLACES).amax((2, 3))

    def with_landmarks(self, features: Tensor, keypoints: Keypoints | None) -> Tensor:
        """The same, and what their landmarks add to it."""
        if keypoints is None:
            return self.of(features)
        assert self.landmarks is not None
        return self.of(features) + keypoints(self.boxes, self.landmarks)

    def together(self) -> Tensor:
        """Who is in a clip with whom, themselves included: `(N, N)`."""
        return self.clips[:, None] == self.clips[None]

    def known(self) -> Tensor:
        """Who is in a clip with whom, or is the same person in another clip: `(N, N)`."""
        if self.tracks is None:
            return self.together()
        return self.together() | (self.tracks[:, None] == self.tracks[None])

    def later(self) -> Tensor:
        """By how many frames each other person is later than a person: `(N, N)`."""
        frames = torch.zeros_like(self.clips) if self.frames is None else self.frames
        return frames[None] - frames[:, None]


class Person(nn.Module):
    """The person alone: what a relation has to be better than.

    Args:
        channels: Of the clips' features.
        person: Of a person's features.
        hidden: Of the description.
        keypoints: Landmarks are part of what is known of a person.

    Attributes:
        channels: Of the description.
    """

    def __init__(self, channels: int, *, person: int, hidden: int, keypoints: bool = False) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, person, 1, bias=False)
        self.describe = nn.Linear(person, hidden, bias=False)
        self.keypoints = Keypoints(person) if keypoints else None
        self.channels = hidden

    def forward(self, features: Tensor, people: People) -> Tensor:
        """Describe people: `(N, channels)` from the clips' features `(B, C, H, W)`."""
        return self.describe(people.with_landmarks(self.reduce(features), self.keypoints)).relu()


class PersonContextPerson(nn.Module):
    """Relations between people by way of the places that they share: ACAR (arXiv 2006.07976, section 3.2).

    A person's features are tiled over the scene's and convolved with them, which gives a map of what each place is to
    the person; blocks relate these maps (`HighOrder`). The description is the map's mean beside the person alone.

    Args:
        channels: Of the clips' features.
        person: Of a person's and of the scene's features (paper: 1024).
        hidden: Of the maps (512).
        blocks: How many relate them (ACAR-Net: one for the 101-layer network, two for the 50-layer one).
        dropout: In the blocks (0.2).
        keypoints: Landmarks are part of what is known of a person.

    Attributes:
        channels: Of the description.
    """

    def __init__(
        self, channels: int, *, person: int, hidden: int, blocks: int, dropout: float, keypoints: bool = False
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, person, 1, bias=False)
        # One 1x1 convolution of scene and tiled person, cut in two: the scene's part is the same for all its people.
        self.scene = nn.Conv2d(person, hidden, 1, bias=False)
        self.actor = nn.Linear(person, hidden, bias=False)
        self.around = nn.Conv2d(hidden, hidden, 3, bias=False)
        self.blocks = nn.ModuleList(HighOrder(hidden, dropout) for _ in range(blocks))
        self.describe = nn.Linear(person, hidden, bias=False)
        self.keypoints = Keypoints(person) if keypoints else None
        self.channels = 2 * hidden

    def forward(self, features: Tensor, people: People) -> Tensor:
        """Describe people: `(N, channels)` from the clips' features `(B, C, H, W)`, 3 by 3 places at least."""
        features = self.reduce(features)
        actors = people.with_landmarks(features, self.keypoints)
        maps = (self.scene(features)[people.clips] + self.actor(actors)[..., None, None]).relu()
        maps = functional.max_pool2d(self.around(maps).relu(), 3, stride=2, padding=1)
        together = people.together()
        for block in self.blocks:
            maps = block(maps, together)
        return torch.cat([self.describe(actors).relu(), maps.mean((2, 3))], 1)


class HighOrder(nn.Module):
    """People look at each other at every place by itself: the high-order relation operator (ACAR, section 3.2).

    Queries, keys and values are 3x3 convolutions of the maps; what the weighted values add to a map is normalised over
    the whole map (layer norm), convolved and dropped out. The last convolution is 1x1 as for ACAR-Net's 101 layers.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(3))
        self.norm = nn.GroupNorm(1, channels)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor, together: Tensor) -> Tensor:
        """Relate maps `(N, C, H, W)` of people, of whom some are together, `(N, N)`."""
        logits = torch.einsum("ichw,jchw->ijhw", self.query(maps), self.key(maps)) / maps.shape[1] ** 0.5
        weights = logits.masked_fill(~together[..., None, None], -torch.inf).softmax(1)
        seen = torch.einsum("ijhw,jchw->ichw", weights, self.value(maps))
        return maps + self.dropout(self.out(self.norm(seen).relu()))


class PersonPerson(nn.Module):
    """Relations between people, without the scene: the serial person blocks of AIA (arXiv 2004.07485, section 3.2).

    A person looks at the others in the clip and, where tracks are known, at themselves in the neighbouring clips: that
    is AIA's memory, kept to the person's own track and computed with the rest, so that it is never out of date. Its
    blocks for objects are left out, as is their dense order: the paper relates people only, and nothing here detects
    the objects that Kinetics-TPS annotates.

    Args:
        channels: Of the clips' features.
        person: Of queries, keys and values (paper: 512; 1024 in its models for AVA).
        hidden: Of the description (1024).
        blocks: How many follow each other (2).
        dropout: Wherever AIA drops out (0.2).
        reach: How many steps of time the neighbouring clips are away at most, either way (30).
        step: Frames of a step (a second's).
        keypoints: Landmarks are part of what is known of a person.

    Attributes:
        channels: Of the description.
    """

    def __init__(
        self,
        channels: int,
        *,
        person: int,
        hidden: int,
        blocks: int,
        dropout: float,
        reach: int = 0,
        step: int = 1,
        keypoints: bool = False,
    ) -> None:
        super().__init__()
        self.ask, self.answer = (nn.Sequential(nn.Linear(channels, person), nn.Dropout(dropout)) for _ in range(2))
        self.blocks = nn.ModuleList(Interaction(person, dropout, reach) for _ in range(blocks))
        self.back = nn.Linear(person, channels)
        self.describe = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.keypoints = Keypoints(channels) if keypoints else None
        self.channels, self.step = hidden, step

    def forward(self, features: Tensor, people: People) -> Tensor:
        """Describe people: `(N, channels)` from the clips' features `(B, C, H, W)`."""
        pooled = people.with_landmarks(features, self.keypoints)
        related, others = self.ask(pooled), self.answer(pooled)
        known, later = people.known(), (people.later() / self.step).round().long()
        for block in self.blocks:
            related = block(related, others, known, later)
        return self.describe(pooled + self.back(related))


class Interaction(nn.Module):
    """People look at each other (AIA, section 3.2); adds nothing before it has learned to.

    Keys and values of others have a learned position in time beside them, as in AIA's memory. Here it is what they are
    away from the person who looks, so that all clips of a stretch are looked at from in one pass; AIA's memory has one
    clip in its middle, which comes to the same. What is farther away than the reach counts as there.
    """

    def __init__(self, channels: int, dropout: float, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.key_times, self.value_times = (nn.Parameter(torch.zeros(2 * reach + 1, channels)) for _ in range(2))
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, people: Tensor, others: Tensor, known: Tensor, later: Tensor) -> Tensor:
        """Relate people `(N, C)` to those of the others `(N, C)` whom they know, `(N, N)`, steps later."""
        times = later.clamp(-self.reach, self.reach) + self.reach
        query = self.query(people)
        logits = (query @ self.key(others).T + (query @ self.key_times.T).gather(1, times)) / people.shape[1] ** 0.5
        weights = logits.masked_fill(~known, -torch.inf).softmax(1)
        at_times = weights.new_zeros(len(people), 2 * self.reach + 1).scatter_add(1, times, weights)
        seen = weights @ self.value(others) + at_times @ self.value_times
        return people + self.dropout(self.out(self.norm(seen).relu()))
