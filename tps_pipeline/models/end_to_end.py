"""The network that sees a clip and finds people, parts and states in its last frame, in one pass without a detector.

Everything stands on the features of one SlowFast. People are the peaks of a heat map, each with a box (Objects as
Points, arXiv 1904.07850; for actions in clips: Actions as Moving Points, arXiv 2001.04608). A person's parts are
offsets from the peak, so that nobody has to ask whose a part is. Then each part is looked at where it was found: that
tells its box again, more exactly, and together with the person among the others (`relations`) its state.

Boxes are left, upper, right and lower edge as shares of the picture throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd, log
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.relations import People, PersonContextPerson
from tps_pipeline.models.slowfast import SlowFast

with without_compiler():
    from torchvision.ops import batched_nms, roi_align

PLACES = 3
"""Rows and columns that a part's box is sampled at. Ours."""
PRIOR = 0.1
"""What the heat is everywhere before anything is learned (Objects as Points, after arXiv 1708.02002, section 4.1)."""
HALF = 1 / 8
"""Of the picture: how far a person's edges are from the peak before anything is learned. Ours."""
SIZE = 1 / 4
"""Of the person: how large a part is before anything is learned. Ours."""
FARTHEST = 3.0
"""Of the logarithm of sizes: boxes never are more than twenty times as large as at first, nor as small."""
GROUPS = 8
"""At most so many groups of channels are normalised each by itself."""


class Maps(NamedTuple):
    """What is seen in some clips, everywhere.

    Attributes:
        heat: Logits of how surely a place is the middle of a person, `(B, H, W)`.
        people: The box of the person whose middle a place is, `(B, H, W, 4)`.
        parts: Roughly the boxes of this person's parts, `(B, H, W, parts, 4)`.
        fine: Features of places as small as these, `(B, C, H, W)`.
        scene: Features of both pathways, averaged over time, `(B, D, H / n, W / n)`.
    """

    heat: Tensor
    people: Tensor
    parts: Tensor
    fine: Tensor
    scene: Tensor


class Found(NamedTuple):
    """The people of some clips, each clip's best first.

    Attributes:
        people: Their boxes, as `relations.People`.
        scores: `(N,)`.
        parts: Roughly their parts' boxes, `(N, parts, 4)`.
    """

    people: People
    scores: Tensor
    parts: Tensor


class Described(NamedTuple):
    """What some people's parts are.

    Attributes:
        parts: Their boxes, `(N, parts, 4)`.
        seen: Logits of whether a part is to be seen, `(N, parts)`.
        states: Logits, `(N, labels)`.
    """

    parts: Tensor
    seen: Tensor
    states: Tensor


class Look(nn.Module):
    """A clip's maps: the only part that depends on pixels.

    The slow and the fast features of a clip's last moment go down a pyramid, from places of 16 pixels to smaller ones
    (arXiv 1612.03144: 1x1 convolutions aside, the coarser map doubled and added, a 3x3 convolution in the end).

    Args:
        backbone: What the clips are seen by.
        stride: Pixels of a place of the maps: 16, 8 or 4.
        width: Channels of the pyramid and of the layer before each map.
        parts: How many parts there are.
    """

    def __init__(self, backbone: SlowFast, *, stride: int, width: int, parts: int) -> None:
        super().__init__()
        self.backbone = backbone
        finest = {16: 4, 8: 2, 4: 1}[stride]
        self.levels = [level for level in (4, 2, 1) if level >= finest]
        channels = [sum(backbone.stage_channels[level]) for level in self.levels]
        self.aside = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = _convolved(width, width)
        self.heat, self.people, self.parts = (_head(width, outputs) for outputs in (1, 4, 4 * parts))
        nn.init.constant_(self.heat[-1].bias, log(PRIOR / (1 - PRIOR)))  # pyright: ignore[reportArgumentType]

    def forward(self, clips: Tensor) -> Maps:
        """Look at clips, `(B, 3, T, H, W)`, normalised."""
        stages = self.backbone.stages(clips)
        seen = None
        for level, aside in zip(self.levels, self.aside, strict=True):
            here = aside(torch.cat([pathway[:, :, -1] for pathway in stages[level]], 1))
            above = 0 if seen is None else functional.interpolate(seen, size=here.shape[-2:])
            seen = here + above
        fine = self.smooth(seen)
        people = _around_places(self.people(fine))
        raw = self.parts(fine).unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2)
        scene = torch.cat([pathway.mean(2) for pathway in stages[-1]], 1)
        return Maps(self.heat(fine)[:, 0], people, _beside(raw, people.detach()), fine, scene)


