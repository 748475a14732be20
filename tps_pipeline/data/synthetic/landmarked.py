"""Motion without pictures (`tps data synth --motion`): people whose parts are boxed as a pose source boxes them.

What is learned from such videos carries over to real ones, as no pixel is seen on either side: the boxes follow from
landmarks by the same rule (`tps_pipeline.landmarks`), and the landmarks err as a pose network's do on real clips.
States are those that motion alone tells (`STATES`). Nobody knows here what is held, hit, sat or stood on: who holds a
bar has a bent arm, and hands without a state. The pictures are stick figures, for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.synthetic import cast
from tps_pipeline.data.synthetic.cast import Actor, Plan, Role, manner
from tps_pipeline.data.synthetic.motion import Action, Motion
from tps_pipeline.data.synthetic.skeleton import SIDES, Joints
from tps_pipeline.data.synthetic.states import STATES as ALL_STATES
from tps_pipeline.data.synthetic.varied.crowd import anything, rolled
from tps_pipeline.data.synthetic.varied.wardrobe import stranger
from tps_pipeline.data.synthetic.video import camera_of
from tps_pipeline.labels import PARTS
from tps_pipeline.landmarks import LANDMARKS, MIRRORED, SEEN, part_boxes, person_box, stature

_ON_SOMETHING = {"riding_mechanical_bull", "skateboarding"}

ACTIONS: dict[str, Plan] = {name: plan for name, plan in cast.ACTIONS.items() if name not in _ON_SOMETHING}
"""Actions whose states motion tells: nobody sits on something, or stands on what moves."""

STATES: tuple[str, ...] = tuple(
    state for state in ALL_STATES if state not in {"hug", "carry", "hold", "grab", "strike", "sit"}
)
"""States that motion alone tells."""

_FACE = {"nose": (1.05, 0.0, 0.0), "eye_inner": (0.8, 0.2, 0.15), "eye_middle": (0.8, 0.2, 0.3),
         "eye_outer": (0.75, 0.2, 0.45), "ear": (0.0, 0.0, 0.65), "mouth": (0.8, -0.4, 0.22)}  # fmt: skip
"""Forward, up and aside of a face's landmarks from the middle of the head, in units of its radius."""

_SHAFT = {"pinky": -0.2, "index": 0.2, "thumb": 0.35}
"""Aside of a hand's knuckles, in units of the way from the wrist to the middle of the hand, which they lie beyond."""


JITTER: dict[str, float] = {
    "shoulder": 0.0034, "elbow": 0.0048, "wrist": 0.006, "pinky": 0.0078, "index": 0.0078, "thumb": 0.0078,
    "hip": 0.0035, "knee": 0.0038, "ankle": 0.0046, "heel": 0.0053, "toe": 0.0053,
}  # fmt: skip
"""Standard deviation from frame to frame of a landmark's x and y as a share of stature (`FACE_JITTER`: a face's).

Measured with BlazePose on eleven people of eight public clips of 45 frames (lifting, tai chi, skateboarding,
basketball, balancing, people who meet), from second differences; the median person."""

FACE_JITTER, UNEVEN = 0.0031, 0.7
"""The same of a face's landmarks; and how people differ: the spread of the logarithm (the shakiest tenth has 2.5 times
as much)."""

DRIFT = 0.012
"""Standard deviation of an error that stays for about a second, as a share of stature; ours, as no clip tells it."""

HIDDEN: dict[str, tuple[float, float]] = {"arm": (2.5, 0.55), "leg": (1.6, 0.3)}
"""How often in a video the far end of a limb is not seen, on average, and the share of these in which its middle is
not either; measured on the same clips: wrists 0.17 of the time, ankles 0.11, elbows 0.10, knees 0.03, trunk 0."""

HIDDEN_FOR = 0.07
"""Mean share of the video for which that lasts; half of the times it is two frames or less."""

SWAPPED, SWAPPED_FOR = 0.18, 0.05
"""Share of people whose left and right arms, or all landmarks, are exchanged now and then, and the mean share of the
video for which each time lasts; measured on the same clips: two of eleven, 24 of 966 frames."""

MISSED = 0.01
"""Share of frames in which somebody is not found, once found; measured: 0.002, of people who stay in the picture."""

_LIMBS = {"arm": ("elbow", ("wrist", "pinky", "index", "thumb")), "leg": ("knee", ("ankle", "heel", "toe"))}


