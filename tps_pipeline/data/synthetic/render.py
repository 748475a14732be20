"""Drawing people and props, and measuring what can be seen of each part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from tps_pipeline.data.synthetic.camera import Camera
from tps_pipeline.data.synthetic.shapes import SCENERY, Solid, outline
from tps_pipeline.labels import PARTS

IDS_PER_PERSON = len(PARTS) + 1
"""Numbers that a person has in the picture of identities: the trunk's and each part's."""

SHIFT = 4
"""Fractional bits of polygon coordinates: OpenCV draws in sixteenths of a pixel."""

_FACING = 0.15  # cosine to the camera above which a one-sided solid is drawn


@dataclass
class Sprite:
    """A person, or something of the scene, projected for every frame.

    Attributes:
        polygons: (T, K, 3, P, 2) int32 fixed point: dark outline, body, highlight of each of K solids.
        colours: K lists of those' colours.
        layers: K numbers of polygons to draw (3, or 1 for plain solids).
        order: (T, K) solids from far to near.
        visible: (T, K) whether each is drawn.
        ids: (K,) value in the identity map; 0 for scenery.
        depth: (T,) metres toward the camera, for the order of people.
    """

    polygons: np.ndarray
    colours: list[list[tuple[float, ...]]]
    layers: list[int]
    order: np.ndarray
    visible: np.ndarray
    ids: list[int]
    depth: np.ndarray

    def part_of(self, identity: int) -> int:
        """Index into `labels.PARTS` (-1: the trunk) of a value of the identity map."""
        return (identity - 1) % IDS_PER_PERSON - 1

    @cached_property
    def reaches(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Identity -> least and greatest x and y of its solids' bodies in whole pixels, (T, 2) each."""
        found = {}
        for identity in dict.fromkeys(self.ids):
            solids = [k for k, owner in enumerate(self.ids) if owner == identity]
            corners = self.polygons[:, solids, 1].reshape(len(self.polygons), -1, 2)
            found[identity] = corners.min(axis=1) // 2**SHIFT, corners.max(axis=1) // 2**SHIFT
        return found


def sprite(solids: list[Solid], camera: Camera, size: tuple[int, int], *, person: int, shade: np.ndarray) -> Sprite:
    """Project solids (already in world coordinates).

    Args:
        solids: What to draw, in any order.
        camera: The camera.
        size: Picture width and height.
        person: Index of the person, from 0.
        shade: (3,) multiplier of the colours: illumination.
    """
    light = np.asarray(camera.light)
    shapes, depths, visible = [], [], []
    for solid in solids:
        centres, scale = camera.project(solid.centres)
        radii = np.maximum(scale * solid.radii, 0.6)
        rims = [outline(centres, radii)] * 3
        if not solid.plain:
            rims = [outline(centres, radii + 0.8), rims[0],
                    outline(centres + light * (0.34 * radii[..., None]), 0.48 * radii)]  # fmt: skip
        shapes.append(np.stack(rims, axis=1))
        depths.append(solid.centres[..., 2].mean(axis=1) + solid.bias)
        outside = (rims[0].max(axis=1) < 0).any(1) | (rims[0].min(axis=1) > size).any(1)
        seen = np.ones(len(centres), bool)
        if solid.facing is not None:
            seen = camera.toward(solid.centres.mean(axis=1), solid.facing) > _FACING
        visible.append(seen & ~outside)
    polygons = np.clip(np.stack(shapes, axis=1), -2000, 4000) * 2**SHIFT
    base = [np.clip(np.asarray(solid.colour) * shade, 0, 255) for solid in solids]
    return Sprite(
        polygons=np.rint(polygons).astype(np.int32),
        colours=[[tuple(c)] if solid.plain else _tones(c) for solid, c in zip(solids, base, strict=True)],
        layers=[1 if solid.plain else 3 for solid in solids],
        order=np.argsort(np.stack(depths, axis=1), axis=1, kind="stable"),
        visible=np.stack(visible, axis=1),
        ids=[0 if solid.part == SCENERY else person * IDS_PER_PERSON + solid.part + 2 for solid in solids],
        depth=np.mean([solid.centres[..., 2].mean(axis=1) for solid in solids], axis=0),
    )


