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
_TOUCHING = {"salsa_dancing"}

ACTIONS: dict[str, Plan] = {name: plan for name, plan in cast.ACTIONS.items() if name not in _ON_SOMETHING | _TOUCHING}
"""Actions whose states motion tells: nobody stands or sits on something, or holds somebody."""

STATES: tuple[str, ...] = tuple(
    state for state in ALL_STATES if state not in {"hug", "carry", "hold", "grab", "strike", "sit"}
)
"""States that motion alone tells."""

_FACE = {"nose": (1.05, 0.0, 0.0), "eye_inner": (0.8, 0.2, 0.15), "eye_middle": (0.8, 0.2, 0.3),
         "eye_outer": (0.75, 0.2, 0.45), "ear": (0.0, 0.0, 0.65), "mouth": (0.8, -0.4, 0.22)}  # fmt: skip
"""Forward, up and aside of a face's landmarks from the middle of the head, in units of its radius."""

_SHAFT = {"pinky": -0.2, "index": 0.2, "thumb": 0.35}
"""Aside of a hand's knuckles, in units of the way from the wrist to the middle of the hand, which they lie beyond."""


@dataclass(frozen=True)
class Faults:
    """How far a pose network's landmarks are off. Lengths are shares of the person's stature in the picture.

    Attributes:
        jitter: Standard deviation from frame to frame.
        drift: Standard deviation of what stays for about a second.
        loose: Factor on both for hands and feet.
        hidden: Share of a person's landmarks that is not seen for a while.
        swapped: Share of people whose left and right are exchanged for a while.
        missed: Share of the frames in which somebody is not found.
    """

    jitter: float = 0.006
    drift: float = 0.012
    loose: float = 1.6
    hidden: float = 0.10
    swapped: float = 0.08
    missed: float = 0.03


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


def shoot(
    action: str, *, frames: int, size: tuple[int, int], rng: np.random.Generator, faults: Faults | None = None
) -> LandmarkTake:
    """Plan a video in which the first people perform an action, seen from anywhere, and find everyone's landmarks.

    Args:
        action: One of `ACTIONS`.
        frames: How many.
        size: Width and height of the picture.
        rng: Source of all choices.
        faults: How far the landmarks are off; as measured by default.
    """
    plan, fps = ACTIONS[action], int(rng.choice([25, 25, 30]))
    distance, seconds = rng.uniform(3, 12), np.arange(frames) / fps
    turned = tuple(view + turn for view in plan.views for turn in (-40, 0, 0, 40))
    plan = replace(plan, motion=_bare(plan.motion), views=turned, bystanders=0.4)
    roles = [replace(role, motion=_bare(role.motion)) for role in cast.roles(plan, distance, rng)]
    roles += [_extra(distance, rng) for _ in range(int(rng.integers(0, 3)))]
    persons = cast.perform(roles, seconds, rng)
    camera = camera_of(plan, persons, distance, frames, size, rng)
    camera = replace(camera, moves=rolled(camera.moves, np.full(frames, rng.normal(0, 4)), size))
    world = np.stack([landmarks_of(person.joints) for person in persons])
    true = np.stack([camera.project(each)[0] for each in world])
    seen = [found(each, size, rng, faults or Faults()) for each in true]
    return LandmarkTake(size, fps, persons, *(np.stack(each) for each in zip(*seen, strict=True)))


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
    true: NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator, faults: Faults
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a pose network would say of one person.

    Args:
        true: Where the landmarks are, pixels, (T, 33, 2).
        size: Width and height of the picture; what lies outside is not seen.
        rng: Source of all faults.
        faults: How far it is off.

    Returns:
        Landmarks (T, 33, 2), and the visibility of each (T, 33).
    """
    frames = len(true)
    tall = stature(true, np.ones(true.shape[:2]))[:, None, None]
    loose = np.array([faults.loose if name.split("_")[-1] in _LOOSE else 1.0 for name in LANDMARKS])[:, None]
    off = faults.jitter * rng.normal(size=true.shape) + faults.drift * _slow(true.shape, rng)
    points = true + off * loose * tall
    outside = (points < 0).any(-1) | (points > size).any(-1)
    visibility = 1 - 0.25 * rng.random(true.shape[:2]) ** 2
    for landmark in np.flatnonzero(rng.random(len(LANDMARKS)) < 2 * faults.hidden):
        visibility[_stretch(frames, rng), landmark] = rng.uniform(0, 2 * SEEN)
    if rng.random() < faults.swapped:
        while_ = _stretch(frames, rng)
        points[while_], visibility[while_] = points[while_][:, MIRRORED], visibility[while_][:, MIRRORED]
    visibility[outside] *= 0.2
    visibility[rng.random(frames) < faults.missed] = 0
    return points, visibility


_LOOSE = {"wrist", "pinky", "index", "thumb", "ankle", "heel", "toe"}


def _slow(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit spread that changes over some 25 frames."""
    knots = max(2, shape[0] // 12 + 2)
    at = np.linspace(0, knots - 1.001, shape[0])
    values, low = rng.normal(size=(knots, *shape[1:])), at.astype(int)
    share = (at - low).reshape(-1, *([1] * (len(shape) - 1)))
    return (values[low] * (1 - share) + values[low + 1] * share) * 1.22


def _stretch(frames: int, rng: np.random.Generator) -> slice:
    length = int(np.clip(rng.exponential(0.3) * frames, 1, frames))
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