@dataclass
class LandmarkTake:
    """A video of landmarks.

    Attributes:
        size: Width and height in pixels.
        fps: Frames a second.
        persons: Everyone in it.
        points: (P, T, 33, 2) landmarks in pixels as a network gives them.
        visibility: (P, T, 33) how sure it is of each; 0 everywhere where it does not find the person.
        quality: Constant rate factor of the encoder.
    """

    size: tuple[int, int]
    fps: int
    persons: list[Actor]
    points: NDArray[np.float64]
    visibility: NDArray[np.float64]
    quality: int = 35


def shoot(action: str, *, frames: int, size: tuple[int, int], rng: np.random.Generator) -> LandmarkTake:
    """Plan a video in which the first people perform an action, seen from anywhere, and find everyone's landmarks.

    Args:
        action: One of `ACTIONS`.
        frames: How many.
        size: Width and height of the picture.
        rng: Source of all choices.
    """
    plan, fps = ACTIONS[action], int(rng.choice([25, 25, 30]))
    distance, seconds = rng.uniform(3, 12), np.arange(frames) / fps
    turned = tuple(view + turn for view in plan.views for turn in (-40, 0, 0, 40))
    plan = replace(plan, motion=_bare(plan.motion), views=turned, bystanders=0.4)
    roles = [replace(role, motion=_bare(role.motion)) for role in cast.roles(plan, distance, rng)]
    roles += [_extra(distance, rng) for _ in range(int(rng.integers(0, 3)))]
    persons = cast.perform(roles, seconds, rng, embracing=False)
    camera = camera_of(plan, persons, distance, frames, size, rng)
    camera = replace(camera, moves=rolled(camera.moves, np.full(frames, rng.normal(0, 4)), size))
    world = np.stack([landmarks_of(person.joints) for person in persons])
    true = np.stack([camera.project(each)[0] for each in world])
    points, visibility = zip(*(found(each, size, rng) for each in true), strict=True)
    return LandmarkTake(size, fps, persons, np.stack(points), np.stack(visibility))


def _bare(motion: Action) -> Action:
    """A motion of which only the movement is left."""

    def move(seconds: np.ndarray, style: Any, body: Any) -> Motion:
        made = motion(seconds, style, body)
        return Motion(made.pose, made.yaw, made.path)

    return move


def _extra(distance: float, rng: np.random.Generator) -> Role:
    """Somebody beside the others who moves in any way."""
    place = (float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.4)), float(rng.normal(0, 0.15 * distance)))
    return Role(anything, manner(rng), stranger(rng), place, rng.uniform(-180, 180), rng.random() < 0.5)


def landmarks_of(joints: Joints) -> NDArray[np.float64]:
    """The landmarks of a posed body.

    Args:
        joints: Joints and directions (T, 3).

    Returns:
        (T, 33, 3), in the order of `LANDMARKS`.
    """
    head, face, up = joints["head"], joints["face"], joints["up"]
    radius, left = np.linalg.norm(joints["crown"] - head, axis=-1, keepdims=True), np.cross(up, face)
    points = []
    for name in LANDMARKS:
        side, _, what = name.partition("_") if name != "nose" else ("", "", "nose")
        if what in _FACE:
            forward, above, aside = _FACE[what]
            points.append(head + radius * (forward * face + above * up + SIDES.get(side, 0) * aside * left))
        elif what in _SHAFT:
            wrist, way = joints[f"{side}_wrist"], joints[f"{side}_hand"] - joints[f"{side}_wrist"]
            points.append(wrist + 0.55 * way + _SHAFT[what] * np.cross(way, face))
        else:
            points.append(joints[name])
    return np.stack(points, axis=1)


