"""Who is in a varied picture, and where: one near person or a crowd, upright or in any pose, large, small, cut off."""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic import sport
from tps_pipeline.data.synthetic.camera import Camera, drift, moves
from tps_pipeline.data.synthetic.cast import ACTIONS, Role, manner
from tps_pipeline.data.synthetic.motion import Motion, Style
from tps_pipeline.data.synthetic.skeleton import LIMITS, Body, Pose
from tps_pipeline.data.synthetic.varied.wardrobe import stranger

NOBODY = 0.04
"""Share of the videos without anybody."""

SMALLEST, LARGEST = 0.14, 1.6
"""Bounds of the main person's height as a share of the picture's; even in its logarithm."""

FEWEST_PIXELS = 28
"""The main person is at least so tall."""

MOST = 14
"""People in a picture, at most."""


def roles(action: str, camera: Camera, size: tuple[int, int], rng: np.random.Generator) -> list[Role]:
    """The main person, who performs the action, and others who do anything.

    Args:
        action: What the first does.
        camera: Places are chosen where it sees them.
        size: Width and height of the picture.
        rng: Source of all choices.
    """
    if rng.random() < NOBODY:
        return []
    count = int(rng.choice([1, 2, 3, 4, 6, 9, MOST], p=[0.35, 0.25, 0.15, 0.1, 0.08, 0.05, 0.02]))
    spread = rng.choice([0.05, 0.3, 0.8])
    crowded, made = rng.random() < 0.4, []
    for index in range(count):
        nearer = float(np.exp(rng.normal(0, spread))) if index else 1.0
        column = rng.uniform(0.12, 0.88) if index == 0 else rng.uniform(-0.1, 1.1)
        z = camera.distance * (1 - 1 / min(nearer, 2.5))
        x = (column - 0.5) * size[0] * (camera.distance - z) / camera.focal
        if crowded and made and rng.random() < 0.7:
            beside = made[rng.integers(len(made))].place
            x, z = beside[0] + rng.normal(0, 0.6), min(beside[1] + rng.normal(0, 0.5), 0.6 * camera.distance)
        made.append(_role(action if index == 0 else None, (float(x), float(z)), rng))
    return made


def _role(action: str | None, place: tuple[float, float], rng: np.random.Generator) -> Role:
    """Somebody at a place (x, z) in metres."""
    turn = float(rng.uniform(-180, 180))
    if action is None and rng.random() < 0.55:
        motion = (sport.idle, sport.walk, anything, anything)[rng.integers(4)]
        return Role(motion, manner(rng), stranger(rng), place, turn, rng.random() < 0.5)
    plan = ACTIONS[action or str(rng.choice(list(ACTIONS)))]
    return Role(plan.motion, manner(rng), stranger(rng), place, turn, rng.random() < 0.5, plan.gloves)


def anything(t: np.ndarray, style: Style, body: Body) -> Motion:
    """From one pose that joints allow into another: running, falling, tumbling, dancing."""
    rng = style.rng
    calm = rng.uniform(0.1, 0.5)
    angles: dict[str, Any] = {}
    share = np.zeros_like(t)
    for name, (low, high) in LIMITS.items():
        rest = float(np.clip(rng.normal(0.12, 0.2), 0, 1)) * high if low > -70 else 0.0
        first, second = rng.uniform(low, high, 2)
        share = 0.5 + 0.5 * np.sin(style.cycle(t, 0.5) + rng.uniform(0, 6))
        angles[name] = (1 - calm) * rest + calm * (first + share * (second - first))
    tumbling = rng.random() < 0.15
    angles["body_pitch"] = rng.uniform(-180, 180) + 30 * share if tumbling else rng.normal(6, 14) + 0 * t
    angles["body_roll"] = rng.normal(0, 60 if tumbling else 8) + 0 * t
    height = rng.uniform(0.2, 1.6) * body.stature if tumbling else 0.0
    return Motion(Pose(angles, support="body" if tumbling else "feet", height=height, rooted=False))


def camera(frames: int, size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """A camera at any height and distance, to whom the main person is of any size."""
    width, height = size
    tall = max(FEWEST_PIXELS, height * np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    scale, distance = tall / 1.72, float(np.exp(rng.uniform(np.log(2.5), np.log(25))))
    eye = rng.uniform(0.3, 3.0)
    middle = rng.uniform(0.3, 0.75) * height if tall < height else height * 0.5 + rng.uniform(-0.5, 0.5) * tall
    turns = moves(frames, width, height, rng, follow=0.0)
    if rng.random() < 0.3:
        turns = rolled(turns, rng.normal(0, 12) + 3 * drift(frames, rng), size)
    light = rng.uniform(-np.pi, np.pi)
    return Camera(
        focal=scale * distance, distance=distance, height=eye, horizon=middle - scale * (eye - 0.9), width=width,
        moves=turns, light=(float(np.cos(light)), float(np.sin(light))),
    )  # fmt: skip


def rolled(turns: np.ndarray, degrees: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Similarities (T, 2, 3) with a roll about the picture's centre added."""
    angle = np.deg2rad(degrees)
    roll = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    centre = np.asarray(size) / 2
    shift = np.einsum("tij,tj->ti", roll, turns[..., 2] - centre) + centre
    return np.concatenate([roll @ turns[..., :2], shift[..., None]], axis=-1)
