"""The state of each part of a person in each frame, read off the kinematics.

One state a part: the first rule of a part's list that holds. Some rules need one frame (`bend`), some need motion
(`swing`, `turn`, `step`, `strike`), some the props (`hold`, `carry`). The states are those seen in
Kinetics-TPS figures; the thresholds are ours.
"""

from __future__ import annotations

import numpy as np

from tps_pipeline.data.synthetic.motion import Motion
from tps_pipeline.data.synthetic.skeleton import SIDES, Angles, Joints
from tps_pipeline.labels import NO_STATE, PARTS

STATES: tuple[str, ...] = (
    NO_STATE, "others", "bend", "unbend", "lift", "hug", "push", "swing", "carry", "hold", "grab", "strike", "applaud",
    "stand", "step", "raise", "crouch", "jump", "step_on", "tiptoe", "turn", "sit", "stoop",
)  # fmt: skip
"""The states of parts that synthetic videos are annotated with, and `others`."""

SWING = 2.0
"""Metres a second of a wrist relative to the chest, above which an arm swings."""

BENT_ELBOW, STRAIGHT_ELBOW = 50.0, 25.0
"""Degrees of an elbow's flexion, above which an arm is bent, and below which it is straight."""

ABDUCTED = 0.45
"""Horizontal share of the upper arm's direction, above which a straight arm is held out."""

HUG = 0.34
"""Metres from a hand to another person's chest, below which an arm hugs."""

ON_GROUND = 0.14
"""Metres of a wrist above the ground, below which an arm supports the body."""

STRIKE_SPEED, STRIKE_REACH = 0.7, 0.60
"""Metres a second of a wrist, above which, and metres from the target, below which a hand strikes."""

APPLAUD_GAP = 0.13
"""Metres between the wrists, below which hands applaud."""

HAND_RAISED = 0.02
"""Metres of a wrist above the crown, above which a hand is lifted."""

LEG_RAISED = 0.18
"""Metres of an ankle above the other, above which a leg is raised."""

STEP = 0.45
"""Metres a second of an ankle over the ground, above which a leg or a foot steps."""

CROUCHED_KNEE, BENT_KNEE, STRAIGHT_KNEE = 80.0, 32.0, 20.0
"""Degrees of a knee's flexion, above which a leg crouches or is bent, and below which it is straight."""

UPRIGHT = 0.93
"""Vertical share of a straight leg's direction, above which it is upright."""

AIRBORNE = 0.05
"""Metres of both soles above the ground, above which someone jumps."""

HEEL_RAISED, TOE_DOWN = 0.035, 0.05
"""Metres of the heel above the toe, above which, and of the toe above the ground, below which a foot is on tiptoe."""

PLANTED = 0.30
"""Metres a second below which a foot is static."""

LOADED_KNEE = 18.0
"""Degrees of a knee's flexion, above which a planted foot presses on the ground."""

HEAD_UP, HEAD_TURN = 0.22, 60.0
"""Vertical share of the face's direction, above which a head is raised, and degrees a second, above which it turns."""

HIP_TURN, STOOP = 45.0, 0.80
"""Degrees a second, above which hips turn, and vertical share of the trunk's direction, below which it stoops."""


