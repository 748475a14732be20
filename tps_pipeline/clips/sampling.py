"""Which frames a model looks at: pure functions of frame counts."""

from __future__ import annotations

from typing import Literal

import numpy as np

Label = Literal["start", "middle", "end"]
"""Where in a clip the frame is that the clip is about."""


def uniform_sample(n_frames: int, length: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """One frame from each of `length` equal segments of a video (Wang et al., TSN, 2016, section 3.1).

    Args:
        n_frames: Frames in the video; with fewer than `length`, frames repeat.
        length: How many to sample.
        rng: Places each frame at random within its segment; None takes the middle.

    Returns:
        Indices from 0, ascending, int64, shape (length,).

    >>> uniform_sample(100, 4)
    array([12, 37, 62, 87])
    """
    _check(n_frames, length)
    places = 0.5 if rng is None else rng.random(length)
    indices = ((np.arange(length) + places) * n_frames / length).astype(np.int64)
    return np.minimum(indices, n_frames - 1)


def dense_sample(key_frame: int, n_frames: int, *, length: int, interval: int, label: Label = "middle") -> np.ndarray:
    """A window of frames at a fixed interval around one frame; past the video's ends its edge frame repeats.

    Args:
        key_frame: Index of the frame that the clip is about, from 0.
        n_frames: Frames in the video.
        length: Frames in the window.
        interval: Step between them.
        label: Where in the window the key frame is: `start` (position 0), `middle` (position `length // 2`) or `end`
            (the last position: the window is causal).

    Returns:
        Indices from 0, ascending, int64, shape (length,).

    >>> dense_sample(3, 100, length=4, interval=2)
    array([0, 1, 3, 5])
    """
    _check(n_frames, length)
    if not 0 <= key_frame < n_frames:
        raise ValueError(f"key_frame {key_frame} is not in a video of {n_frames} frames")
    before = {"start": 0, "middle": length // 2, "end": length - 1}[label]
    return np.clip(key_frame + (np.arange(length) - before) * interval, 0, n_frames - 1)


def dense_samples(key_frames: np.ndarray, n_frames: int, *, length: int, interval: int, label: Label) -> np.ndarray:
    """A `dense_sample` around each of some frames: `(K, length)`."""
    return np.stack(
        [dense_sample(key, n_frames, length=length, interval=interval, label=label) for key in key_frames.tolist()]
    )


def choose(available: int, wanted: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Some of several things, which repeat if they are too few.

    Args:
        available: How many there are.
        wanted: How many to choose.
        rng: Chooses at random; None takes evenly spaced ones.

    Returns:
        Their places from 0, ascending, int64, shape (wanted,).

    >>> choose(10, 3)
    array([1, 5, 8])
    """
    if rng is None:
        return ((np.arange(wanted) + 0.5) * available / wanted).astype(np.int64)
    return np.sort(rng.choice(available, wanted, replace=wanted > available))


def _check(n_frames: int, length: int) -> None:
    if n_frames < 1 or length < 1:
        raise ValueError(f"cannot sample {length} of {n_frames} frames: both must be at least 1")
