"""What people look like: bodies, skin, hair and clothes, and the solids that draw them."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tps_pipeline.data.synthetic.shapes import Colour, Solid, hull
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Joints
from tps_pipeline.labels import PARTS

SKINS: tuple[Colour, ...] = (
    (180, 205, 240),
    (150, 180, 225),
    (120, 155, 205),
    (85, 120, 170),
    (60, 85, 130),
    (45, 60, 95),
)
"""Colours of skin, light to dark; blue, green, red."""

HAIRS: tuple[Colour, ...] = ((25, 25, 30), (35, 50, 75), (50, 85, 130), (90, 150, 200), (60, 70, 160), (170, 170, 175))
"""Colours of hair; blue, green, red."""


Clothe = Callable[[Joints, Body, np.random.Generator, float], list[Solid]]
"""Makes a person's solids of joints, body and the size of gloves (1 for none)."""


@dataclass(frozen=True)
class Look:
    """Colours and cuts of one person.

    Attributes:
        skin: Colour of the skin.
        hair: Colour of the hair.
        shirt: Colour of the upper body's clothes.
        second: Colour of the shirt's stripes or print.
        trousers: Colour of the lower body's clothes.
        shoes: Colour of the feet.
        gloves: Colour of the hands.
        sleeves: 0 none, 1 to the elbow, 2 to the wrist.
        shorts: Whether the shins are bare.
        stripes: Number of stripes across the shirt; 0 for a print on the chest.
        long_hair: Whether hair falls over the back.
        cap: Whether the hair is a cap with a peak.
        watch: Side of a wrist band, or none.
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    second: Colour
    trousers: Colour
    shoes: Colour
    gloves: Colour
    sleeves: int
    shorts: bool
    stripes: int
    long_hair: bool
    cap: bool
    watch: str | None


def dye(rng: np.random.Generator) -> Colour:
    """A random clothes colour: any hue, often muted."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.95), rng.uniform(0.15, 0.95))
    return 255 * blue, 255 * green, 255 * red


def dress(rng: np.random.Generator, *, gloves: bool = False) -> Look:
    """A random person's looks; `gloves` puts boxing gloves on."""
    skin = SKINS[rng.integers(len(SKINS))]
    skin = tuple(float(np.clip(value * rng.uniform(0.93, 1.06), 0, 255)) for value in skin)
    worn = gloves or rng.random() < 0.08
    return Look(
        skin=skin,  # pyright: ignore[reportArgumentType]
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=dye(rng),
        second=dye(rng),
        trousers=dye(rng),
        shoes=dye(rng) if rng.random() < 0.8 else skin,  # pyright: ignore[reportArgumentType]
        gloves=dye(rng) if worn else skin,  # pyright: ignore[reportArgumentType]
        sleeves=int(rng.choice([0, 1, 2], p=[0.3, 0.4, 0.3])),
        shorts=bool(rng.random() < 0.4),
        stripes=int(rng.choice([0, 0, 2, 4])),
        long_hair=bool(rng.random() < 0.4),
        cap=bool(rng.random() < 0.15),
        watch=str(rng.choice(["left", "right"])) if rng.random() < 0.35 else None,
    )


def figure(body: Body, rng: np.random.Generator) -> Body:
    """A body of random stature and girth, after a template's proportions."""
    return Body(body.stature * rng.uniform(0.93, 1.07), body.girth * rng.uniform(0.85, 1.2), body.head, body.legs)


def clothed(joints: Joints, body: Body, rng: np.random.Generator, glove_size: float) -> list[Solid]:
    """All solids of a person who is dressed at random (`Clothe`)."""
    return solids(joints, body, dress(rng, gloves=glove_size > 1), glove_size=glove_size)


def solids(joints: Joints, body: Body, look: Look, *, glove_size: float = 1.0) -> list[Solid]:
    """All solids of a person, by part."""
    size = body.stature / 1.72 * body.girth
    return [
        *_torso(joints, look, size),
        *_head(joints, body, look),
        *(solid for side in SIDES for solid in _arm(joints, look, size, side, glove_size)),
        *(solid for side in SIDES for solid in _leg(joints, look, size, side)),
    ]


