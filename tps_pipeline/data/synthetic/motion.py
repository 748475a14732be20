"""What a motion is: a pose over time, with what the hands do and which props belong to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tps_pipeline.data.synthetic.shapes import Solid
from tps_pipeline.data.synthetic.skeleton import SIDES, Body, Joints, Pose

Prop = Callable[[Joints, np.random.Generator], list[Solid]]
"""Makes the solids of an object, given where the joints are."""


@dataclass(frozen=True)
class Style:
    """How one person in one video moves.

    Attributes:
        tempo: Multiplier of the motion's frequency.
        amplitude: Multiplier of its extent.
        phase: Where in its cycle it starts, in radians.
        rng: Source of the motion's other choices.
    """

    tempo: float
    amplitude: float
    phase: float
    rng: np.random.Generator

    def cycle(self, seconds: np.ndarray, frequency: float) -> np.ndarray:
        """Phase (T,) in radians of a motion of a frequency in Hz."""
        return 2 * np.pi * frequency * self.tempo * seconds + self.phase


@dataclass
class Motion:
    """A pose over time and its surroundings.

    Attributes:
        pose: The pose, T frames.
        yaw: Facing direction over time, degrees to the left of the starting one.
        path: (T, 2) or (2,) displacement on the ground in metres, x and z of the person's frame.
        grips: Side -> state of that hand (`hold`, `grab`) while it has a prop.
        props: Functions that build the props from the joints.
        loaded: Whether the hands bear a heavy prop (then the arms `carry`).
        seated: Whether the pelvis rests on something.
        target: Point (3,) or (T, 3) in the person's frame that the hands strike at.
        board: Whether the feet stand on something that moves with them.
    """

    pose: Pose
    yaw: np.ndarray | float = 0.0
    path: np.ndarray = field(default_factory=lambda: np.zeros(2))
    grips: dict[str, str] = field(default_factory=dict)
    props: tuple[Prop, ...] = ()
    loaded: bool = False
    seated: bool = False
    target: np.ndarray | None = None
    board: bool = False


Action = Callable[[np.ndarray, Style, Body], Motion]
"""A motion from seconds (T,), style and body."""


def wave(cycle: np.ndarray, sharpness: float = 1.0) -> np.ndarray:
    """A smooth swing between 0 and 1 (0 at phase 0) that lingers at both ends for a sharpness above 1."""
    swing = -np.cos(cycle)
    return 0.5 + 0.5 * np.tanh(sharpness * swing) / np.tanh(sharpness)


def pulse(cycle: np.ndarray, width: float = 0.5) -> np.ndarray:
    """A bump from 0 to 1 and back in the first part of each cycle; `width` is that part's share."""
    turn = (cycle / (2 * np.pi)) % 1.0 / width
    return np.where(turn < 1, 0.5 - 0.5 * np.cos(2 * np.pi * np.minimum(turn, 1)), 0.0)


def keyed(seconds: np.ndarray, times: list[float], values: list[float]) -> np.ndarray:
    """Values (T,) eased between key frames (times in seconds)."""
    index = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, len(times) - 2)
    start, stop = np.asarray(times)[index], np.asarray(times)[index + 1]
    share = np.clip((seconds - start) / np.maximum(stop - start, 1e-6), 0, 1)
    eased = share * share * (3 - 2 * share)
    keys = np.asarray(values, float)
    return keys[index] + (keys[index + 1] - keys[index]) * eased


def both(**angles: np.ndarray | float) -> dict[str, np.ndarray | float]:
    """The same limb angles on both sides."""
    return {f"{side}_{name}": value for side in SIDES for name, value in angles.items()}


def points(*columns: np.ndarray | float) -> np.ndarray:
    """(T, 3) positions from x, y and z, each (T,) or a number."""
    return np.stack(np.broadcast_arrays(*(np.asarray(column, float) for column in columns)), axis=-1)
