"""Dances: line dancing, belly dancing, salsa."""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic.motion import Motion, Style, points, pulse, wave
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Pose


def country_line_dancing(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Steps to the side and back, a kick, a clap now and then; thumbs in the belt otherwise."""
    cycle = style.cycle(t, 0.9)
    bar = (cycle / (2 * np.pi)).astype(int) % 4
    lead, follow = pulse(cycle, 0.5), pulse(cycle + np.pi, 0.5)
    away = np.where(bar < 2, 1.0, -1.0)
    kick = (bar == 3) * follow
    angles: dict[str, Any] = {"spine_pitch": 4 + 0 * t, "spine_roll": 3 * np.sin(cycle / 2)}
    for side, sign in SIDES.items():
        lift = np.where(away * sign > 0, lead, follow)
        angles[f"{side}_hip_abd"] = 5 + 14 * np.where(away * sign > 0, lift, -0.2 * lift)
        angles[f"{side}_hip_flex"] = 26 * lift + (40 * kick if sign > 0 else 0)
        angles[f"{side}_knee"] = 6 + 46 * lift - (20 * kick if sign > 0 else 0)
    clap = (bar == 1) * wave(cycle, 3.0)
    hands = {}
    for side, sign in SIDES.items():
        belt = points(0.21 * sign, 0.57 * body.stature, 0.08)
        meet = points(0.015 * sign, 0.74 * body.stature, 0.32)
        hands[side] = belt + clap[:, None] * (meet - belt)
    return Motion(Pose(angles, hands), yaw=style.rng.choice([0, 1]) * 90 * (np.floor(cycle / (8 * np.pi)) % 2))


def belly_dancing(t: np.ndarray, style: Style, body: Body) -> Motion:
    """The hips turn and tilt, the arms hang in the air in waves, small steps on the balls of the feet."""
    cycle, slow = style.cycle(t, 1.15), style.cycle(t, 0.3)
    angles: dict[str, Any] = {"hip_yaw": 24 * style.amplitude * np.sin(cycle), "body_roll": 5 * np.sin(cycle)}
    angles |= {"spine_yaw": -7 * np.sin(cycle), "spine_roll": -6 * np.sin(cycle), "head_roll": 8 * np.sin(slow)}
    base = style.rng.uniform(55, 90)
    for side, sign in SIDES.items():
        ripple = np.sin(slow + sign * 1.1)
        angles[f"{side}_shoulder_abd"] = base + 14 * ripple
        angles[f"{side}_shoulder_flex"] = 15 + 12 * np.cos(slow)
        angles[f"{side}_arm_twist"] = 55 + 25 * np.cos(slow + sign)
        angles[f"{side}_elbow"] = 62 + 24 * np.cos(slow + 1.7 * sign)
        lift = np.clip(np.sin(cycle / 2 + (0 if sign > 0 else np.pi)), 0, 1)
        angles[f"{side}_hip_flex"] = 10 + 20 * lift
        angles[f"{side}_knee"] = 16 + 36 * lift
        angles[f"{side}_ankle"] = 2 + 34 * lift
    return Motion(Pose(angles), yaw=35 * np.sin(slow * 0.6))


def salsa_dancing(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Forward and back steps in a couple's hold, with hip motion."""
    cycle = style.cycle(t, 0.85)
    angles: dict[str, Any] = {
        "hip_yaw": 14 * np.sin(cycle),
        "body_roll": 3 * np.sin(cycle),
        "spine_roll": -4 * np.sin(cycle),
    }
    for side, sign in SIDES.items():
        step = pulse(cycle + (0 if sign > 0 else np.pi), 0.5)
        angles[f"{side}_hip_flex"] = 4 + 22 * step * np.sign(sign * np.sin(cycle / 2) + 0.01)
        angles[f"{side}_knee"] = 10 + 30 * step
    sway = 0.04 * np.sin(cycle)
    shoulder = 0.80 * body.stature
    hands = {
        "left": points(0.42, shoulder + 0.10 + sway, 0.26),
        "right": points(-0.19, shoulder - 0.12, 0.46 + sway),
    }
    return Motion(Pose(angles, hands), grips={"left": "hold"})
