"""The network that sees a clip and finds people, parts and states in its last frame, in one pass without a detector.

Where somebody is, only the last frame tells, and in its fine detail; what somebody does, the frames before it tell too,
and there coarse ones do. So the last frame is seen by a YOLOv7's body, the clip at half the size by a SlowFast, and
what both see is added up in a pyramid. People are the peaks of a heat map, each with a box (Objects as Points, arXiv
1904.07850; for actions in clips: Actions as Moving Points, arXiv 2001.04608). In each person's box the pyramid's finest
map is sampled at the same number of places, however large the person is, and there parts are found once each, as
`heat_maps` finds them in a picture (for joints: Mask R-CNN, arXiv 1703.06870, section 5). What is seen at a part, and
the person among the others (`relations`), tell its state.

Boxes are left, upper, right and lower edge as shares of the picture throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models import heat_maps
from tps_pipeline.models.fused_slowfast import fuse
from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.relations import People, PersonContextPerson
from tps_pipeline.models.slowfast import SlowFast
from tps_pipeline.models.yolov7 import Body
from tps_pipeline.models.yolov7_layers import ConvBlock

with without_compiler():
    from torchvision.ops import batched_nms, roi_align

STAGES = (1, 2, 4)
"""Of the SlowFast, from the stem: those that have, at half the size, as many places as the body's levels."""
PLACES = 3
"""Rows and columns that a part is sampled at for its state. Ours."""
GRID = 20
"""Rows and columns that a person is sampled at, as many as the demo's part detector has; a multiple of 4."""
AROUND = 0.1
"""Share of a person's box added on each side of what is sampled, as the part detector's pictures have it."""
PRIOR = 0.1
"""What the heat is everywhere before anything is learned (Objects as Points, after arXiv 1708.02002, section 4.1)."""
HALF = 1 / 8
"""Of the picture: how far a person's edges are from the peak before anything is learned. Ours."""
SIZE = 1 / 4
"""Of what is sampled of a person: how large a part is before anything is learned. Ours."""
FARTHEST = 3.0
"""Of the logarithm of sizes: boxes never are more than twenty times as large as at first, nor as small."""


class Maps(NamedTuple):
    """What is seen in some clips, everywhere.

    Attributes:
        heat: Logits of how surely a place of 8 pixels is the middle of a person, `(B, H, W)`.
        people: The box of the person whose middle a place is, `(B, H, W, 4)`.
        fine: Features of places of 4 pixels, `(B, C, 2 H, 2 W)`.
        scene: Those of places of 16, `(B, C, H / 2, W / 2)`.
    """

    heat: Tensor
    people: Tensor
    fine: Tensor
    scene: Tensor


class Found(NamedTuple):
    """The people of some clips, each clip's best first.

    Attributes:
        people: Their boxes, as `relations.People`.
        scores: `(N,)`.
    """

    people: People
    scores: Tensor


class Described(NamedTuple):
    """What some people's parts are.

    Attributes:
        windows: What is sampled of each of them, `(N, 4)`.
        maps: Where in it each part may be.
        anchors: What sizes are told in there, `(parts, 2)`.
        parts: Their boxes, `(N, parts, 4)`.
        seen: How surely a part is to be seen, `(N, parts)`.
        states: Logits, `(N, labels)`.
    """

    windows: Tensor
    maps: heat_maps.Maps
    anchors: Tensor
    parts: Tensor
    seen: Tensor
    states: Tensor


class Look(nn.Module):
    """A clip's maps: the only part that depends on pixels.

    What the last frame's body and the clip's SlowFast see of its last moment goes down a pyramid, from places of 32
    pixels to those of 4 (arXiv 1612.03144: 1x1 convolutions aside, the coarser map doubled and added, 3x3 convolutions
    of what is read).

    Args:
        backbone: What the clips are seen by.
        body: What their last frames are seen by.
        width: Channels of the pyramid and of the layer before each map.
    """

    def __init__(self, backbone: SlowFast, body: Body, *, width: int) -> None:
        super().__init__()
        self.backbone, self.body = backbone, body
        moving = [sum(backbone.stage_channels[stage]) for stage in STAGES]
        self.aside = nn.ModuleList(nn.Conv2d(sum(both), width, 1) for both in zip(body.channels, moving, strict=True))
        self.finest = nn.Conv2d(body.finest, width, 1)
        self.smooth = _convolved(width, width)
        self.heat, self.people = (_head(width, outputs) for outputs in (1, 4))
        nn.init.constant_(self.heat[-1].bias, log(PRIOR / (1 - PRIOR)))  # pyright: ignore[reportArgumentType]

    def forward(self, clips: Tensor) -> Maps:
        """Look at clips, `(B, 3, T, H, W)`, normalised; H and W multiples of 32."""
        finest, *levels = self.body.levels(clips[:, :, -1].contiguous(memory_format=torch.channels_last))
        stages = self.backbone.stages(_halved(clips))
        seen: list[Tensor] = []
        for level, stage, aside in list(zip(levels, STAGES, self.aside, strict=True))[::-1]:
            moving = [pathway[:, :, -1] for pathway in stages[stage]]
            here = aside(torch.cat([level, *moving], 1))
            seen.append(here + _doubled(seen[-1]) if seen else here)
        _, scene, coarse = seen
        people = _around_places(self.people(coarse))
        fine = self.smooth(self.finest(finest) + _doubled(coarse))
        return Maps(self.heat(coarse)[:, 0], people, fine.contiguous(), scene)  # so that it is sampled