class EndToEndNet(nn.Module):
    """People, their parts and their parts' states from one look at clips.

    Args:
        look: Gives the maps.
        relation: Describes people among the others; its features are the scene's.
        width: Channels of the maps' features.
        hidden: Channels of what a part is described by.
        margin: Share of a part's box added on each side of where it is looked at.
        part_of: The part of each label, `(labels,)`; a part may be without any.
        parts: How many parts there are.
    """

    def __init__(
        self,
        look: Look,
        relation: PersonContextPerson,
        *,
        width: int,
        hidden: int,
        margin: float,
        part_of: Sequence[int],
        parts: int,
    ) -> None:
        super().__init__()
        self.look: nn.Module = look
        self.relation = relation
        self.margin = margin
        self.register_buffer("part_of", torch.tensor(part_of, dtype=torch.long), persistent=False)
        # What is looked for in a part is this part's own: a matrix each.
        self.pooled = nn.Parameter(torch.empty(parts, width * PLACES**2, hidden))
        nn.init.normal_(self.pooled, std=(2 / self.pooled.shape[1]) ** 0.5)  # arXiv 1502.01852, equation 10
        self.person = nn.Linear(relation.channels, hidden)
        self.box_and_sight = nn.Parameter(torch.zeros(parts, hidden, 5))
        self.state = nn.Parameter(torch.zeros(len(part_of), hidden))
        self.state_of_person = nn.Linear(relation.channels, len(part_of))

    def forward(self, clips: Tensor, whom: Callable[[Maps], Found]) -> tuple[Maps, Found, Described]:
        """Look at clips and describe people in them.

        Args:
            clips: Normalised, `(B, 3, T, H, W)`.
            whom: Says of the maps who is there (`people_in`).
        """
        maps = Maps(*self.look(clips))
        found = whom(maps)
        return maps, found, self._describe(maps, found.people, found.parts)

    def _describe(self, maps: Maps, people: People, parts: Tensor) -> Described:
        """Tell where exactly parts are, and in which states."""
        among = self.relation(maps.scene, people)
        seen = self._at(maps.fine, people.clips, parts)
        hidden = (torch.einsum("npf,pfh->nph", seen, self.pooled) + self.person(among)[:, None]).relu()
        box_and_sight = torch.einsum("nph,phk->npk", hidden, self.box_and_sight)
        states = (hidden[:, self.part_of] * self.state).sum(2) + self.state_of_person(among)
        return Described(moved(parts, box_and_sight[..., :4]), box_and_sight[..., 4], states)

    def _at(self, fine: Tensor, clips: Tensor, parts: Tensor) -> Tensor:
        """Features in and around parts: `(N, parts, C * places)`."""
        height, width = fine.shape[2:]
        sizes = (parts[..., 2:] - parts[..., :2]).repeat(1, 1, 2) * parts.new_tensor([-1, -1, 1, 1]) * self.margin
        wide = (parts + sizes) * parts.new_tensor([width, height, width, height])
        clip = clips[:, None, None].expand(*parts.shape[:2], 1).to(fine.dtype)
        rois = torch.cat([clip, wide.to(fine.dtype)], 2).flatten(0, 1)
        return roi_align(fine, rois, PLACES, sampling_ratio=2, aligned=True).flatten(1).unflatten(0, parts.shape[:2])


def people_in(maps: Maps, *, threshold: float, iou: float, most: int) -> Found:
    """The people of some clips: peaks of the heat (no higher neighbour) whose boxes do not overlap a higher one's.

    Args:
        maps: Of the clips.
        threshold: Least score.
        iou: Overlap above which the fainter of two people is dropped.
        most: Most people of a clip.
    """
    heat = maps.heat.sigmoid()
    peaks = heat * (functional.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0] == heat)
    scores, place = peaks.flatten(1).sort(dim=1, descending=True, stable=True)
    clip, rank = (scores >= max(threshold, torch.finfo(scores.dtype).tiny)).nonzero(as_tuple=True)
    place, score = place[clip, rank], scores[clip, rank]
    boxes = maps.people.flatten(1, 2)[clip, place]
    kept = batched_nms(boxes, score, clip, iou).sort().values  # each clip's are best first already
    kept = kept[_number_within(clip[kept]) < most]
    clip, place = clip[kept], place[kept]
    return Found(People(boxes[kept], clip), score[kept], maps.parts.flatten(1, 2)[clip, place])


def moved(boxes: Tensor, by: Tensor) -> Tensor:
    """Boxes whose middles are moved by shares of their size and whose size changes by a factor's logarithm."""
    size = boxes[..., 2:] - boxes[..., :2]
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2 + by[..., :2] * size
    half = size * by[..., 2:].clamp(-FARTHEST, FARTHEST).exp() / 2
    return torch.cat([middle - half, middle + half], -1)


def middles(height: int, width: int, like: Tensor) -> Tensor:
    """The middles of places as shares of the picture: `(H, W, 2)`, x first."""
    rows, columns = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (height, width))
    return torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)], -1)


def _around_places(raw: Tensor) -> Tensor:
    """Boxes `(B, H, W, 4)` by the logarithms of how far each edge is from the place's middle, `(B, 4, H, W)`."""
    distances = HALF * raw.float().clamp(-FARTHEST, FARTHEST).exp().permute(0, 2, 3, 1)  # half precision is too coarse
    middle = middles(raw.shape[2], raw.shape[3], distances)
    return torch.cat([middle - distances[..., :2], middle + distances[..., 2:]], -1)


def _beside(raw: Tensor, people: Tensor) -> Tensor:
    """Parts' boxes `(B, H, W, parts, 4)` by offsets from the place and sizes, in terms of the person's box."""
    height, width = people.shape[1:3]
    raw = raw.float()
    size = (people[..., 2:] - people[..., :2])[..., None, :]
    middle = middles(height, width, people)[..., None, :] + raw[..., :2] * size
    half = SIZE * size * raw[..., 2:].clamp(-FARTHEST, FARTHEST).exp() / 2
    return torch.cat([middle - half, middle + half], -1)


def _number_within(groups: Tensor) -> Tensor:
    """For each member of groups that stand together, how many of its group went before: `(N,)`."""
    counts = groups.bincount()
    return torch.arange(len(groups), device=groups.device) - (counts.cumsum(0) - counts)[groups]


def _convolved(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution, normalised over groups of channels: batches may be small (arXiv 1803.08494)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(gcd(GROUPS, outputs), outputs), nn.ReLU()
    )


def _head(width: int, outputs: int) -> nn.Sequential:
    """What makes a map of features (Objects as Points, section 5); small at first, so that boxes begin as said."""
    last = nn.Conv2d(width, outputs, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(_convolved(width, width), last)
