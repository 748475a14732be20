"""An articulated body: segment lengths, joint limits, forward kinematics for all frames of a video at once.

The person's frame is right-handed: x to the person's left, y up, z forward; metres. Angles are degrees, arrays of
length T (the video's frames). Positive flexion moves a thigh or an upper arm forward, a forearm toward the upper arm,
a shin toward the thigh; a positive ankle points the toes down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tps_pipeline.labels import swap

Angles = dict[str, np.ndarray]
"""Degrees (T,) of each degree of freedom, by name."""

Joints = dict[str, np.ndarray]
"""Positions (T, 3) in metres, and the `DIRECTIONS`, by name."""

SIDES: dict[str, int] = {"left": 1, "right": -1}
"""The sign of each side on the axis from right to left."""

TRUNK_LIMITS: dict[str, tuple[float, float]] = {
    "body_pitch": (-180, 180), "body_roll": (-180, 180), "hip_yaw": (-45, 45),
    "spine_pitch": (-30, 100), "spine_roll": (-40, 40), "spine_yaw": (-60, 60),
    "head_yaw": (-80, 80), "head_pitch": (-50, 60), "head_roll": (-40, 40),
}  # fmt: skip
"""Degrees between which the trunk's and the head's angles stay."""

LIMB_LIMITS: dict[str, tuple[float, float]] = {
    "shoulder_flex": (-60, 190), "shoulder_abd": (-55, 95), "arm_twist": (-110, 110), "elbow": (0, 150),
    "hip_flex": (-30, 130), "hip_abd": (-30, 65), "leg_twist": (-45, 55), "knee": (0, 150), "ankle": (-35, 60),
}  # fmt: skip
"""Degrees between which the angles of an arm and a leg stay, on both sides."""

LIMITS = TRUNK_LIMITS | {f"{side}_{name}": limits for side in SIDES for name, limits in LIMB_LIMITS.items()}
"""Range of each angle in degrees: the usual clinical ranges of motion, a little wider where athletes exceed them."""

_SIGNED = {"body_roll", "hip_yaw", "spine_roll", "spine_yaw", "head_yaw", "head_roll"}
_STANCE_SHARPNESS = 40.0  # 1/m: how quickly the weight moves to the lower foot


@dataclass(frozen=True)
class Body:
    """Segment lengths as fractions of stature (after Drillis and Contini, 1966), and how thick the limbs are.

    Attributes:
        stature: Height in metres.
        girth: Multiplier of every limb's radius.
        head: Multiplier of the head's size (a baby's is larger).
        legs: Multiplier of the legs' length.
    """

    stature: float = 1.72
    girth: float = 1.0
    head: float = 1.0
    legs: float = 1.0

    def length(self, segment: str) -> float:
        """Length of a segment in metres."""
        scale = self.legs if segment in ("thigh", "shin") else 1.0
        return _LENGTHS[segment] * self.stature * scale


_LENGTHS = {
    "upper_arm": 0.180, "forearm": 0.150, "hand": 0.085, "thigh": 0.245, "shin": 0.240, "sole": 0.042,
    "heel": 0.035, "toe": 0.105, "torso": 0.285, "neck": 0.055, "head": 0.062, "shoulders": 0.215, "hips": 0.110,
}  # fmt: skip


@dataclass
class Pose:
    """What a motion prescribes, T frames of it.

    Attributes:
        angles: Some of `LIMITS`' angles, each (T,); those left out are 0, an ankle left out keeps the sole level.
        hands: Side -> (T, 3) wrist targets in the person's frame (y above the ground); they override that arm's angles.
        support: What carries the body: `feet` (on the ground), `body` (pelvis at `height`), `hands` (hanging
            from `height`).
        height: (T,) metres: of the ground under the feet, of the pelvis, or of the hands' hold, by `support`.
        rooted: Whether the standing foot stays where it is, so that stepping moves the body.
    """

    angles: Mapping[str, np.ndarray | float]
    hands: dict[str, np.ndarray] = field(default_factory=dict)
    support: str = "feet"
    height: np.ndarray | float = 0.0
    rooted: bool = True


def mirror(joints: Joints, angles: Angles) -> tuple[Joints, Angles]:
    """The mirror image of a posed body: x negated, left and right exchanged."""
    turned = {swap(name): -value if name in _SIGNED else value for name, value in angles.items()}
    return {swap(name): track * (-1, 1, 1) for name, track in joints.items()}, turned


def limited(angles: Mapping[str, np.ndarray | float], frames: int) -> Angles:
    """Every angle as a (T,) array inside `LIMITS`; ankles left out keep the sole level."""
    full = {name: np.broadcast_to(np.asarray(angles.get(name, 0.0), float), (frames,)) for name in LIMITS}
    for side in SIDES:
        if f"{side}_ankle" not in angles:
            level = full[f"{side}_hip_flex"] - full[f"{side}_knee"] - full["body_pitch"]
            full[f"{side}_ankle"] = level
    return {name: np.clip(full[name], low, high) for name, (low, high) in LIMITS.items()}


def rotation(axis: str, degrees: np.ndarray | float) -> np.ndarray:
    """Rotation matrices (T, 3, 3) about `x`, `y` or `z`, counter-clockwise seen from the axis' tip."""
    angle = np.atleast_1d(np.deg2rad(degrees))
    matrix = np.zeros((len(angle), 3, 3))
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix[:, i, i] = 1
    matrix[:, j, j] = matrix[:, k, k] = np.cos(angle)
    matrix[:, k, j] = np.sin(angle)
    matrix[:, j, k] = -matrix[:, k, j]
    return matrix


