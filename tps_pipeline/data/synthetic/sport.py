"""Sports and play: juggling, rope, baseball, bull, skateboard, discus, hopscotch, and a crawling baby."""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic import props
from tps_pipeline.data.synthetic.gym import HOLD
from tps_pipeline.data.synthetic.motion import Motion, Style, both, keyed, points, pulse, wave
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Pose


def juggling_balls(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Forearms circle in turn while three balls fly between the hands."""
    cycle = style.cycle(t, 1.3)
    hands = {}
    for side, sign in SIDES.items():
        turn = cycle + (0 if sign > 0 else np.pi)
        x = sign * (0.23 + 0.05 * np.cos(turn))
        hands[side] = points(x, body.stature * 0.60 + 0.07 * np.sin(turn) * style.amplitude, 0.30)
    angles = {"head_pitch": 14 + 4 * np.sin(cycle), **both(hip_abd=5.0, knee=5 + 2 * np.sin(cycle / 2))}
    return Motion(Pose(angles, hands), grips=HOLD, props=(props.juggled_balls(cycle),))


def skipping_rope(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Small jumps over a rope that the wrists turn."""
    cycle = style.cycle(t, 1.7)
    jump = 0.16 * np.clip(np.sin(cycle), 0, 1) * np.clip(style.amplitude, 0.7, 1.3)
    tuck = np.clip(np.sin(cycle), 0, 1)
    hands = {}
    for side, sign in SIDES.items():
        x = sign * (0.36 + 0.03 * np.sin(cycle))
        hands[side] = points(x, 0.54 * body.stature + jump + 0.04 * np.cos(cycle), 0.14 + 0.04 * np.sin(cycle))
    bent = 14 + 22 * (1 - tuck) + 6 * tuck
    angles = both(hip_flex=0.55 * bent, knee=bent, ankle=6 + 30 * tuck - 16 * (1 - tuck))
    pose = Pose(angles, hands, height=jump, rooted=False)
    return Motion(pose, grips=HOLD, props=(props.skipping_rope(cycle),))


def hitting_baseball(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Side on to the pitcher (who is to the left), bat behind the head; a step and a full swing."""
    length = 3.4 / style.tempo
    clock = (t + style.phase / (2 * np.pi) * length) % length * style.tempo
    times = [0.0, 1.2, 1.4, 1.75, 2.2, 2.8, 3.4]
    turn = keyed(clock, times, [-28, -34, -30, 42, 55, 20, -28])
    shoulder = 0.80 * body.stature
    x = keyed(clock, times, [-0.22, -0.26, -0.22, 0.12, 0.24, 0.05, -0.22])
    z = keyed(clock, times, [0.16, 0.12, 0.20, 0.42, 0.10, 0.25, 0.16])
    y = keyed(clock, times, [0.10, 0.12, 0.06, -0.18, 0.10, 0.0, 0.10]) + shoulder + 0.012 * np.sin(9 * t)
    aim = keyed(clock, times, [-150, -160, -150, 60, 170, 30, -150])
    hands = {"left": points(x, y, z), "right": points(x - 0.03, y + 0.05, z)}
    stride = keyed(clock, times, [0, 0, 1, 0, 0, 0, 0])
    angles = {"spine_pitch": 14 + 0 * t, "spine_yaw": turn, "hip_yaw": 0.6 * turn, "head_yaw": 55 - 0.9 * turn}
    angles |= both(hip_flex=24.0, knee=34.0)
    angles |= {"left_hip_abd": 18 + 12 * stride, "left_hip_flex": 24 + 30 * stride, "left_knee": 34 + 30 * stride}
    angles |= {"right_hip_abd": 18.0 + 0 * t, "right_ankle": -8 + 34 * np.clip(turn / 45, 0, 1)}
    return Motion(Pose(angles, hands), grips=HOLD, props=(props.bat(aim),))


def riding_mechanical_bull(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Astride a bucking machine, one hand on the rope, the other arm in the air."""
    cycle = style.cycle(t, 0.8)
    buck = 16 * style.amplitude * np.sin(cycle)
    seat = 1.05 + 0.07 * np.sin(cycle + 1)
    angles = {"body_pitch": buck, "spine_pitch": 12 - 1.3 * buck, "spine_roll": 8 * np.sin(0.7 * cycle)}
    angles |= both(hip_flex=62.0, hip_abd=42.0, knee=74 + 10 * np.sin(cycle), ankle=18.0)
    angles |= {"left_shoulder_flex": 110 + 25 * np.sin(cycle + 2), "left_shoulder_abd": 40 + 20 * np.sin(0.5 * cycle)}
    angles |= {"left_elbow": 40 + 20 * np.sin(cycle), "head_pitch": -8 + 0.6 * buck}
    hands = {"right": points(-0.03, seat + 0.10, 0.30)}
    yaw = 50 * np.sin(style.cycle(t, 0.22))
    pose = Pose(angles, hands, "body", seat)
    return Motion(pose, yaw, grips={"right": "grab"}, props=(props.bull,), seated=True)


def skateboarding(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Side on along a street: crouching, pushing, a jump with the board."""
    cycle = style.cycle(t, 0.38)
    pop = pulse(cycle, 0.28) * (style.rng.random() < 0.7)
    crouch = 0.35 + 0.4 * wave(2 * cycle) * style.amplitude
    height = 0.13 + 0.42 * pop
    angles = {"spine_pitch": 14 + 26 * crouch, "spine_yaw": 20 + 8 * np.sin(cycle), "head_yaw": 50.0 + 0 * t}
    angles |= both(hip_flex=30 + 50 * crouch + 25 * pop, knee=36 + 58 * crouch + 30 * pop, hip_abd=20.0)
    for side, sign in SIDES.items():
        angles[f"{side}_shoulder_abd"] = 34 + 30 * pop + 18 * np.sin(cycle + sign)
        angles[f"{side}_elbow"] = 22 + 16 * np.sin(1.3 * cycle + sign)
    speed = style.rng.uniform(0.5, 1.1)
    path = np.stack([speed * (t - t.mean()), 0.15 * np.sin(cycle)], axis=-1)
    pose = Pose(angles, height=height, rooted=False)
    return Motion(pose, path=path, props=(props.skateboard,), board=True)


def throwing_discus(t: np.ndarray, style: Style, body: Body) -> Motion:
    """A wind-up, one and a half turns with the arm stretched, the release."""
    length = 4.2 / style.tempo
    clock = (t + style.phase / (2 * np.pi) * length) % length * style.tempo
    times = [0.0, 0.8, 1.4, 2.5, 2.9, 3.6, 4.2]
    yaw = keyed(clock, times, [0, 45, -40, 360, 470, 520, 720])
    twist = keyed(clock, times, [0, -25, -50, -45, 40, 20, 0])
    swing = keyed(clock, times, [10, 35, 75, 78, 86, 50, 10])
    turning = ((clock > 1.4) & (clock < 2.9)).astype(float)
    angles: dict[str, Any] = {
        "spine_yaw": twist,
        "spine_pitch": 16 + 0 * t,
        **both(knee=24.0, hip_flex=18.0, hip_abd=13.0),
    }
    angles |= {"right_shoulder_abd": swing, "right_shoulder_flex": -8.0, "right_elbow": 12.0}
    angles |= {"left_shoulder_abd": 25 + 40 * turning, "left_shoulder_flex": 40.0, "left_elbow": 40.0}
    angles["left_hip_flex"] = 18 + 45 * pulse(4 * np.pi * clock / 2.2, 0.5) * turning
    angles["left_knee"] = 24 + 50 * pulse(4 * np.pi * clock / 2.2, 0.5) * turning
    gone = (clock > 2.85) & (clock < 3.9)
    return Motion(Pose(angles, rooted=False), yaw, grips={"right": "hold"}, props=(props.discus(gone),))


def hopscotch(t: np.ndarray, style: Style, body: Body) -> Motion:
    """Hops forward, on one foot and on two in turn."""
    cycle = style.cycle(t, 1.25)
    hop = np.clip(np.sin(cycle), 0, 1)
    single = (np.floor(cycle / (2 * np.pi)) % 3 != 2).astype(float)
    single = np.convolve(np.pad(single, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    bend = 24 + 18 * (1 - hop)
    angles: dict[str, Any] = {"spine_pitch": 12 + 6 * hop, **both(hip_flex=0.5 * bend, knee=bend, ankle=4 + 30 * hop)}
    angles |= {"left_hip_flex": 0.5 * bend + 22 * single, "left_knee": bend + 62 * single}
    for side, sign in SIDES.items():
        angles[f"{side}_shoulder_abd"] = 26 + 34 * hop
        angles[f"{side}_elbow"] = 50 + 22 * np.sin(cycle + sign)
    path = np.stack([0 * t, 0.55 * (t - t.mean()) * style.tempo], axis=-1)
    return Motion(Pose(angles, height=0.20 * hop, rooted=False), path=path, props=(props.chalk,))


def crawling_baby(t: np.ndarray, style: Style, body: Body) -> Motion:
    """On hands and knees, diagonal limbs together."""
    cycle = style.cycle(t, 0.8)
    angles: dict[str, Any] = {"body_pitch": 76 + 3 * np.sin(2 * cycle), "head_pitch": 42 + 12 * np.sin(0.3 * cycle)}
    angles |= {"head_yaw": 28 * np.sin(0.37 * cycle), "body_roll": 4 * np.sin(cycle)}
    hands = {}
    reach = body.length("torso")
    for side, sign in SIDES.items():
        turn = cycle + (0 if sign > 0 else np.pi)
        angles[f"{side}_hip_flex"] = 84 + 24 * np.sin(turn)
        angles[f"{side}_knee"] = 98 + 10 * np.sin(turn)
        angles[f"{side}_ankle"] = 50.0 + 0 * t
        lift = 0.07 * np.clip(-np.cos(turn), 0, 1)
        hands[side] = points(0.11 * sign, 0.02 + lift, reach + 0.03 - 0.10 * np.sin(turn))
    path = np.stack([0 * t, 0.22 * style.tempo * (t - t.mean())], axis=-1)
    return Motion(Pose(angles, hands, rooted=False), path=path)


def idle(t: np.ndarray, style: Style, body: Body) -> Motion:
    """A bystander: stands and shifts weight; arms hang, fold, or clap."""
    slow = style.cycle(t, 0.12)
    angles: dict[str, Any] = {"head_yaw": 22 * np.sin(slow), "spine_roll": 2 * np.sin(slow)}
    angles |= both(shoulder_abd=7.0, elbow=14.0, hip_abd=4.0, knee=4.0)
    habit = style.rng.random()
    hands = {}
    if habit < 0.2:
        gap = 0.02 + 0.16 * wave(style.cycle(t, 1.9))
        hands = {side: points(sign * gap, 0.72 * body.stature, 0.26) for side, sign in SIDES.items()}
    elif habit < 0.4:
        hands = {side: points(sign * 0.17, 0.585 * body.stature, 0.10) for side, sign in SIDES.items()}
    return Motion(Pose(angles, hands))


def walk(t: np.ndarray, style: Style, body: Body) -> Motion:
    """A bystander who walks past."""
    cycle = style.cycle(t, 0.9)
    angles: dict[str, Any] = {"spine_pitch": 3 + 0 * t}
    for side, sign in SIDES.items():
        turn = cycle + (0 if sign > 0 else np.pi)
        angles[f"{side}_hip_flex"] = 6 + 24 * np.sin(turn)
        angles[f"{side}_knee"] = 8 + 44 * np.clip(np.sin(turn + 1.1), 0, 1) ** 2
        angles[f"{side}_shoulder_flex"] = -22 * np.sin(turn)
        angles[f"{side}_elbow"] = 20.0 + 0 * t
    path = np.stack([0 * t, 0.9 * (t - t.mean())], axis=-1)
    return Motion(Pose(angles, rooted=False), path=path)
