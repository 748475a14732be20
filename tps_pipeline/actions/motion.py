"""A person's boxes over time as one row of numbers, of which neither place nor size in the picture changes any.

What is not seen is left out of means and spreads; how often it is seen is among the numbers, and what nothing is
known of is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from tps_pipeline.labels import PARTS, swapped
from tps_pipeline.methods.trajectories.sequences import Boxes

STILL = 1e-9
"""What two sides spread together, in squared units, up to which they do not move: there is nothing to correlate."""

NEIGHBOURS = (0.5, 1.0, 0.5)
"""How much the step before, the step itself and the one after count in smoothing."""

Numbers = NDArray[np.float64]
"""Over time, people or parts."""
Mask = NDArray[np.bool_]
"""What is there."""
Weights = Numbers | Mask
"""How much each counts."""


def described(boxes: Boxes, seconds: float, parts: Sequence[str] = PARTS) -> NDArray[np.float32]:
    """Statistics over a person's time of what follows for each box, of boxes smoothed over time (`smoothed`).

    The person's usual size is the unit. Place from the person's centre, and size: mean, spread and range. Velocity a
    second: mean and mean amount; without the person's own: mean amount and spread. Confidence: mean and spread, and how
    often there is a box. Of any two parts the way between them: mean and spread; of a left and its right part moreover
    its mean amount, and how their places correlate. Of the person also for how long it is seen, its shape, and where it
    goes. In means and spreads a box counts as much as one is sure of it, two together as much as of both.

    Args:
        boxes: `(T, 1 + parts, ...)`; the person is seen at least once.
        seconds: Between two steps.
        parts: Which parts the boxes are of.

    Returns:
        `(F,)`; of the precision in which trees compare them.
    """
    confidences, corners = boxes.confidences.astype(np.float64), smoothed(boxes)
    seen = (confidences > 0) & (confidences[:, :1] > 0)
    there, sure = seen[..., None], np.where(seen, confidences, 0)[..., None]
    sizes = np.where(there, corners[..., 2:] - corners[..., :2], 1)
    centres = np.where(there, (corners[..., 2:] + corners[..., :2]) / 2, 0)
    usual = np.exp(np.median(np.log(sizes[seen[:, 0], 0]).mean(1)))
    places = np.where(there, (centres - centres[:, :1]) / usual, 0)
    shapes = np.log(sizes / usual)
    both, sure_of_both = there[1:] & there[:-1], sure[1:] * sure[:-1]
    velocities = np.where(both, np.diff(centres, axis=0) / (usual * seconds), 0)
    within = velocities - velocities[:, :1]
    statistics = (
        *(statistic(each, sure) for each in (places, shapes) for statistic in (_mean, _spread)),
        *(_range(each, there) for each in (places, shapes)),
        *(_mean(each, sure_of_both) for each in (velocities, np.abs(velocities), np.abs(within))),
        _spread(within, sure_of_both),
        _mean(confidences, seen),
        _spread(confidences, seen),
        seen.mean(0),
        *_between(places, sure, parts),
        _own(centres[seen[:, 0], 0] / usual, sizes[seen[:, 0], 0]),
    )
    return np.concatenate([each.ravel() for each in statistics]).astype(np.float32)


def smoothed(boxes: Boxes) -> Numbers:
    """Corners without the trembling of detectors: the mean of a step and its neighbours, by how sure they are.

    Parts are smoothed as they lie around the person's centre, so that a person who moves does not lag behind.

    Args:
        boxes: `(T, 1 + parts, ...)`.

    Returns:
        `(T, 1 + parts, 4)`; unchanged where there is no box.
    """
    corners, confidences = boxes.corners.astype(np.float64), boxes.confidences.astype(np.float64)
    sure = np.where(confidences[:, :1] > 0, confidences, 0)[..., None]
    middle = np.tile((corners[:, :1, :2] + corners[:, :1, 2:]) / 2, 2)
    around = corners - middle
    sums, weights = (convolve1d(each, NEIGHBOURS, axis=0, mode="constant") for each in (around * sure, sure))
    return np.where(sure > 0, sums / np.where(sure > 0, weights, 1) + middle, corners)


def _between(places: Numbers, sure: Numbers, parts: Sequence[str]) -> Iterator[Numbers]:
    """Of any two parts, and of the two sides."""
    one, other = _boxes_of(combinations(range(len(parts)), 2))
    ways, both = places[:, one] - places[:, other], sure[:, one] * sure[:, other]
    yield from (_mean(ways, both), _spread(ways, both))
    left, right = _boxes_of((part, mirror) for part, mirror in enumerate(swapped(parts)) if part < mirror)
    both = sure[:, left] * sure[:, right]
    yield _mean(np.abs(places[:, left] - places[:, right]), both)
    yield _correlation(places[:, left], places[:, right], both)


def _boxes_of(pairs: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """The boxes of pairs of parts, `(2, pairs)`."""
    return 1 + np.array([*pairs], np.int64).reshape(-1, 2).T


def _own(ways: Numbers, sizes: Numbers) -> Numbers:
    """Of the person: shape, time, and the way, in units of the person's size: how far, and from where to where."""
    shapes = np.log(sizes[:, 1] / sizes[:, 0])
    gone = ways[-1] - ways[0]
    numbers = (len(ways), shapes.mean(), shapes.std(), ways.std(0), gone, abs(gone), abs(np.diff(ways, axis=0)).sum(0))
    return np.hstack(numbers)


def _mean(values: Numbers, weights: Weights) -> Numbers:
    """Over time, weighed; 0 where nothing is known."""
    total = weights.sum(0)
    return (values * weights).sum(0) / np.where(total > 0, total, 1)


def _spread(values: Numbers, weights: Weights) -> Numbers:
    return np.sqrt(_mean((values - _mean(values, weights)) ** 2, weights))


def _correlation(one: Numbers, other: Numbers, weights: Weights) -> Numbers:
    spreads = _spread(one, weights) * _spread(other, weights)
    together = _mean((one - _mean(one, weights)) * (other - _mean(other, weights)), weights)
    return np.where(spreads > STILL, together / np.maximum(spreads, STILL), 0)


def _range(values: Numbers, known: Mask) -> Numbers:
    highest, lowest = np.where(known, values, -np.inf).max(0), np.where(known, values, np.inf).min(0)
    return np.where(known.any(0), highest - lowest, 0)