def forward(pose: Pose, body: Body, *, frames: int) -> tuple[Joints, Angles]:
    """Joint positions of a pose.

    Args:
        pose: What to do.
        body: Who does it.
        frames: T.

    Returns:
        Joints (T, 3) in the person's frame with the ground at y = 0 (`pelvis chest head crown face` and, per side,
        `shoulder elbow wrist hand hip knee ankle heel toe`; `face` and `front` are unit vectors out of the face
        and out of the chest, `hip_front` out of the pelvis), and the angles after limits and reaching.
    """
    angles = limited(pose.angles, frames)
    root = rotation("x", angles["body_pitch"]) @ rotation("z", angles["body_roll"])
    torso = root @ rotation("x", angles["spine_pitch"]) @ rotation("z", angles["spine_roll"])
    torso = torso @ rotation("y", angles["spine_yaw"])
    joints = _legs(angles, body, root @ rotation("y", angles["hip_yaw"]))
    joints |= _trunk(angles, body, torso)
    for name in joints:
        joints[name] = np.broadcast_to(joints[name], (frames, 3)).copy()
    offset = _offset(joints, pose)
    for name in joints:
        if name not in DIRECTIONS:
            joints[name] = joints[name] + offset
    for side in SIDES:
        if side in pose.hands:
            angles |= _reach(side, pose.hands[side], joints[f"{side}_shoulder"], torso, body)
        joints |= _arm(side, angles, body, torso, joints[f"{side}_shoulder"])
    if pose.support == "hands":
        lift = np.asarray(pose.height) - (joints["left_hand"][:, 1] + joints["right_hand"][:, 1]) / 2
        for name in joints.keys() - DIRECTIONS:
            joints[name][:, 1] += lift
    return joints, angles


DIRECTIONS = frozenset({"face", "front", "hip_front", "up"})
"""The entries of `Joints` that are directions, which turn with a body and don't move with it."""


def _along(frame: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    return frame @ np.array([x, y, z])


def _legs(angles: Angles, body: Body, pelvis: np.ndarray) -> Joints:
    joints = {"pelvis": np.zeros(3), "hip_front": _along(pelvis, 0, 0, 1)}
    for side, sign in SIDES.items():
        hip = rotation("x", -angles[f"{side}_hip_flex"]) @ rotation("z", sign * angles[f"{side}_hip_abd"])
        thigh = pelvis @ hip @ rotation("y", sign * angles[f"{side}_leg_twist"])
        shin = thigh @ rotation("x", angles[f"{side}_knee"])
        foot = shin @ rotation("x", angles[f"{side}_ankle"])
        joints[f"{side}_hip"] = _along(pelvis, sign * body.length("hips") / 2, 0, 0)
        joints[f"{side}_knee"] = joints[f"{side}_hip"] + _along(thigh, 0, -body.length("thigh"), 0)
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] + _along(shin, 0, -body.length("shin"), 0)
        sole = -body.length("sole")
        joints[f"{side}_heel"] = joints[f"{side}_ankle"] + _along(foot, 0, sole, -body.length("heel"))
        joints[f"{side}_toe"] = joints[f"{side}_ankle"] + _along(foot, 0, sole, body.length("toe"))
    return joints


