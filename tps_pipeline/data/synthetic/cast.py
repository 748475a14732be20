"""Who is in a video, where they stand, how the camera sees them: the plan of each action, and people made from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tps_pipeline.data.synthetic import dance, gym, sport, states
from tps_pipeline.data.synthetic.look import Clothe, clothed, figure
from tps_pipeline.data.synthetic.motion import Action, Motion, Style
from tps_pipeline.data.synthetic.shapes import Solid
from tps_pipeline.data.synthetic.skeleton import DIRECTIONS, Angles, Body, Joints, forward, mirror, rotation
from tps_pipeline.labels import PARTS, swap, swapped

_MIRRORED = swapped(PARTS)

ADULT = Body()
"""An adult's proportions (`Body`'s own); people vary around them."""

BABY = Body(stature=0.78, girth=1.35, head=1.75, legs=0.82)
"""A baby's proportions: 0.78 m tall, with a larger head, thicker and shorter limbs than an adult."""


@dataclass(frozen=True)
class Plan:
    """How an action is usually filmed.

    Attributes:
        motion: What the people do.
        views: Facing directions to choose from, degrees to the camera's right (0 faces the camera).
        extent: Width and height in metres that the picture has to hold.
        scenes: Where it mostly happens.
        group: Fewest and most people doing it.
        bystanders: Mean number of people who only watch or pass.
        habit: Parts that the annotators of this action leave out.
        body: Proportions.
        follow: Share of the person's path that the camera follows.
        gloves: Size of the gloves, 1 for none.
    """

    motion: Action
    views: tuple[float, ...] = (0.0,)
    extent: tuple[float, float] = (1.3, 1.9)
    scenes: tuple[str, ...] = ("gym",)
    group: tuple[int, int] = (1, 1)
    bystanders: float = 1.4
    habit: frozenset[str] = frozenset()
    body: Body = ADULT
    follow: float = 0.0
    gloves: float = 1.0


ACTIONS: dict[str, Plan] = {
    "push_up": Plan(gym.push_up, (80, -80, 60, -60), (1.9, 1.2), ("gym", "room", "park")),
    "pull_ups": Plan(gym.pull_ups, (0, 180, 20, -160), (1.4, 2.6), ("gym", "park")),
    "juggling_balls": Plan(sport.juggling_balls, (0,), (1.2, 2.0), ("room", "park", "stage")),
    "country_line_dancing": Plan(dance.country_line_dancing, (0, 180, 0), (1.6, 1.9), ("stage", "room"), (3, 5),
                                 bystanders=0.3),
    "hitting_baseball": Plan(sport.hitting_baseball, (-20, -50, 10), (1.7, 2.0), ("field", "field", "park")),
    "riding_mechanical_bull": Plan(sport.riding_mechanical_bull, (0, 60, -60, 25), (1.8, 2.3), ("stage", "room"),
                                   habit=frozenset({"left_foot", "right_foot"})),
    "skipping_rope": Plan(sport.skipping_rope, (0, 25, -25, 180), (1.5, 2.1), ("gym", "street", "room")),
    "deadlifting": Plan(gym.deadlifting, (0, 0, 45, -45), (1.8, 1.9), ("gym",)),
    "punching_bag": Plan(gym.punching_bag, (75, -75, 110, -110), (1.6, 1.9), ("gym",), gloves=1.7,
                         habit=frozenset({"head", "hip"})),
    "belly_dancing": Plan(dance.belly_dancing, (0,), (1.4, 1.9), ("stage", "stage", "room")),
    "skateboarding": Plan(sport.skateboarding, (0, 180, 15, 165), (2.0, 2.1), ("street", "street", "park"), follow=0.8),
    "lunge": Plan(gym.lunge, (70, -70, 40, -40, 90), (1.5, 1.9), ("gym", "room")),
    "crawling_baby": Plan(sport.crawling_baby, (50, -50, 80, -80, 15), (0.9, 0.75), ("room",), bystanders=0.7,
                          body=BABY, follow=0.7),
    "salsa_dancing": Plan(dance.salsa_dancing, (90, -90, 60, -120), (1.5, 1.9), ("stage", "room"), (2, 2)),
    "front_raises": Plan(gym.front_raises, (0, 30, -30, 70), (1.4, 1.9), ("gym", "room")),
    "throwing_discus": Plan(sport.throwing_discus, (0, 90, 180), (1.9, 2.0), ("field",)),
    "snatch_weight_lifting": Plan(gym.snatch_weight_lifting, (0, 0, 35, -35), (2.0, 2.3), ("gym", "stage")),
    "hopscotch": Plan(sport.hopscotch, (20, -20, 60, -60), (1.6, 1.9), ("street", "park"), follow=0.6),
    "clean_and_jerk": Plan(gym.clean_and_jerk, (0, 0, 35, -35), (1.9, 2.3), ("gym", "stage")),
}  # fmt: skip
"""The actions in the order in which `classes=n` takes them: the first twelve or so are the easiest to tell apart."""