class Parts(nn.Module):
    """Where a person's parts are in what is sampled of the person.

    As in `heat_maps` three levels say it and are added up: the coarse ones see the whole person, and so which side is
    the left one, the fine one where exactly a hand is.

    Args:
        width: Channels of what is sampled.
        hidden: Channels of the levels.
        parts: How many parts there are.
    """

    def __init__(self, width: int, hidden: int, parts: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_convolved(inputs, hidden) for inputs in (width, hidden, hidden))
        self.maps = nn.ModuleList(nn.Conv2d(hidden, parts * 5, 1) for _ in self.levels)
        self.nowhere = nn.Linear(hidden, parts)
        for layer in (*self.maps, self.nowhere):  # every place as likely as any other
            nn.init.normal_(layer.weight, std=0.01)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, sampled: Tensor) -> tuple[heat_maps.Maps, Tensor]:
        """Find parts in what is sampled of people, `(N, C, GRID, GRID)`.

        Returns:
            Where they may be, and what is seen of the whole person, `(N, hidden)`.
        """
        said: list[Tensor] = []
        for level, maps in zip(self.levels, self.maps, strict=True):
            sampled = level(functional.max_pool2d(sampled, 2) if said else sampled)
            said.append(maps(sampled))
        whole, (fine, middle, coarse) = sampled.amax((2, 3)), said
        all_of_it = (fine + _smoothly_doubled(middle + _smoothly_doubled(coarse))).unflatten(1, (-1, 5))
        return heat_maps.Maps(all_of_it[:, :, 0], self.nowhere(whole), all_of_it[:, :, 1:]), whole


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

    Attributes:
        anchors: What the sizes of parts are told in, as `heat_maps.HeatMaps` has them.
    """

    part_of: Tensor
    anchors: Tensor

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
        self.register_buffer("anchors", torch.full((parts, 2), SIZE * GRID * heat_maps.STRIDE), persistent=False)
        self.parts = Parts(width, hidden, parts)
        # What is looked for in a part is this part's own: a matrix each.
        self.pooled = nn.Parameter(torch.empty(parts, width * PLACES**2, hidden))
        nn.init.normal_(self.pooled, std=(2 / self.pooled.shape[1]) ** 0.5)  # arXiv 1502.01852, equation 10
        self.person = nn.Linear(relation.channels + hidden, hidden)
        self.state = nn.Parameter(torch.zeros(len(part_of), hidden))
        self.state_of_person = nn.Linear(relation.channels + hidden, len(part_of))

    def forward(
        self, clips: Tensor, whom: Callable[[Maps], Found], where: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Maps, Found, Described]:
        """Look at clips and describe people in them.

        Args:
            clips: Normalised, `(B, 3, T, H, W)`.
            whom: Says of the maps who is there (`people_in`).
            where: Says of the boxes of parts that are found in which ones their states are looked for; None: in these.
        """
        maps = Maps(*self.look(clips))
        found = whom(maps)
        return maps, found, self._describe(maps, found.people, where)

    def fuse(self) -> Self:
        """Work out what follows from the weights alone, in place, for evaluation only."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fuse()
        fuse(self.look.get_submodule("backbone"))  # pyright: ignore[reportArgumentType]
        return self

    def _describe(self, maps: Maps, people: People, where: Callable[[Tensor], Tensor] | None) -> Described:
        """Tell where parts are, and in which states."""
        windows = widened(people.boxes, AROUND)
        said, whole = self.parts(_sampled(maps.fine, people.clips, windows[:, None], GRID))
        parts = out_of(windows, best_boxes(said, self.anchors))
        seen = 1 - said.log_probabilities()[..., -1].exp()
        looked_at = widened(parts.detach() if where is None else where(parts.detach()), self.margin)
        at_parts = _sampled(maps.fine, people.clips, looked_at, PLACES).flatten(1).unflatten(0, parts.shape[:2])
        person = torch.cat([self.relation(maps.scene, people), whole], 1)
        hidden = (torch.einsum("npf,pfh->nph", at_parts, self.pooled) + self.person(person)[:, None]).relu()
        states = (hidden[:, self.part_of] * self.state).sum(2) + self.state_of_person(person)
        return Described(windows, said, self.anchors, parts, seen, states)


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
    return Found(People(boxes[kept], clip[kept]), score[kept])


