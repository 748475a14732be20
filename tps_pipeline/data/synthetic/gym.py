"""Motions of the gym: push-ups, pull-ups, raises, lunges, the bag and the barbell lifts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic import props
from tps_pipeline.data.synthetic.motion import Motion, Style, both, keyed, points, pulse, wave
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Pose

HOLD = {"left": "hold", "right": "hold"}
"""The state of hands that hold something loose."""

GRAB = {"left": "grab", "right": "grab"}
"""The state of hands that hold on to something fixed."""


def push_up(t: np.ndarray, style: Style, body: Body) -> Motion:
    """A plank on toes and hands; the shoulders go down and up."""
    down = wave(style.cycle(t, 0.55), 1.3) * np.clip(0.75 * style.amplitude, 0.5, 1)
    arm = body.length("upper_arm") + body.length("forearm")
    height = 0.06 + arm * (0.97 - 0.62 * down)
    reach = body.length("torso") + body.length("thigh") + body.length("shin")
    pitch = 90 - np.rad2deg(np.arcsin(np.clip((height - 0.16) / reach, -0.2, 0.9)))
    sag = style.rng.uniform(-8, 6)
    angles = {"body_pitch": pitch, "head_pitch": style.rng.uniform(10, 45) + 0 * t, **both(hip_flex=sag, knee=2.0)}
    angles |= both(ankle=-30.0 + 0 * t)
    forward = np.cos(np.deg2rad(90 - pitch)).mean() * body.length("torso") + style.rng.uniform(-0.05, 0.08)
    width = body.length("shoulders") * style.rng.uniform(0.55, 0.95)
    hands = {side: points(sign * width, 0.03, forward) for side, sign in SIDES.items()}
    return Motion(Pose(angles, hands, rooted=False))


def pull_ups(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Hanging from a bar, chin over it and back."""
    up = wave(style.cycle(t, 0.4), 1.2)
    arm = body.length("upper_arm") + body.length("forearm")
    bar = body.stature * 1.32
    shoulder = bar - arm * (0.98 - 0.68 * up * np.clip(style.amplitude, 0.7, 1.1))
    width = body.length("shoulders") * style.rng.uniform(0.6, 1.1)
    lean = style.rng.uniform(-2, 14)
    angles = {"body_pitch": -lean * up, "head_pitch": 8 + 25 * up, **both(knee=style.rng.choice([5, 80]) + 10 * up)}
    angles |= both(hip_flex=style.rng.uniform(0, 20) + 14 * up, ankle=25.0 + 0 * t)
    hands = {side: points(sign * width, bar, 0.06) for side, sign in SIDES.items()}
    pose = Pose(angles, hands, "body", shoulder - body.length("torso"))
    return Motion(pose, grips=GRAB, props=(props.high_bar,))


