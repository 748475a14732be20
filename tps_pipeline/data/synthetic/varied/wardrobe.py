"""Bodies of all proportions, and what they wear: loose and tight clothes, several colours a limb, hair, bags, hats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tps_pipeline.data.synthetic.look import HAIRS, dress, dye, solids
from tps_pipeline.data.synthetic.shapes import SCENERY, TRUNK, Colour, Solid, hull
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Joints
from tps_pipeline.data.synthetic.varied.surfaces import tint
from tps_pipeline.labels import PARTS

_FEATURE = 0.012
"""Metres of radius below which a solid is a feature (an eye, a mouth), which blurred pictures do not show."""


def stranger(rng: np.random.Generator) -> Body:
    """A child or an adult, slight or heavy, of any build."""
    stature = rng.uniform(0.95, 1.45) if rng.random() < 0.15 else rng.normal(1.72, 0.11)
    head = rng.uniform(0.95, 1.3) * (1.25 if stature < 1.45 else 1)
    girth = float(np.exp(rng.normal(0.12, 0.22)))
    return Body(float(np.clip(stature, 0.9, 2.1)), girth, head, rng.uniform(0.9, 1.08))


def clothed(joints: Joints, body: Body, rng: np.random.Generator, glove_size: float) -> list[Solid]:
    """All solids of a person who wears anything (`look.Clothe`)."""
    look = dress(rng, gloves=glove_size > 1)
    look = replace(look, **{name: _cloth(rng) for name in ("shirt", "second", "trousers", "shoes")})
    size = body.stature / 1.72 * body.girth
    made = solids(joints, body, look, glove_size=glove_size)
    loose = {look.shirt: rng.uniform(0.9, 1.5), look.trousers: rng.uniform(0.95, 1.6)}
    if rng.random() < 0.5:
        made = [solid for solid in made if solid.radii.max() > _FEATURE * body.head]
    made = [replace(solid, radii=solid.radii * loose.get(solid.colour, 1.0)) for solid in made]
    made += [band for side in SIDES for band in _bands(joints, size, side, rng)]
    for chance, worn in ((0.15, _skirt), (0.2, _vest), (0.25, _hair), (0.2, _hat), (0.12, _bag), (0.25, _thing)):
        if rng.random() < chance:
            made += worn(joints, body, size, rng)
    return made


def _cloth(rng: np.random.Generator) -> Colour:
    return dye(rng) if rng.random() < 0.5 else tint(rng)


def _bands(joints: Joints, size: float, side: str, rng: np.random.Generator) -> list[Solid]:
    """Socks, half sleeves, knee pads, shorts: stretches of a limb in a colour of their own."""
    limbs = (
        (0.35, "shoulder", "elbow", (0.0, rng.uniform(0.3, 0.9)), 0.062, f"{side}_arm"),
        (0.2, "elbow", "wrist", (rng.uniform(0.0, 0.7), 1.0), 0.042, f"{side}_arm"),
        (0.35, "hip", "knee", (0.0, rng.uniform(0.4, 1.0)), 0.098, f"{side}_leg"),
        (0.35, "knee", "ankle", (rng.uniform(0.3, 0.8), 1.0), 0.05, f"{side}_leg"),
        (0.1, "hip", "knee", (0.75, 1.0), 0.075, f"{side}_leg"),
    )
    made = []
    for chance, start, stop, (low, high), radius, part in limbs:
        if rng.random() < chance:
            first, last = joints[f"{side}_{start}"], joints[f"{side}_{stop}"]
            ends = [first + share * (last - first) for share in (low, high)]
            radii = [radius * size * rng.uniform(0.9, 1.3) for _ in ends]
            made.append(hull(ends, radii, _cloth(rng), part=PARTS.index(part), bias=0.02))
    return made


def _skirt(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """A skirt, a dress or a coat, from the waist (or the shoulders) to somewhere on the legs."""
    share, wide = rng.uniform(0.3, 1.8), rng.uniform(0.9, 1.7)
    hem = []
    for side in SIDES:
        hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        hem.append(hip + share * (knee - hip) if share < 1 else knee + 0.8 * (share - 1) * (ankle - knee))
    colour = _cloth(rng)
    made = [hull([joints["left_hip"], joints["right_hip"], *hem], [0.1 * size] * 2 + [0.12 * size * wide] * 2, colour,
                 part=TRUNK, bias=0.08)]  # fmt: skip
    if rng.random() < 0.5:
        made.append(hull([joints["pelvis"], joints["chest"]], [0.15 * size, 0.14 * size], colour, bias=0.03))
    return made


def _vest(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """A second layer on the trunk: a vest, a bib, an armour, an open jacket's side."""
    low, high = rng.uniform(0.0, 0.4), rng.uniform(0.7, 1.0)
    spine = joints["chest"] - joints["pelvis"]
    aside = rng.uniform(-0.06, 0.06) * (joints["left_shoulder"] - joints["right_shoulder"])
    ends = [joints["pelvis"] + share * spine + aside for share in (low, high)]
    return [hull(ends, [rng.uniform(0.09, 0.16) * size for _ in ends], _cloth(rng), bias=0.06)]