@dataclass
class Actor:
    """Someone in a video.

    Attributes:
        joints: (T, 3) world coordinates.
        solids: Body and props, world coordinates.
        states: Part -> (T,) states.
        habit: Parts that the annotators leave out.
        path: (T, 3) displacement since the first frame.
    """

    joints: Joints
    solids: list[Solid]
    states: dict[str, np.ndarray]
    habit: frozenset[str]
    path: np.ndarray


@dataclass
class Role:
    """What someone is to do, and where.

    Attributes:
        motion: What they do.
        style: How they move.
        body: Their proportions.
        place: Metres to the right of the camera's axis, and toward the camera.
        yaw: Facing direction, degrees to the camera's right (0 faces the camera).
        mirrored: Whether left and right are exchanged.
        glove_size: Size of the gloves, 1 for none.
        habit: Parts that the annotators leave out.
    """

    motion: Action
    style: Style
    body: Body
    place: tuple[float, float]
    yaw: float
    mirrored: bool
    glove_size: float = 1.0
    habit: frozenset[str] = frozenset()


@dataclass
class _Acted:
    role: Role
    motion: Motion
    joints: Joints
    angles: Angles
    solids: list[Solid]
    path: np.ndarray


def people(plan: Plan, seconds: np.ndarray, distance: float, rng: np.random.Generator) -> list[Actor]:
    """Everyone in a video of an action.

    Args:
        plan: The action's plan.
        seconds: (T,) time of each frame.
        distance: Metres between the camera and the main people.
        rng: Source of all choices.
    """
    return perform(roles(plan, distance, rng), seconds, rng)


def roles(plan: Plan, distance: float, rng: np.random.Generator) -> list[Role]:
    """Who performs an action, and who watches (see `people`)."""
    return _performers(plan, rng) + _bystanders(plan, distance, rng)


def perform(
    roles: list[Role],
    seconds: np.ndarray,
    rng: np.random.Generator,
    clothe: Clothe = clothed,
    *,
    embracing: bool = True,
) -> list[Actor]:
    """Let people act beside one another.

    Args:
        roles: Who does what.
        seconds: (T,) time of each frame.
        rng: Source of looks and props.
        clothe: Gives a body its solids.
        embracing: Whether people hug whom their hands are near.
    """
    fps = 1 / float(np.diff(seconds).mean())
    acted = [_act(role, seconds, rng, clothe) for role in roles]
    persons = []
    for performer in acted:
        chests = [neighbour.joints["chest"] for neighbour in acted if embracing and neighbour is not performer]
        read = states.read(performer.joints, performer.angles, performer.motion, fps=fps, chests=chests)
        persons.append(Actor(performer.joints, performer.solids, read, performer.role.habit, performer.path))
    return persons


def manner(rng: np.random.Generator) -> Style:
    """A random manner of moving."""
    return Style(rng.uniform(0.75, 1.3), rng.uniform(0.75, 1.2), rng.uniform(0, 2 * np.pi), rng)


