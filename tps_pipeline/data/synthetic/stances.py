"""Standing as in martial arts or stretching: wide or long, knees straight or bent, held for a while.

The actions of the data set have none of it: whoever stands there on straight legs has them together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic.motion import Motion, Style, keyed
from tps_pipeline.data.synthetic.skeleton import LIMB_LIMITS, SIDES, Body, Pose

HELD = (0.4, 2.5)
"""Seconds from one stance to the next."""

SPREAD = 45.0
"""Degrees at most by which a straight leg leans aside; forward and back by half of it."""

LIMBS = ("hip_flex", "hip_abd", "leg_twist", "knee")
ARMS = ("shoulder_flex", "shoulder_abd", "elbow")


def stances(t: np.ndarray, style: Style, body: Body) -> Motion:
    """From one stance into another, on both feet, slowly; the arms are anywhere."""
    rng = style.rng
    times = [0.0]
    while times[-1] <= t[-1] or len(times) < 2:
        times.append(times[-1] + rng.uniform(*HELD))
    legs = [_legs(rng) for _ in times]
    angles: dict[str, Any] = {name: keyed(t, times, [each[name] for each in legs]) for name in legs[0]}
    for side in SIDES:
        for name in ARMS:
            low, high = LIMB_LIMITS[name]
            angles[f"{side}_{name}"] = keyed(t, times, rng.uniform(max(low, -30), min(high, 120), len(times)).tolist())
    angles["spine_pitch"] = keyed(t, times, rng.normal(4, 10, len(times)).tolist())
    yaw = keyed(t, times, np.cumsum(rng.normal(0, 20, len(times))).tolist())
    return Motion(Pose(angles), yaw=yaw)


def _legs(rng: np.random.Generator) -> dict[str, float]:
    """Angles of both legs with both feet on the ground: both straight, or one of them bent, with its shin upright."""
    bent, lean = (rng.permutation([*SIDES])[0] if rng.random() < 0.5 else None), rng.uniform(0, SPREAD)
    aside = rng.random() < 0.6
    thigh = np.rad2deg(np.arccos(np.clip(2 * np.cos(np.deg2rad(lean if aside else lean / 2)) - 1, -1, 1)))
    angles = dict.fromkeys([f"{side}_{name}" for side in SIDES for name in LIMBS], 0.0)
    for side, sign in SIDES.items():
        if side == bent:
            angles |= {f"{side}_hip_flex": thigh, f"{side}_knee": thigh, f"{side}_leg_twist": 40.0 * aside}
            continue
        angles[f"{side}_knee"] = rng.uniform(0, 8)
        if aside:
            angles[f"{side}_hip_abd"] = lean
        else:
            angles[f"{side}_hip_flex"] = -lean / 2 if bent else sign * lean / 2
    return angles