def _trunk(angles: Angles, body: Body, torso: np.ndarray) -> Joints:
    skull = torso @ rotation("y", angles["head_yaw"]) @ rotation("x", -angles["head_pitch"])
    skull = skull @ rotation("z", angles["head_roll"])
    chest = _along(torso, 0, body.length("torso"), 0)
    radius = body.length("head") * body.head
    head = chest + _along(torso, 0, body.length("neck"), 0) + _along(skull, 0, radius, 0.25 * radius)
    joints = {"chest": chest, "head": head, "crown": head + _along(skull, 0, radius, 0)}
    joints |= {"face": _along(skull, 0, 0, 1), "front": _along(torso, 0, 0, 1), "up": _along(skull, 0, 1, 0)}
    for side, sign in SIDES.items():
        joints[f"{side}_shoulder"] = chest + _along(torso, sign * body.length("shoulders") / 2, -0.01, 0)
    return joints


def _arm(side: str, angles: Angles, body: Body, torso: np.ndarray, shoulder: np.ndarray) -> Joints:
    sign = SIDES[side]
    upper = torso @ rotation("x", -angles[f"{side}_shoulder_flex"])
    upper = upper @ rotation("z", sign * angles[f"{side}_shoulder_abd"])
    upper = upper @ rotation("y", sign * angles[f"{side}_arm_twist"])
    lower = upper @ rotation("x", -angles[f"{side}_elbow"])
    elbow = shoulder + _along(upper, 0, -body.length("upper_arm"), 0)
    wrist = elbow + _along(lower, 0, -body.length("forearm"), 0)
    return {f"{side}_elbow": elbow, f"{side}_wrist": wrist,
            f"{side}_hand": wrist + _along(lower, 0, -body.length("hand"), 0)}  # fmt: skip


def _offset(joints: Joints, pose: Pose) -> np.ndarray:
    """Translation (T, 3) that puts the body on its support."""
    offset = np.zeros_like(joints["pelvis"])
    if pose.support != "feet":
        offset[:, 1] = pose.height if pose.support == "body" else 0.0
        return offset
    contacts = [joints[f"{side}_{name}"][:, 1] for side in SIDES for name in ("heel", "toe")]
    knees = [joints[f"{side}_knee"][:, 1] - 0.05 for side in SIDES]
    offset[:, 1] = np.asarray(pose.height) - np.min(contacts + knees, axis=0)
    if pose.rooted:
        ankles = np.stack([joints[f"{side}_ankle"] for side in SIDES])
        weight = np.exp(-_STANCE_SHARPNESS * (ankles[..., 1] - ankles[..., 1].min(axis=0)))
        weight /= weight.sum(axis=0)
        slip = np.einsum("st,stc->tc", weight[:, 1:], np.diff(ankles, axis=1))
        offset[1:, [0, 2]] = -np.cumsum(slip, axis=0)[:, [0, 2]]
        offset[:, [0, 2]] -= (offset[:, [0, 2]] + ankles.mean(axis=0)[:, [0, 2]]).mean(axis=0)
    return offset


def _reach(side: str, target: np.ndarray, shoulder: np.ndarray, torso: np.ndarray, body: Body) -> Angles:
    """Arm angles that bring the wrist to a target: law of cosines, the elbow hanging down and outward."""
    sign, upper, lower = SIDES[side], body.length("upper_arm"), body.length("forearm")
    local = np.einsum("tij,ti->tj", torso, target - shoulder)
    distance = np.linalg.norm(local, axis=1, keepdims=True)
    direction = local / np.maximum(distance, 1e-6)
    nearest = np.sqrt(upper**2 + lower**2 - 2 * upper * lower * np.cos(np.deg2rad(180 - 150)))
    distance = np.clip(distance, nearest, 0.999 * (upper + lower))
    outward = np.array([0.45 * sign, -0.85, -0.25])
    pole = outward - direction * (direction @ outward)[:, None]
    pole /= np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-6)
    cosine = np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1)
    arm = direction * cosine + pole * np.sqrt(1 - cosine**2)
    forearm = direction * distance / lower - arm * upper / lower
    abd = np.rad2deg(np.arcsin(np.clip(sign * arm[:, 0], -1, 1)))
    flex = np.rad2deg(np.arctan2(arm[:, 2], -arm[:, 1]))
    flex = np.where(flex < -100, flex + 360, flex)
    frame = rotation("x", -flex) @ rotation("z", sign * abd)
    inner = np.einsum("tij,ti->tj", frame, forearm)
    elbow = np.rad2deg(np.arctan2(np.hypot(inner[:, 0], inner[:, 2]), -inner[:, 1]))
    twist = sign * np.rad2deg(np.arctan2(inner[:, 0], inner[:, 2]))
    values = {"shoulder_flex": flex, "shoulder_abd": abd, "arm_twist": twist, "elbow": elbow}
    return {f"{side}_{name}": np.clip(value, *LIMB_LIMITS[name]) for name, value in values.items()}