def best_boxes(maps: heat_maps.Maps, anchors: Tensor) -> Tensor:
    """The box of each part as shares of what is sampled, `(N, parts, 4)`: as `heat_maps.HeatMaps` decodes it.

    But boxes are worked out only where they are looked for, which with many small maps is most of the time.

    Args:
        maps: Of people, `GRID` by `GRID` places each.
        anchors: What sizes are told in.
    """
    side = maps.places.shape[-1]
    logs = maps.places.float().flatten(2)
    highest, best = logs.max(2, keepdim=True)
    counts = (heat_maps.SHARPNESS * (logs - highest)).exp()
    reach = torch.arange(heat_maps.WINDOW, device=best.device) - heat_maps.WINDOW // 2
    row, column = best // side + reach.repeat_interleave(len(reach)), best % side + reach.repeat(len(reach))
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    place = (row.clamp(0, side - 1) * side + column.clamp(0, side - 1))[:, :, None]
    share = counts.gather(2, place[:, :, 0]) * inside
    told = maps.boxes.float().flatten(3).gather(3, place.expand(-1, -1, 4, -1))
    middle = (torch.stack([column, row], 2) + 0.5 + told[:, :, :2]) / side
    size = told[:, :, 2:].clamp(-4, 4).exp() * anchors[..., None] / (side * heat_maps.STRIDE)
    boxes = torch.cat([middle - size / 2, middle + size / 2], 2)
    return (boxes * share[:, :, None]).sum(3) / share.sum(2, keepdim=True)


def widened(boxes: Tensor, margin: float) -> Tensor:
    """Boxes with a share of their size added on each side."""
    added = (boxes[..., 2:] - boxes[..., :2]) * margin
    return torch.cat([boxes[..., :2] - added, boxes[..., 2:] + added], -1)


def within(windows: Tensor, boxes: Tensor) -> Tensor:
    """Boxes `(N, K, 4)` as shares of windows `(N, 4)`."""
    return (boxes - windows[:, None, :2].repeat(1, 1, 2)) / _size(windows)


def out_of(windows: Tensor, shares: Tensor) -> Tensor:
    """The boxes that `within` has made shares of."""
    return windows[:, None, :2].repeat(1, 1, 2) + shares * _size(windows)


def _size(windows: Tensor) -> Tensor:
    return (windows[:, 2:] - windows[:, :2]).repeat(1, 2)[:, None]


def middles(height: int, width: int, like: Tensor) -> Tensor:
    """The middles of places as shares of the picture: `(H, W, 2)`, x first."""
    rows, columns = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (height, width))
    return torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)], -1)


def _sampled(features: Tensor, clips: Tensor, boxes: Tensor, places: int) -> Tensor:
    """Features `(B, C, H, W)` in boxes `(N, K, 4)` of people in some clips: `(N K, C, places, places)`."""
    height, width = features.shape[2:]
    clip = clips[:, None, None].expand(*boxes.shape[:2], 1).to(features.dtype)
    scaled = torch.stack([edge * side for edge, side in zip(boxes.unbind(2), 2 * (width, height), strict=True)], 2)
    rois = torch.cat([clip, scaled.to(features.dtype)], 2).flatten(0, 1)
    return roi_align(features, rois, places, sampling_ratio=1, aligned=True)


def _around_places(raw: Tensor) -> Tensor:
    """Boxes `(B, H, W, 4)` by the logarithms of how far each edge is from the place's middle, `(B, 4, H, W)`."""
    distances = HALF * raw.float().clamp(-FARTHEST, FARTHEST).exp().permute(0, 2, 3, 1)  # half precision is too coarse
    middle = middles(raw.shape[2], raw.shape[3], distances)
    return torch.cat([middle - distances[..., :2], middle + distances[..., 2:]], -1)


def _number_within(groups: Tensor) -> Tensor:
    """For each member of groups that stand together, how many of its group went before: `(N,)`."""
    counts = groups.bincount()
    return torch.arange(len(groups), device=groups.device) - (counts.cumsum(0) - counts)[groups]


def _halved(clips: Tensor) -> Tensor:
    """Means of two by two pixels; as a change of size that is three times as fast as pooling in three dimensions."""
    frames = functional.interpolate(clips.transpose(1, 2).flatten(0, 1), scale_factor=0.5, mode="bilinear")
    return frames.unflatten(0, (-1, clips.shape[2])).transpose(1, 2)


def _doubled(seen: Tensor) -> Tensor:
    return functional.interpolate(seen, scale_factor=2.0)


def _smoothly_doubled(said: Tensor) -> Tensor:
    return functional.interpolate(said, scale_factor=2.0, mode="bilinear", align_corners=False)


def _head(width: int, outputs: int) -> nn.Sequential:
    """What makes a map of features (Objects as Points, section 5); small at first, so that boxes begin as said."""
    last = nn.Conv2d(width, outputs, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(_convolved(width, width), last)


def _convolved(inputs: int, outputs: int) -> ConvBlock:
    return ConvBlock(inputs, outputs, kernel=3, activation=nn.ReLU())