def found(
    true: NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a pose network would say of one person.

    Args:
        true: Where the landmarks are, pixels, (T, 33, 2).
        size: Width and height of the picture; what lies outside is not seen.
        rng: Source of all faults.

    Returns:
        Landmarks (T, 33, 2), and the visibility of each (T, 33).
    """
    frames = len(true)
    tall = stature(true, np.ones(true.shape[:2]))[:, None, None]
    shaky = np.array([JITTER.get(name.split("_")[-1], FACE_JITTER) for name in LANDMARKS])[:, None]
    off = shaky * np.exp(rng.normal(0, UNEVEN)) * rng.normal(size=true.shape) + DRIFT * _slow(true.shape, rng)
    points, visibility = true + off * tall, np.ones(true.shape[:2])
    for side in SIDES:
        for limb, (often, middle_too) in HIDDEN.items():
            middle, far = _LIMBS[limb]
            for _ in range(rng.poisson(often)):
                names = (*far, middle) if rng.random() < middle_too else far
                while_ = _while(frames, HIDDEN_FOR, rng)
                visibility[while_, [LANDMARKS.index(f"{side}_{name}") for name in names]] = SEEN / 2
    if rng.random() < SWAPPED:
        order = np.array(MIRRORED) if rng.random() < 0.5 else _ARMS_MIRRORED
        for _ in range(1 + rng.poisson(1.5)):
            while_ = _while(frames, SWAPPED_FOR, rng)
            points[while_], visibility[while_] = points[while_][:, order], visibility[while_][:, order]
    visibility[(points < 0).any(-1) | (points > size).any(-1)] = 0
    visibility[rng.random(frames) < MISSED] = 0
    return points, visibility


_ARM = {"shoulder", *_LIMBS["arm"][1], "elbow"}
_ARMS_MIRRORED = np.array(
    [
        mirror if name.split("_")[-1] in _ARM else i
        for i, (name, mirror) in enumerate(zip(LANDMARKS, MIRRORED, strict=True))
    ]
)


def _slow(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit spread that changes over some 25 frames."""
    knots = max(2, shape[0] // 12 + 2)
    at = np.linspace(0, knots - 1.001, shape[0])
    values, low = rng.normal(size=(knots, *shape[1:])), at.astype(int)
    share = (at - low).reshape(-1, *([1] * (len(shape) - 1)))
    return (values[low] * (1 - share) + values[low + 1] * share) * 1.22


def _while(frames: int, mean: float, rng: np.random.Generator) -> slice:
    """Some frames in a row, on average a share of all."""
    length = int(np.clip(rng.exponential(mean) * frames, 1, frames))
    start = int(rng.integers(0, frames - length + 1))
    return slice(start, start + length)


_BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"),
          ("ankle", "toe"), ("wrist", "index"))  # fmt: skip
_COLOURS = {"left": (80, 200, 255), "right": (255, 160, 80)}


def frames_of(take: LandmarkTake, labelled: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Any] | None]]:
    """Draw the stick figures of a video.

    Args:
        take: What to draw.
        labelled: (T,) which frames to annotate.

    Yields:
        A BGR picture (H, W, 3) uint8 and its annotation.
    """
    width, height = take.size
    boxes, _ = part_boxes(take.points, take.visibility)
    whole = person_box(take.points, take.visibility)
    for frame in range(take.points.shape[1]):
        picture = np.full((height, width, 3), 24, np.uint8)
        for points in take.points[:, frame][(take.visibility[:, frame] >= SEEN).any(-1)]:
            _stick(picture, points)
        yield picture, _annotation(take, boxes[:, frame], whole[:, frame], frame) if labelled[frame] else None


def _stick(picture: np.ndarray, points: NDArray[np.float64]) -> None:
    at = {name: np.rint(point).astype(int).tolist() for name, point in zip(LANDMARKS, points, strict=True)}
    for side, colour in _COLOURS.items():
        for start, stop in _BONES:
            cv2.line(picture, at[f"{side}_{start}"], at[f"{side}_{stop}"], colour, 2, cv2.LINE_AA)
    cv2.circle(picture, at["nose"], 4, (220, 220, 220), -1, cv2.LINE_AA)


def _annotation(
    take: LandmarkTake, boxes: NDArray[np.float64], whole: NDArray[np.float64], frame: int
) -> dict[str, Any]:
    """Everyone found in a frame: boxes by the rule, states by the kinematics."""
    humans = []
    for person, own, box in zip(take.persons, boxes, whole, strict=True):
        outer = _pixels(box, take.size)
        if outer is None:
            continue
        number, parts = len(humans) + 1, {}
        for part, edges in zip(PARTS, own, strict=True):
            inner = _pixels(edges, take.size)
            if inner is not None:
                state = str(person.states[part][frame])
                parts[part] = {"box": inner, "verb": state, "number": number, "name": part}
        humans.append({"number": number, "box": outer, "parts": parts})
    return {"humans": humans}


def _pixels(edges: NDArray[np.float64], size: tuple[int, int]) -> list[int] | None:
    """Inclusive corners inside the picture; None where nothing is in it."""
    if np.isnan(edges).any():
        return None
    low, high = np.rint(edges[:2].clip(0, size)), np.rint(edges[2:].clip(0, size)) - 1
    return None if (high < low).any() else [int(value) for value in (*low, *high)]
