"""What people hold, hang from, ride and hit. Each function builds solids in the person's frame from the joints."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tps_pipeline.data.synthetic.motion import Prop, points
from tps_pipeline.data.synthetic.shapes import SCENERY, Colour, Solid, disc, hull
from tps_pipeline.data.synthetic.skeleton import SIDES, Joints

OBJECTS: tuple[str, ...] = (
    "ball", "bar", "barbell", "bat", "discus", "dumbbell", "mechanical_bull", "rope", "sandbag", "skateboard",
)  # fmt: skip
"""Names of the objects that are drawn."""

STEEL: Colour = (165, 160, 155)
"""Blue, green, red."""

WOOD: Colour = (70, 120, 175)
"""Blue, green, red."""


def _paint(rng: np.random.Generator, low: int = 20, high: int = 235) -> Colour:
    blue, green, red = rng.uniform(low, high, 3)
    return float(blue), float(green), float(red)


def _bar(start: np.ndarray, stop: np.ndarray, radius: float, colour: Colour, **more: object) -> Solid:
    return hull([start, stop], [radius, radius], colour, **({"part": SCENERY} | more))


def barbell(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """A bar through both hands with one to three plates a side."""
    left, right = joints["left_hand"], joints["right_hand"]
    centre, axis = (left + right) / 2, left - right
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    solids = [_bar(centre - 1.05 * axis, centre + 1.05 * axis, 0.014, STEEL, bias=0.12)]
    for number in range(rng.integers(1, 4)):
        colour, radius = _paint(rng), rng.uniform(0.15, 0.23)
        for sign in (-1, 1):
            middle = centre + sign * (0.74 + 0.07 * number) * axis
            solids.append(disc(middle, axis, radius, colour, part=SCENERY))
            solids.append(disc(middle + sign * 0.02 * axis, axis, 0.3 * radius, STEEL, part=SCENERY, bias=0.02))
    return solids


def dumbbells(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """One in each hand, across the forearm."""
    colour = _paint(rng, 20, 120)
    solids = []
    for side in SIDES:
        grip = (joints[f"{side}_hand"] + joints[f"{side}_wrist"]) / 2
        axis = np.cross(joints[f"{side}_hand"] - joints[f"{side}_wrist"], (0.0, 0.0, 1.0))
        axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
        solids.append(_bar(grip - 0.10 * axis, grip + 0.10 * axis, 0.016, STEEL, bias=0.03))
        solids += [disc(grip + sign * 0.10 * axis, axis, 0.06, colour, part=SCENERY) for sign in (-1, 1)]
    return solids


def high_bar(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """A horizontal bar at the hands between two posts."""
    height = joints["left_hand"][:, 1:2] * 0 + joints["left_wrist"][:, 1].mean() + 0.06
    zero, colour = np.zeros_like(height), _paint(rng, 40, 160)
    z = zero + joints["left_wrist"][:, 2:3]
    post = rng.uniform(0.75, 1.3)
    left, right = np.hstack([zero + post, height, z]), np.hstack([zero - post, height, z])
    posts = [_bar(top, top * (1, 0, 1), 0.04, colour, bias=-0.2) for top in (left, right)]
    return [_bar(left, right, 0.018, STEEL, bias=0.1), *posts]


def heavy_bag(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """A bag on a chain in front of the person; it swings when the hands come near."""
    shoulder = joints["chest"][:, 1].mean()
    hands = np.maximum(joints["left_hand"][:, 2], joints["right_hand"][:, 2])
    push = 0.25 * np.clip(hands - 0.55, 0, 0.3)
    push = np.convolve(np.pad(push, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    zero = np.zeros_like(push)
    top, bottom = points(zero, shoulder + 0.42, 0.93 + 0.3 * push), points(zero, shoulder - 0.65, 0.93 + push)
    hook = points(zero, shoulder + 1.6, 0.93)
    colour = _paint(rng, 15, 190)
    band = [top + (bottom - top) * share for share in (0.25, 0.4)]
    return [
        _bar(hook, top, 0.012, STEEL),
        hull([top, bottom], [0.15, 0.16], colour, part=SCENERY),
        hull(band, [0.153, 0.153], _paint(rng), part=SCENERY, bias=0.01, plain=True),
    ]


def bat(aim: np.ndarray) -> Prop:
    """A bat in both hands.

    Args:
        aim: (T,) where it points, degrees about the vertical axis from forward to the left.
    """

    def build(joints: Joints, rng: np.random.Generator) -> list[Solid]:
        grip = (joints["left_hand"] + joints["right_hand"]) / 2
        turn = np.deg2rad(aim)
        raised = 0.25 + 0.9 * (np.abs(aim) > 100)
        raised = np.convolve(np.pad(raised, 2, mode="edge"), np.ones(5) / 5, mode="valid")
        way = points(np.sin(turn), raised, np.cos(turn))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        colour = WOOD if rng.random() < 0.6 else _paint(rng)
        shape = [grip - 0.06 * way, grip + 0.30 * way], [grip + 0.30 * way, grip + 0.80 * way]
        return [hull(shape[0], [0.014, 0.02], colour, part=SCENERY, bias=0.05),
                hull(shape[1], [0.02, 0.036], colour, part=SCENERY, bias=0.05)]  # fmt: skip

    return build


def bull(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """The bucking machine under the pelvis: trunk, head, horns, a pillar, an air mat."""
    seat, front = joints["pelvis"], joints["hip_front"] * (1, 0.6, 1)
    colour = _paint(rng, 20, 150)
    belly = seat + np.array([0, -0.30, 0])
    head = belly + 0.72 * front + np.array([0, 0.16, 0])
    solids = [
        hull([belly - 0.45 * front, belly + 0.5 * front], [0.20, 0.20], colour, part=SCENERY),
        hull([belly + 0.5 * front, head], [0.14, 0.12], colour, part=SCENERY),
        hull([head, head + 0.16 * front - np.array([0, 0.08, 0])], [0.12, 0.07], colour, part=SCENERY),
        _bar(belly, belly * (0, 0, 0), 0.13, STEEL, bias=-0.3),
    ]
    for sign in (-1, 1):
        horn = head + np.array([0.10 * sign, 0.08, 0])
        solids.append(
            hull([horn, horn + np.array([0.09 * sign, 0.14, 0])], [0.03, 0.01], (215, 225, 230), part=SCENERY)
        )
    mat = points(np.zeros(len(seat)), 0.02, 0.0)
    return [disc(mat, points(np.zeros(len(seat)), 1.0, 0.0), 1.5, _paint(rng), part=SCENERY, bias=-3.0), *solids]


def skateboard(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """A deck with wheels under both feet."""
    left = (joints["left_heel"] + joints["left_toe"]) / 2
    right = (joints["right_heel"] + joints["right_toe"]) / 2
    axis = left - right
    nose, tail = left + 0.22 * axis - (0, 0.03, 0), right - 0.22 * axis - (0, 0.03, 0)
    wheels = [_bar(end - (0, 0.055, 0.05), end - (0, 0.055, -0.05), 0.03, (60, 60, 60)) for end in (left, right)]
    return [_bar(nose, tail, 0.022, _paint(rng), bias=-0.02), *wheels]


def discus(gone: np.ndarray) -> Prop:
    """A disc in the right hand.

    Args:
        gone: (T,) whether it has been thrown.
    """

    def build(joints: Joints, rng: np.random.Generator) -> list[Solid]:
        away = np.where(gone[:, None], (0.0, -50.0, 0.0), (0.0, 0.0, 0.0))
        axis = points(np.full(len(gone), 0.4), 1.0, 0.0)
        return [disc(joints["right_hand"] + away, axis, 0.11, _paint(rng), part=SCENERY, bias=0.02)]

    return build


def skipping_rope(cycle: np.ndarray) -> Prop:
    """A rope from hand to hand.

    Args:
        cycle: (T,) phase in radians; the rope passes the feet while the jump is highest.
    """

    def build(joints: Joints, rng: np.random.Generator) -> list[Solid]:
        left, right, colour = joints["left_hand"], joints["right_hand"], _paint(rng)
        turn = np.pi / 2 - cycle
        reach = joints["chest"][:, 1].mean() * 0.62
        swing = points(np.zeros(len(cycle)), -np.cos(turn) * reach, np.sin(turn) * reach)
        shares = np.linspace(0, 1, 9)
        chain = [
            left + (right - left) * (0.5 - 0.62 * np.cos(np.pi * u)) + np.sin(np.pi * u) ** 0.6 * swing for u in shares
        ]
        chain[0], chain[-1] = left, right
        return [_bar(a, b, 0.011, colour, plain=True) for a, b in pairwise(chain)]

    return build


def juggled_balls(cycle: np.ndarray) -> Prop:
    """Three balls on crossing arcs.

    Args:
        cycle: (T,) phase in radians of the hands; a ball flies for one turn and rests for half of one.
    """

    def build(joints: Joints, rng: np.random.Generator) -> list[Solid]:
        left, right = joints["left_hand"], joints["right_hand"]
        peak, solids = rng.uniform(0.45, 0.75), []
        for number in range(3):
            turn = cycle / (2 * np.pi) / 1.5 + number / 3
            leg, share = np.floor(turn * 1.0).astype(int), np.clip((turn % 1.0) * 1.5, 0, 1)[:, None]
            start = np.where((leg % 2 == 0)[:, None], left, right)
            stop = np.where((leg % 2 == 0)[:, None], right, left)
            centre = start + (stop - start) * share + np.array([0, 4 * peak, 0]) * share * (1 - share)
            solids.append(hull([centre], [0.045], _paint(rng, 60, 255), part=SCENERY, bias=0.1))
        return solids

    return build


def chalk(joints: Joints, rng: np.random.Generator) -> list[Solid]:
    """Squares painted on the ground along the way."""
    colour, solids = _paint(rng, 150, 255), []
    zero = np.zeros(len(joints["pelvis"]))
    for row in np.arange(-3.0, 3.0, 0.6):
        corners = [points(zero + x, 0.0, row + z) for x in (-0.24, 0.24) for z in (0.0, 0.5)]
        solids.append(hull(corners, [0.005] * 4, colour, part=SCENERY, bias=-9.0, plain=True))
    return solids
