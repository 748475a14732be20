"""One video: its pictures, and what an annotator writes about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tps_pipeline.data.synthetic import annotate, render
from tps_pipeline.data.synthetic.camera import Camera, drift, moves
from tps_pipeline.data.synthetic.cast import ACTIONS, Actor, Plan, people
from tps_pipeline.data.synthetic.look import dye
from tps_pipeline.data.synthetic.scene import SCENES, paint
from tps_pipeline.data.synthetic.shapes import SCENERY, Solid, hull

MARGIN = 0.25
"""Background beyond the frame's edge on each side, as a share of the picture."""

TYPICAL_SCENE = 0.75
"""Probability of a scene that the action usually happens in."""


@dataclass
class Take:
    """A video before it is drawn.

    Attributes:
        size: Width and height in pixels.
        fps: Frames a second.
        persons: Everyone in it.
        sprites: Everyone projected, then the things in the foreground.
        background: Larger than the picture by `MARGIN` on each side.
        moves: (T, 2, 3) movement of the picture.
        gain: (T,) brightness.
        blur: Standard deviation of the defocus in pixels; 0 for none.
        rng: Source of the annotators' imprecision.
        quality: Constant rate factor of the encoder; higher is worse.
    """

    size: tuple[int, int]
    fps: int
    persons: list[Actor]
    sprites: list[render.Sprite]
    background: np.ndarray
    moves: np.ndarray
    gain: np.ndarray
    blur: float
    rng: np.random.Generator
    quality: int = 23


def shoot(action: str, *, frames: int, size: tuple[int, int], rng: np.random.Generator) -> Take:
    """Plan a video of an action and compute everything but its pixels."""
    plan, (width, height) = ACTIONS[action], size
    fps = int(rng.choice([25, 25, 30]))
    distance = rng.uniform(4.5, 8.0)
    persons = people(plan, np.arange(frames) / fps, distance, rng)
    camera = camera_of(plan, persons, distance, frames, size, rng)
    shade = rng.uniform(0.6, 1.12) * rng.uniform(0.9, 1.1, 3)
    sprites = [
        render.sprite(person.solids, camera, size, person=index, shade=shade) for index, person in enumerate(persons)
    ]
    if rng.random() < 0.2:
        sprites.append(render.sprite(_foreground(plan, distance, frames, rng), camera, size, person=0, shade=shade))
        sprites[-1].depth[:] = 1e3
    typical = rng.random() < TYPICAL_SCENE
    kind = str(rng.choice(plan.scenes if typical else list(SCENES)))
    wall = camera.horizon + camera.focal * camera.height / (2.9 * distance)
    canvas = (round(width * (1 + 2 * MARGIN)), round(height * (1 + 2 * MARGIN)))
    background = paint(kind, *canvas, round(wall + MARGIN * height), rng) * shade
    gain = 1 + 0.05 * rng.uniform(0, 1.5) * drift(frames, rng)
    blur = float(rng.choice([0, 0, 0, 0.6, 0.9])) * width / 320
    return Take(
        size, fps, persons, sprites, np.clip(background, 0, 255).astype(np.uint8), camera.moves, gain, blur, rng
    )


def camera_of(
    plan: Plan, persons: list[Actor], distance: float, frames: int, size: tuple[int, int], rng: np.random.Generator
) -> Camera:
    """A camera before which a plan's people fill the picture.

    Args:
        plan: The action's plan.
        persons: Everyone; the camera follows the first.
        distance: Metres between the camera and the main people.
        frames: T.
        size: Picture width and height.
        rng: Source of all choices.
    """
    width, height = size
    room = plan.extent[0] + (1.6 if plan.group[1] > 2 else 0.0)
    scale = min(height * rng.uniform(0.66, 0.98) / plan.extent[1], width * rng.uniform(0.8, 1.0) / room)
    eye = rng.uniform(0.9, 1.7)
    foot = height * (rng.uniform(0.86, 0.97) if rng.random() < 0.85 else rng.uniform(1.02, 1.15))
    slack = max(0.0, foot - scale * plan.extent[1] - 0.02 * height)
    foot -= slack * rng.uniform(0.2, 0.7)
    follow = plan.follow * scale * persons[0].path[:, 0]
    follow = follow - follow.mean()
    angle = rng.uniform(-2.6, -0.5)
    return Camera(
        focal=scale * distance, distance=distance, height=eye, horizon=foot - scale * eye, width=width,
        moves=moves(frames, width, height, rng, follow=follow), light=(float(np.cos(angle)), float(np.sin(angle))),
    )  # fmt: skip


def _foreground(plan: Plan, distance: float, frames: int, rng: np.random.Generator) -> list[Solid]:
    """A post, a bench or a bush between the camera and the people."""
    x, z = rng.choice([-1, 1]) * plan.extent[0] * rng.uniform(0.1, 0.45), 0.25 * distance
    low, thick = np.array([x, 0.0, z]), rng.uniform(0.02, 0.045) * plan.extent[1]
    if rng.random() < 0.5:
        ends = [low, low + np.array([0.0, rng.uniform(0.5, 2.5), 0.0])]
    else:
        top = rng.uniform(0.1, 0.3) * plan.extent[1]
        ends = [low + np.array([aside, top, 0.0]) for aside in (-0.8, 0.8)]
    return [hull([np.broadcast_to(end, (frames, 3)) for end in ends], [thick] * 2, dye(rng), part=SCENERY)]


def frames_of(take: Take, labelled: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Any] | None]]:
    """Draw a video.

    Args:
        take: What to draw.
        labelled: (T,) which frames to annotate.

    Yields:
        A BGR picture (H, W, 3) uint8 (reused: copy it to keep it) and its annotation.
    """
    width, height = take.size
    picture = np.empty((height, width, 3), np.uint8)
    identity = np.zeros((height, width), np.uint8)
    offset = np.array([MARGIN * width, MARGIN * height])
    full = [render.areas(sprite) for sprite in take.sprites[: len(take.persons)]]
    for frame, move in enumerate(take.moves):
        warp = move.copy()
        warp[:, 2] -= move[:, :2] @ offset
        cv2.warpAffine(take.background, warp, take.size, dst=picture, borderMode=cv2.BORDER_REFLECT_101)
        if labelled[frame]:
            identity[:] = 0
        render.draw(picture, identity if labelled[frame] else None, take.sprites, frame)
        shown = cv2.GaussianBlur(picture, (0, 0), take.blur) if take.blur else picture
        cv2.convertScaleAbs(shown, dst=shown, alpha=float(take.gain[frame]))
        yield shown, _annotation(take, identity, full, frame) if labelled[frame] else None


def _annotation(take: Take, identity: np.ndarray, full: list[dict[int, np.ndarray]], frame: int) -> dict[str, Any]:
    humans = []
    for person, sprite, whole in zip(take.persons, take.sprites, full, strict=False):
        extents = render.extents(identity, sprite, whole, frame)
        first = min(whole)
        pixels = np.count_nonzero((identity >= first) & (identity < first + render.IDS_PER_PERSON))
        written = annotate.human(
            extents,
            {part: str(names[frame]) for part, names in person.states.items()},
            number=len(humans) + 1,
            seen=pixels / max(sum(float(area[frame]) for area in whole.values()), 1.0) * 1.4,
            habit=person.habit,
            size=take.size,
            rng=take.rng,
        )
        if written:
            humans.append(written)
    return {"humans": humans}