def _hair(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """More hair: full, long, tied, or a beard."""
    radius, head, face, up = body.length("head") * body.head, joints["head"], joints["face"], joints["up"]
    colour, part = HAIRS[rng.integers(len(HAIRS))], PARTS.index("head")
    kind = int(rng.integers(3))
    if kind == 0:
        return [hull([head + 0.35 * radius * up - 0.35 * radius * face], [radius * rng.uniform(1.1, 1.5)], colour,
                     part=part, bias=-0.7 * radius)]  # fmt: skip
    if kind == 1:
        ends = [head - 0.8 * radius * face, head - radius * face - rng.uniform(1.5, 5) * radius * up]
        return [hull(ends, [0.8 * radius, 0.5 * radius], colour, part=part, bias=-0.2 * radius)]
    chin = head - 0.6 * radius * up + 0.45 * radius * face
    return [hull([chin], [0.55 * radius], colour, part=part, bias=0.4 * radius, facing=face)]


def _hat(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """A helmet, a hood, a hat with a brim."""
    radius, head, up, part = body.length("head") * body.head, joints["head"], joints["up"], PARTS.index("head")
    colour = _cloth(rng)
    made = [hull([head + rng.uniform(0.15, 0.5) * radius * up], [radius * rng.uniform(0.95, 1.25)], colour, part=part,
                 bias=0.3 * radius)]  # fmt: skip
    if rng.random() < 0.4:
        brim = [head + 0.5 * radius * up + sign * rng.uniform(1, 1.8) * radius * joints["face"] for sign in (-1, 1)]
        made.append(hull(brim, [0.3 * radius] * 2, colour, part=part, bias=0.35 * radius))
    return made


def _bag(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """A backpack or a bag at the hip: not a part of the person."""
    if rng.random() < 0.6:
        at = joints["pelvis"] + 0.7 * (joints["chest"] - joints["pelvis"]) - 0.17 * size * joints["front"]
    else:
        at = joints["left_hip"] + np.array([0.0, -0.05, 0.0])
    return [hull([at, at - np.array([0.0, rng.uniform(0.1, 0.35), 0.0])], [rng.uniform(0.08, 0.16)] * 2, _cloth(rng),
                 part=SCENERY)]  # fmt: skip


def _thing(joints: Joints, body: Body, size: float, rng: np.random.Generator) -> list[Solid]:
    """Something in a hand: a ball, a stick, a racket, a board."""
    side = str(rng.choice(list(SIDES)))
    wrist, hand = joints[f"{side}_wrist"], joints[f"{side}_hand"]
    along = rng.normal(0, 1, 3)
    reach = along / np.linalg.norm(along) * rng.choice([0.05, 0.4, 1.0])
    thick = float(rng.choice([0.015, 0.03, 0.12]))
    return [hull([hand + 0.2 * (hand - wrist), hand + reach], [thick, thick * rng.uniform(0.5, 3)], _cloth(rng),
                 part=SCENERY, bias=0.04)]  # fmt: skip