def _torso(joints: Joints, look: Look, size: float) -> list[Solid]:
    hips, shoulders = [joints[f"{side}_hip"] for side in SIDES], [joints[f"{side}_shoulder"] for side in SIDES]
    pelvis, chest = joints["pelvis"], joints["chest"]
    waist = pelvis + 0.30 * (chest - pelvis)
    wide = [waist + 0.8 * (hip - pelvis) for hip in hips]
    inner = [chest + 0.82 * (shoulder - chest) for shoulder in shoulders]
    radius = [0.075 * size] * 2 + [0.10 * size] * 2
    made = [
        hull([*inner, *wide], radius, look.shirt),
        hull([*hips, *wide], [0.095 * size] * 2 + [0.088 * size] * 2, look.trousers, part=PARTS.index("hip")),
        hull([chest, joints["head"]], [0.055 * size, 0.05 * size], look.skin),
    ]
    for number in range(look.stripes):
        share = (number + 0.6) / (look.stripes + 0.4)
        ends = [low + share * (high - low) for low, high in zip(wide, inner, strict=True)]
        made.append(hull(ends, [0.022 * size] * 2, look.second, bias=0.10 * size, plain=True))
    if not look.stripes:
        front = joints["front"]
        print_ = [pelvis + share * (chest - pelvis) + 0.085 * size * front for share in (0.6, 0.8)]
        made.append(hull(print_, [0.05 * size] * 2, look.second, bias=0.04, facing=front, plain=True))
    belly = pelvis + 0.10 * size * joints["hip_front"]
    made.append(hull([belly], [0.022 * size], look.second, bias=0.05, facing=joints["hip_front"],
                     part=PARTS.index("hip"), plain=True))  # fmt: skip
    return made


def _head(joints: Joints, body: Body, look: Look) -> list[Solid]:
    head, face, up = joints["head"], joints["face"], joints["up"]
    radius, part = body.length("head") * body.head, PARTS.index("head")
    aside = np.cross(up, face)
    skull = [head + 0.02 * radius * up + 0.06 * radius * face, head - 0.38 * radius * up + 0.12 * radius * face]
    back = head + 0.28 * radius * up - 0.22 * radius * face
    made = [
        hull(skull, [0.86 * radius, 0.74 * radius], look.skin, part=part),
        hull([back, head + 0.55 * radius * up + 0.25 * radius * face], [0.98 * radius, 0.78 * radius], look.hair,
             part=part, bias=-0.55 * radius),
        hull([back], [0.95 * radius], look.hair, part=part, bias=0.5 * radius, facing=-face - 0.1 * up),
    ]  # fmt: skip
    for sign in (-1, 1):
        eye = head + radius * (0.82 * face + 0.36 * sign * aside + 0.12 * up)
        made.append(hull([eye], [0.095 * radius], (30, 25, 25), part=part, bias=radius, facing=face, plain=True))
    mouth = [head + radius * (0.80 * face + 0.20 * sign * aside - 0.55 * up) for sign in (-1, 1)]
    made.append(hull(mouth, [0.05 * radius] * 2, (80, 75, 160), part=part, bias=radius, facing=face, plain=True))
    nose = [head + radius * (0.9 * face + 0.05 * up), head + radius * (1.12 * face - 0.2 * up)]
    dark = (look.skin[0] * 0.8, look.skin[1] * 0.8, look.skin[2] * 0.85)
    made.append(hull(nose, [0.08 * radius, 0.13 * radius], dark, part=part, bias=0.5 * radius, plain=True))
    if look.long_hair:
        tail = [back - 0.3 * radius * face, back - 0.5 * radius * face - 1.9 * radius * up]
        made.append(hull(tail, [0.75 * radius, 0.45 * radius], look.hair, part=part, bias=-0.1 * radius))
    if look.cap:
        peak = [head + radius * (0.75 * up + 0.6 * face), head + radius * (0.62 * up + 1.45 * face)]
        made.append(hull(peak, [0.4 * radius, 0.25 * radius], look.hair, part=part, bias=radius))
    return made


def _arm(joints: Joints, look: Look, size: float, side: str, glove_size: float) -> list[Solid]:
    shoulder, elbow, wrist, hand = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    arm, palm = PARTS.index(f"{side}_arm"), PARTS.index(f"{side}_hand")
    upper = look.shirt if look.sleeves else look.skin
    lower = look.shirt if look.sleeves == 2 else look.skin
    made = [
        hull([shoulder, elbow], [0.058 * size, 0.043 * size], upper, part=arm),
        hull([elbow, wrist], [0.043 * size, 0.030 * size], lower, part=arm, bias=0.01),
        hull([wrist + 0.25 * (hand - wrist), hand - 0.3 * (hand - wrist)],
             [0.034 * size * glove_size, 0.042 * size * glove_size], look.gloves, part=palm, bias=0.02),
    ]  # fmt: skip
    if look.watch == side:
        band = wrist - 0.12 * (wrist - elbow)
        made.append(hull([band], [0.040 * size], look.second, part=arm, bias=0.05, plain=True))
    return made


def _leg(joints: Joints, look: Look, size: float, side: str) -> list[Solid]:
    hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    heel, toe = joints[f"{side}_heel"], joints[f"{side}_toe"]
    leg, foot = PARTS.index(f"{side}_leg"), PARTS.index(f"{side}_foot")
    lower = look.skin if look.shorts else look.trousers
    sole = [ankle, heel + np.array([0, 0.03, 0]), toe + np.array([0, 0.02, 0])]
    return [
        hull([hip, knee], [0.088 * size, 0.060 * size], look.trousers, part=leg),
        hull([knee, ankle], [0.058 * size, 0.040 * size], lower, part=leg, bias=0.01),
        hull(sole, [0.040 * size, 0.036 * size, 0.030 * size], look.shoes, part=foot, bias=0.02),
    ]