def read(
    joints: Joints, angles: Angles, motion: Motion, *, fps: float, chests: list[np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """States of every part.

    Args:
        joints: Joints (T, 3) with the ground at y = 0, in a frame that does not move with the person.
        angles: Joint angles (T,) in degrees.
        motion: What the person does: grips, target, seat and board.
        fps: Frames a second.
        chests: Chests (T, 3) of the people close by.

    Returns:
        Part -> (T,) array of state names.
    """
    ground = np.asarray(motion.pose.height) if motion.board else 0.0
    states = {"head": _head(joints, angles, fps), "hip": _hip(joints, angles, motion, fps)}
    for side in SIDES:
        states[f"{side}_arm"] = _arm(joints, angles, motion, side, fps, chests or [])
        states[f"{side}_hand"] = _hand(joints, motion, side, fps)
        states[f"{side}_leg"] = _leg(joints, angles, motion, side, fps, ground)
        states[f"{side}_foot"] = _foot(joints, angles, motion, side, fps, ground)
    return {part: states[part] for part in PARTS}


def speed(track: np.ndarray, fps: float) -> np.ndarray:
    """Speed (T,) of a point (T, 3), over two frames either way."""
    padded = np.pad(track, ((2, 2), (0, 0)), mode="edge")
    return np.linalg.norm(padded[4:] - padded[:-4], axis=1) * fps / 4


def turning(direction: np.ndarray, fps: float) -> np.ndarray:
    """Degrees a second (T,) at which a direction (T, 3) turns about the vertical axis."""
    yaw = np.unwrap(np.arctan2(direction[:, 0], direction[:, 2]))
    padded = np.pad(yaw, 2, mode="edge")
    return np.rad2deg(np.abs(padded[4:] - padded[:-4])) * fps / 4


def _first(*rules: tuple[str, np.ndarray | bool]) -> np.ndarray:
    """The first name whose condition holds, `none` where none does."""
    conditions = np.broadcast_arrays(*(condition for _, condition in rules))
    return np.select([np.asarray(c, bool) for c in conditions], [name for name, _ in rules], NO_STATE)


def _arm(joints: Joints, angles: Angles, motion: Motion, side: str, fps: float, chests: list[np.ndarray]) -> np.ndarray:
    shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
    upper = (elbow - shoulder) / np.linalg.norm(elbow - shoulder, axis=1, keepdims=True)
    flexion = angles[f"{side}_elbow"]
    near = np.zeros(len(wrist), bool)
    for chest in chests:
        near |= np.linalg.norm(joints[f"{side}_hand"] - chest + (0, 0.12, 0), axis=1) < HUG
    supporting = (wrist[:, 1] < ON_GROUND) & (shoulder[:, 1] > wrist[:, 1]) & (not motion.loaded)
    return _first(
        ("push", supporting),
        ("hug", near),
        ("lift", elbow[:, 1] > shoulder[:, 1]),
        ("carry", motion.loaded),
        ("swing", speed(wrist - joints["chest"], fps) > SWING),
        ("bend", flexion > BENT_ELBOW),
        ("unbend", (flexion < STRAIGHT_ELBOW) & (np.hypot(upper[:, 0], upper[:, 2]) > ABDUCTED)),
    )


def _hand(joints: Joints, motion: Motion, side: str, fps: float) -> np.ndarray:
    wrist, hand = joints[f"{side}_wrist"], joints[f"{side}_hand"]
    gap = np.linalg.norm(joints["left_wrist"] - joints["right_wrist"], axis=1)
    strike = np.zeros(len(hand), bool)
    if motion.target is not None:
        away = np.linalg.norm(hand - motion.target, axis=1)
        strike = (speed(wrist, fps) > STRIKE_SPEED) & (away < STRIKE_REACH)
    grip = motion.grips.get(side)
    high = wrist[:, 1] > joints["crown"][:, 1] + HAND_RAISED
    close = (gap < APPLAUD_GAP) & (joints["chest"][:, 1] > 0.6)
    return _first(("strike", strike), (grip or NO_STATE, grip is not None), ("applaud", close), ("lift", high))


def _leg(
    joints: Joints, angles: Angles, motion: Motion, side: str, fps: float, ground: np.ndarray | float
) -> np.ndarray:
    other = "right" if side == "left" else "left"
    hip, ankle = joints[f"{side}_hip"], joints[f"{side}_ankle"]
    sole = np.minimum(joints[f"{side}_heel"][:, 1], joints[f"{side}_toe"][:, 1])
    lowest = np.minimum(joints[f"{other}_heel"][:, 1], joints[f"{other}_toe"][:, 1])
    upright = (hip[:, 1] - ankle[:, 1]) / np.linalg.norm(hip - ankle, axis=1) > UPRIGHT
    flexion, on_feet = angles[f"{side}_knee"], motion.pose.support == "feet"
    airborne = (np.minimum(sole, lowest) > AIRBORNE) & on_feet & (not motion.board)
    moving = speed(ankle * (1, 0, 1), fps) > STEP
    return _first(
        ("jump", airborne),
        ("raise", (ankle[:, 1] - joints[f"{other}_ankle"][:, 1] > LEG_RAISED) & on_feet),
        ("step", moving & on_feet & (not motion.board)),
        ("crouch", np.minimum(flexion, angles[f"{other}_knee"]) > CROUCHED_KNEE),
        ("bend", flexion > BENT_KNEE),
        ("stand", (flexion < STRAIGHT_KNEE) & upright & (sole - ground < AIRBORNE)),
        ("unbend", flexion < STRAIGHT_KNEE),
    )


def _foot(
    joints: Joints, angles: Angles, motion: Motion, side: str, fps: float, ground: np.ndarray | float
) -> np.ndarray:
    heel, toe = joints[f"{side}_heel"][:, 1] - ground, joints[f"{side}_toe"][:, 1] - ground
    pace = speed(joints[f"{side}_ankle"], fps)
    planted = np.maximum(heel, toe) < TOE_DOWN
    return _first(
        ("tiptoe", (heel - toe > HEEL_RAISED) & (toe < TOE_DOWN)),
        ("step_on", planted & motion.board),
        ("step", pace > STEP),
        ("step_on", planted & (pace < PLANTED) & (angles[f"{side}_knee"] > LOADED_KNEE)),
    )


def _head(joints: Joints, angles: Angles, fps: float) -> np.ndarray:
    return _first(
        ("turn", (turning(joints["face"], fps) > HEAD_TURN) & (np.abs(joints["face"][:, 1]) < 0.8)),
        ("raise", joints["face"][:, 1] > HEAD_UP),
    )


def _hip(joints: Joints, angles: Angles, motion: Motion, fps: float) -> np.ndarray:
    trunk = joints["chest"] - joints["pelvis"]
    bent = trunk[:, 1] / np.linalg.norm(trunk, axis=1) < STOOP
    upright = joints["pelvis"][:, 1] > joints["left_knee"][:, 1] - 0.05
    turn = turning(joints["hip_front"], fps) > HIP_TURN
    stooped = bent & upright & (angles["body_pitch"] < 45)
    return _first(("sit", motion.seated), ("turn", turn), ("stoop", stooped))