def _tones(colour: np.ndarray) -> list[tuple[float, ...]]:
    return [tuple(0.45 * colour), tuple(colour), tuple(np.clip(1.10 * colour + 14, 0, 255))]


def draw(picture: np.ndarray, identity: np.ndarray | None, sprites: list[Sprite], frame: int) -> None:
    """Draw one frame's sprites, far ones first, into a BGR picture and (if given) an identity map (uint8)."""
    for sprite in sorted(sprites, key=lambda sprite: sprite.depth[frame]):
        polygons, visible = sprite.polygons[frame], sprite.visible[frame]
        for k in sprite.order[frame]:
            if not visible[k]:
                continue
            shape, colours = polygons[k], sprite.colours[k]
            for layer in range(sprite.layers[k]):
                cv2.fillConvexPoly(picture, shape[layer], colours[layer], cv2.LINE_AA, SHIFT)
            if identity is not None:
                cv2.fillConvexPoly(identity, shape[min(1, sprite.layers[k] - 1)], sprite.ids[k], cv2.LINE_8, SHIFT)


@dataclass
class Extent:
    """What can be seen of a part.

    Attributes:
        box: x1, y1, x2, y2, inclusive pixels of the visible area.
        seen: Visible share of its area, 0 to 1, counting what lies outside the picture as unseen.
    """

    box: tuple[int, int, int, int]
    seen: float


def areas(sprite: Sprite) -> dict[int, np.ndarray]:
    """Identity -> (T,) pixels that its solids would cover if nothing hid them.

    The solids of a limb overlap at its joints; `_OVERLAP` takes account of that. Those of the head lie in one
    another: the largest counts.
    """
    body = sprite.polygons[:, :, 1].astype(float) / 2**SHIFT
    x, y = body[..., 0], body[..., 1]
    area = 0.5 * np.abs((x * np.roll(y, -1, -1) - y * np.roll(x, -1, -1)).sum(-1))
    total: dict[int, np.ndarray] = {}
    for k, identity in enumerate(sprite.ids):
        if identity and sprite.layers[k] == 3:
            so_far, covered = total.get(identity, np.zeros(len(area))), _OVERLAP * area[:, k]
            nested = sprite.part_of(identity) == PARTS.index("head")
            total[identity] = np.maximum(so_far, covered) if nested else so_far + covered
    return total


_OVERLAP = 0.85


def extents(identity: np.ndarray, sprite: Sprite, full: dict[int, np.ndarray], frame: int) -> dict[int, Extent]:
    """Visible extent of each visible part of a person.

    The hip is taken whole: its own thighs and arms may hide it, other people and the picture's edge may not.

    Args:
        identity: (H, W) uint8 identity map of the frame.
        sprite: The person.
        full: The person's `areas`.
        frame: Index of the frame.

    Returns:
        Extents by index into `labels.PARTS`; -1 is the trunk.
    """
    visible, height, width = {}, *identity.shape
    first = min(full)
    for number, whole in full.items():
        part = sprite.part_of(number)
        least, greatest = sprite.reaches[number]
        (left, upper), (right, lower) = least[frame].tolist(), greatest[frame].tolist()
        left, upper = max(left, 0), max(upper, 0)
        window = identity[upper : min(lower + 1, height), left : min(right + 1, width)]
        if not window.size:
            continue
        mask = window == number if PARTS[part] != "hip" else (window >= first) & (window < first + IDS_PER_PERSON)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            (x1, x2), (y1, y2) = columns[[0, -1]].tolist(), rows[[0, -1]].tolist()
            share = np.count_nonzero(mask) / max(float(whole[frame]), 1.0)
            visible[part] = Extent((left + x1, upper + y1, left + x2, upper + y2), share)
    return visible
