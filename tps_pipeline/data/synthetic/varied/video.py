"""One varied video: its pictures, and what an annotator writes about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.synthetic import annotate, render
from tps_pipeline.data.synthetic.cast import Actor, perform
from tps_pipeline.data.synthetic.skeleton import DIRECTIONS, rotation
from tps_pipeline.data.synthetic.varied import crowd, paint
from tps_pipeline.data.synthetic.varied.lens import Lens, lens
from tps_pipeline.data.synthetic.varied.surfaces import Picture
from tps_pipeline.data.synthetic.varied.surroundings import background, foreground
from tps_pipeline.data.synthetic.varied.wardrobe import clothed
from tps_pipeline.labels import PARTS

MARGIN = 0.15
"""Background beyond the frame's edge on each side, as a share of the picture."""

WIDEST = 2.4
"""Greatest ratio of a picture's sides."""

ANYWAY, HEAD_SEEN = 0.12, 0.5
"""Share of the picture that somebody covers, or share of the head that shows, from which somebody is annotated however
little else of them is to be seen."""


@dataclass
class VariedTake:
    """A varied video before it is drawn.

    Attributes:
        size: Width and height in pixels.
        fps: Frames a second.
        quality: Constant rate factor of the encoder; higher is worse.
        persons: Everyone in it.
        sprites: Everyone projected.
        dresses: How each is drawn.
        background: Larger than the picture by `MARGIN` on each side.
        foreground: Things in front and how opaque they are, or none.
        moves: (T, 2, 3) movement of the picture.
        lens: What happens to the finished picture.
        rng: Source of noise and of the annotators' imprecision.
    """

    size: tuple[int, int]
    fps: int
    quality: int
    persons: list[Actor]
    sprites: list[render.Sprite]
    dresses: list[paint.Dress]
    background: Picture
    foreground: tuple[Picture, NDArray[np.uint8]] | None
    moves: np.ndarray
    lens: Lens
    rng: np.random.Generator


def shoot(action: str, *, frames: int, size: tuple[int, int], rng: np.random.Generator) -> VariedTake:
    """Plan a video in which the first person performs an action, and compute everything but its pixels.

    Args:
        action: One of `ACTIONS`.
        frames: How many.
        size: Width and height of a picture of usual shape; others have about as many pixels.
        rng: Source of all choices.
    """
    size = _shape(size, rng)
    fps = int(rng.choice([2, 3, 5, 12, 25, 25, 30, 50]))
    camera = crowd.camera(frames, size, rng)
    persons = perform(crowd.roles(action, camera, size, rng), np.arange(frames) / fps, rng, clothed)
    if rng.random() < 0.3:
        _tilt(persons, rng.normal(8, 10))
    shade = rng.uniform(0.55, 1.15) * rng.uniform(0.85, 1.15, 3)
    sprites = [
        render.sprite(person.solids, camera, size, person=index, shade=shade) for index, person in enumerate(persons)
    ]
    width, height = (round(side * (1 + 2 * MARGIN)) for side in size)
    edge = camera.horizon + camera.focal * camera.height / (rng.uniform(1.2, 5) * camera.distance)
    return VariedTake(
        size=size,
        fps=fps,
        quality=int(rng.integers(18, 40)),
        persons=persons,
        sprites=sprites,
        dresses=[paint.dress(sprite, rng) for sprite in sprites],
        background=background(width, height, round(edge + MARGIN * size[1]), rng),
        foreground=foreground(size, rng) if rng.random() < 0.12 else None,
        moves=camera.moves,
        lens=lens(size, rng),
        rng=rng,
    )


def _shape(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Another width and height of about as many pixels, even numbers: upright, square, wide."""
    pixels = size[0] * size[1]
    ratio = float(rng.choice([16 / 9, 4 / 3, 4 / 3, 1.0, 9 / 16, rng.uniform(1 / WIDEST, WIDEST)]))
    return max(64, 2 * round((pixels * ratio) ** 0.5 / 2)), max(64, 2 * round((pixels / ratio) ** 0.5 / 2))


def _tilt(persons: list[Actor], degrees: float) -> None:
    """See everyone from above or below: turn each about their own middle, toward the camera."""
    turn = rotation("x", degrees)[0]
    for person in persons:
        middle = person.joints["pelvis"].mean(0)
        for name, track in person.joints.items():
            person.joints[name] = track @ turn.T if name in DIRECTIONS else (track - middle) @ turn.T + middle
        for solid in person.solids:
            solid.centres = (solid.centres - middle) @ turn.T + middle
            solid.facing = None if solid.facing is None else solid.facing @ turn.T


def frames_of(take: VariedTake, labelled: np.ndarray) -> Iterator[tuple[Picture, dict[str, Any] | None]]:
    """Draw a video.

    Args:
        take: What to draw.
        labelled: (T,) which frames to annotate.

    Yields:
        A BGR picture (H, W, 3) and its annotation.
    """
    width, height = take.size
    offset = np.array([MARGIN * width, MARGIN * height])
    full = [render.areas(sprite) for sprite in take.sprites]
    for frame, move in enumerate(take.moves):
        warp = move.copy()
        warp[:, 2] -= move[:, :2] @ offset
        picture = cv2.warpAffine(take.background, warp, take.size, borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)
        identity = np.zeros((height, width), np.uint8) if labelled[frame] else None
        for person in np.argsort([sprite.depth[frame] for sprite in take.sprites], kind="stable"):
            paint.draw(picture, identity, take.sprites[person], take.dresses[person], frame)
        _cover(take, picture, identity)
        shown = take.lens(picture, take.rng)
        yield shown, None if identity is None else _annotation(take, identity, full, frame)


def _cover(take: VariedTake, picture: Picture, identity: NDArray[np.uint8] | None) -> None:
    """Put what is in front over the people, and take out of the identities what cannot be seen."""
    rows, columns = take.lens.bars
    if take.foreground:
        front, mask = take.foreground
        share = mask[..., None] / np.float32(255)
        picture[:] = picture + share * (front.astype(np.float32) - picture)
        if identity is not None:
            identity[mask > 127] = 0
    if identity is not None:
        height, width = identity.shape
        identity[:rows], identity[height - rows :], identity[:, :columns], identity[:, width - columns :] = 0, 0, 0, 0


def _annotation(
    take: VariedTake, identity: NDArray[np.uint8], full: list[dict[int, np.ndarray]], frame: int
) -> dict[str, Any]:
    humans = []
    for person, sprite, whole in zip(take.persons, take.sprites, full, strict=True):
        extents = render.extents(identity, sprite, whole, frame)
        first = min(whole)
        pixels = np.count_nonzero((identity >= first) & (identity < first + render.IDS_PER_PERSON))
        share = pixels / max(sum(float(area[frame]) for area in whole.values()), 1.0) * 1.4
        head = extents.get(PARTS.index("head"))
        anyway = pixels > ANYWAY * identity.size or (head is not None and head.seen > HEAD_SEEN)
        written = annotate.human(
            extents,
            {part: str(names[frame]) for part, names in person.states.items()},
            number=len(humans) + 1,
            seen=1.0 if anyway else share,
            habit=frozenset(),
            size=take.size,
            rng=take.rng,
        )
        if written:
            humans.append(written)
    return {"humans": humans}