def front_raises(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Straight arms raised forward with dumbbells, together or in turn."""
    cycle, apart = style.cycle(t, 0.45), style.rng.choice([0.0, np.pi])
    angles: dict[str, Any] = {"spine_pitch": style.rng.uniform(-4, 8) + 0 * t}
    for side, sign in SIDES.items():
        up = wave(cycle + (apart if sign > 0 else 0), 1.4)
        angles[f"{side}_shoulder_flex"] = 4 + style.rng.uniform(80, 100) * up
        angles[f"{side}_shoulder_abd"] = 8.0
        angles[f"{side}_elbow"] = 8 + 6 * up
    angles |= both(hip_abd=style.rng.uniform(3, 11), knee=style.rng.uniform(2, 10))
    return Motion(Pose(angles), grips=HOLD, props=(props.dumbbells,))


def lunge(t: np.ndarray, style: Style, body: Body) -> Motion:
    """One leg forward, the rear knee to the floor, sides in turn."""
    cycle = style.cycle(t, 0.35)
    left, right = pulse(cycle, 0.5), pulse(cycle + np.pi, 0.5)
    angles: dict[str, Any] = {"spine_pitch": 4 + 6 * (left + right)}
    for side, front, rear in (("left", left, right), ("right", right, left)):
        angles[f"{side}_hip_flex"] = 85 * front - 22 * rear
        angles[f"{side}_knee"] = 4 + 88 * front + 88 * rear
        angles[f"{side}_ankle"] = -3 - 5 * front + 2 * rear
    loaded = style.rng.random() < 0.6
    arms = both(shoulder_abd=10.0) if loaded else both(shoulder_abd=28.0, shoulder_flex=-12.0, elbow=95.0)
    return Motion(Pose(angles | arms), grips=HOLD if loaded else {}, props=(props.dumbbells,) if loaded else ())


def punching_bag(t: np.ndarray, style: Style, body: Body) -> Motion:
    """A guard, and quick straight punches at a hanging bag, hands in turn."""
    cycle = style.cycle(t, 1.1)
    jab, cross = pulse(cycle, 0.33), pulse(cycle + 0.85 * np.pi, 0.36) * (np.sin(0.31 * cycle) > -0.3)
    shoulder = body.stature * 0.80
    height = shoulder + style.rng.uniform(-0.08, 0.10)
    angles: dict[str, Any] = {"spine_pitch": 10 + 3 * np.sin(cycle), "spine_yaw": 25 * cross - 22 * jab}
    angles |= {"left_hip_flex": 22.0, "left_knee": 24 + 5 * np.sin(cycle), "right_hip_flex": -14.0, "right_knee": 28.0}
    angles |= {"right_ankle": 14 + 18 * cross, "left_hip_abd": 8.0, "right_hip_abd": 10.0}
    hands = {}
    for side, sign, punch in (("left", 1, jab), ("right", -1, cross)):
        guard = np.array([0.12 * sign, shoulder + 0.06, 0.24])
        bag = np.array([0.04 * sign, height, 0.70])
        hands[side] = guard + punch[:, None] * (bag - guard)
    target = np.array([0.0, height, 0.85])
    return Motion(Pose(angles, hands), props=(props.heavy_bag,), target=target)


def _lift(t: np.ndarray, style: Style, body: Body, *, keys: list[tuple[float, float, float]], wide: float) -> Motion:
    """A barbell lift from keys of (seconds, squat 0-1, height of the hands as a share of stature)."""
    length = keys[-1][0] / style.tempo
    clock = (t + style.phase / (2 * np.pi) * length) % length * style.tempo
    times = [key[0] for key in keys]
    squat = keyed(clock, times, [key[1] for key in keys])
    height = keyed(clock, times, [key[2] for key in keys]) * body.stature
    overhead = np.clip((height / body.stature - 0.85) / 0.3, 0, 1)
    stoop = 52 * squat * (1 - 0.85 * overhead) * np.clip(1 - (height / body.stature - 0.12) / 0.5, 0.15, 1)
    angles = {"spine_pitch": stoop, "head_pitch": 0.5 * stoop}
    angles |= both(hip_flex=88 * squat, knee=104 * squat, hip_abd=6 + 10 * squat, leg_twist=14.0)
    width = wide * body.length("shoulders")
    depth = 0.14 + 0.22 * squat - 0.12 * overhead
    hands = {side: points(sign * width, height, depth) for side, sign in SIDES.items()}
    return Motion(Pose(angles, hands), grips=HOLD, props=(props.barbell,), loaded=True)


def deadlifting(t: np.ndarray, style: Style, body: Body) -> Motion:
    """The bar from the floor to straight hips, and back."""
    keys = [(0, 1, 0.13), (0.5, 1, 0.13), (1.5, 0.05, 0.42), (2.3, 0, 0.42), (3.2, 1, 0.13)]
    return _lift(t, style, body, keys=keys, wide=0.75)


def snatch_weight_lifting(t: np.ndarray, style: Style, body: Body) -> Motion:
    """The bar from the floor over the head in one pull, wide grip."""
    keys = [(0, 1, 0.13), (0.7, 0.95, 0.14), (1.2, 0.1, 0.62), (1.5, 0.95, 0.90), (2.0, 0.9, 0.92), (2.9, 0, 1.2),
            (4.2, 0, 1.2), (4.8, 0.8, 0.14), (5.2, 1, 0.13)]  # fmt: skip
    return _lift(t, style, body, keys=keys, wide=1.7)


def clean_and_jerk(t: np.ndarray, style: Style, body: Body) -> Motion:
    """The bar to the shoulders, a stand, then over the head."""
    keys = [(0, 1, 0.13), (0.6, 0.95, 0.14), (1.1, 0.1, 0.6), (1.4, 0.9, 0.5), (2.1, 0, 0.80), (3.1, 0, 0.80),
            (3.4, 0.2, 0.76), (3.7, 0.15, 1.2), (4.9, 0, 1.24), (5.5, 0.8, 0.14), (5.8, 1, 0.13)]  # fmt: skip
    return _lift(t, style, body, keys=keys, wide=0.95)