def _performers(plan: Plan, rng: np.random.Generator) -> list[Role]:
    count = int(rng.integers(plan.group[0], plan.group[1] + 1))
    yaw, shared, mirrored = float(rng.choice(plan.views)) + rng.normal(0, 10), manner(rng), rng.random() < 0.5
    seed, performing = int(rng.integers(2**31)), []
    couple = plan.group == (2, 2)
    for index in range(count):
        body = figure(plan.body, rng)
        style = Style(shared.tempo, shared.amplitude * rng.uniform(0.9, 1.1), shared.phase + rng.normal(0, 0.12),
                      np.random.default_rng(seed))  # fmt: skip
        place = ((index - (count - 1) / 2) * rng.uniform(0.75, 1.0), -0.9 * (index % 2) + rng.normal(0, 0.15))
        turn = yaw
        if couple:
            aside, gap = np.deg2rad(yaw), (0.27, -0.27)[index]
            place, turn = (-gap * np.sin(aside), -gap * np.cos(aside)), yaw + 180 * index
            style = Style(shared.tempo, shared.amplitude, shared.phase + np.pi * index, np.random.default_rng(seed))
        elif count == 1:
            place = (rng.normal(0, 0.12), 0.0)
        performing.append(Role(plan.motion, style, body, place, turn, mirrored and not couple, plan.gloves, plan.habit))
    return performing


def _bystanders(plan: Plan, distance: float, rng: np.random.Generator) -> list[Role]:
    watching = []
    for _ in range(min(rng.poisson(plan.bystanders), 4)):
        depth = distance * rng.uniform(1.7, 2.7)
        place = (rng.uniform(-0.55, 0.55) * depth * plan.extent[0] / distance * 1.6, distance - depth)
        motion = sport.walk if rng.random() < 0.25 else sport.idle
        yaw = float(rng.choice([-90, 90]) if motion is sport.walk else rng.normal(0, 50))
        watching.append(Role(motion, manner(rng), figure(ADULT, rng), place, yaw, rng.random() < 0.5))
    if rng.random() < 0.10 and plan.body is ADULT:
        side = rng.choice([-1, 1]) * plan.extent[0] * rng.uniform(0.35, 0.6)
        place, yaw = (side, 0.22 * distance), 180 + rng.normal(0, 30)
        watching.append(Role(sport.idle, manner(rng), figure(ADULT, rng), place, yaw, mirrored=False))
    return watching


def _act(role: Role, seconds: np.ndarray, rng: np.random.Generator, clothe: Clothe) -> _Acted:
    """Perform a role: everything in world coordinates."""
    motion = role.motion(seconds, role.style, role.body)
    joints, angles = forward(motion.pose, role.body, frames=len(seconds))
    made = clothe(joints, role.body, rng, role.glove_size)
    made += [solid for prop in motion.props for solid in prop(joints, rng)]
    if role.mirrored:
        joints, angles = mirror(joints, angles)
        made = [_mirrored(solid) for solid in made]
        motion.grips = {swap(f"{side}_")[:-1]: grip for side, grip in motion.grips.items()}
    sign = -1 if role.mirrored else 1
    turn = rotation("y", role.yaw + sign * np.broadcast_to(motion.yaw, seconds.shape))
    path = np.broadcast_to(motion.path, (len(seconds), 2)) * (sign, 1)
    start = rotation("y", role.yaw)[0]
    shift = path[:, :1] * start[:, 0] + path[:, 1:] * start[:, 2] + (role.place[0], 0.0, role.place[1])
    for name, track in joints.items():
        joints[name] = np.einsum("tij,tj->ti", turn, track) + (0 if name in DIRECTIONS else shift)
    for solid in made:
        solid.centres = np.einsum("tij,tcj->tci", turn, solid.centres) + shift[:, None]
        if solid.facing is not None:
            solid.facing = np.einsum("tij,tj->ti", turn, solid.facing)
    if motion.target is not None:
        motion.target = np.einsum("tij,j->ti", turn, motion.target * (sign, 1, 1)) + shift
    return _Acted(role, motion, joints, angles, made, shift - shift[0])


def _mirrored(solid: Solid) -> Solid:
    part = solid.part if solid.part < 0 else _MIRRORED[solid.part]
    facing = None if solid.facing is None else solid.facing * (-1, 1, 1)
    return replace(solid, centres=solid.centres * (-1, 1, 1), part=part, facing=facing)
