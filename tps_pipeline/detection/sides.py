"""Left and right of one person through a video: where the landmark network changes its mind, the majority is right.

Of somebody who turns, is seen from behind or whose face is hidden, the network now and then takes the left side for
the right one, all of the body at once. From frame to frame a body moves less than that. So each frame is compared with
those before it, as it is and with its sides exchanged; the frames fall into two kinds, and the kind that is rarer has
its sides exchanged. Only the trunk is looked at: limbs cross. Who really turns is narrow for a moment: where somebody
comes out of one the other way around, what follows is told by its own frames.
(Who spins so fast that no frame shows them narrow cannot be told from a mistake.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps_pipeline.landmarks import LANDMARKS, MIRRORED, stature

BEFORE, DECAY = 4, 0.8
"""Frames that a frame is compared with, and what each counts for as a share of the one after it: the network may find
nobody's shape in one or two."""

STAY = 0.045
"""What it counts that sides seldom change, as a share of stature."""

NARROW = 0.06
"""Mean distance of a trunk's points from their mirror images, as a share of stature, below which it is narrow. Who
faces the camera has 0.14; on the clips that it was settled on anything from 0.06 to 0.1 gives nearly the same."""

_BODY = [LANDMARKS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("shoulder", "hip")]
_OTHERS = [MIRRORED[i] for i in _BODY]
_HIPS = [LANDMARKS.index(f"{side}_hip") for side in ("left", "right")]


def exchanged(points: NDArray[Any], visibility: NDArray[Any]) -> NDArray[np.bool_]:
    """In which frames of a person left and right have to be exchanged.

    Args:
        points: x and y of the landmarks, frame by frame, (T, 33, 2).
        visibility: Of each, 0 to 1, (T, 33).

    Returns:
        (T,); never more than half of the frames.
    """
    kinds, points = np.ones(len(points)), np.asarray(points, float)
    if len(points) < 2:
        return np.zeros(len(points), bool)
    size = float(np.median(stature(points, visibility))) + 1e-6
    bodies = (points - points[:, _HIPS].mean(1, keepdims=True)) / size
    narrow = [_nearer(body, body, seen) < NARROW for body, seen in zip(bodies, visibility, strict=True)]
    starts = [0]
    for t in range(1, len(points)):
        backs = np.arange(1, min(BEFORE, t - starts[-1]) + 1)
        nearer = [_nearer(bodies[t - k], bodies[t], np.minimum(visibility[t - k], visibility[t])) for k in backs]
        evidence = np.average(kinds[t - backs] * nearer, weights=DECAY**backs) + STAY * kinds[t - 1]
        kinds[t] = 1 if evidence >= 0 else -1
        if narrow[t - 1] and kinds[t] != kinds[t - 1]:  # turned, or mixed up: that cannot be told
            starts.append(t)
    return np.concatenate([piece < 0 if piece.sum() >= 0 else piece > 0 for piece in np.split(kinds, starts[1:])])


def _nearer(before: NDArray[Any], now: NDArray[Any], weights: NDArray[Any]) -> float:
    """How much nearer a body is to another as it is (above 0) than with its sides exchanged, in statures a landmark."""
    counted = weights[_BODY] + 1e-3
    mirrored, as_it_is = (np.hypot(*(before[_BODY] - body).T) for body in (now[_OTHERS], now[_BODY]))
    return float(((mirrored - as_it_is) * counted).sum() / counted.sum())
