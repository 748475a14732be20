from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tps_pipeline.clips.sampling import dense_sample, uniform_sample
from tps_pipeline.video.frames import sampled_frames

counts = st.integers(1, 5000)
lengths = st.integers(1, 64)


def test_sampled_frames_are_the_challenges():
    assert sampled_frames(300).tolist() == list(range(1, 301, 5))
    assert sampled_frames(6).tolist() == [1, 6]
    assert sampled_frames(5).tolist() == [1]
    assert sampled_frames(0).tolist() == []


@given(st.integers(0, 5000), st.integers(1, 60))
def test_sampled_frames_are_a_stride_apart_to_the_end(n_frames: int, stride: int):
    frames = sampled_frames(n_frames, stride).tolist()
    assert frames == [frame for frame in range(1, n_frames + 1) if (frame - 1) % stride == 0]


@given(counts, lengths)
def test_uniform_takes_the_middle_of_each_segment_at_test_time(n_frames: int, length: int):
    for segment, index in enumerate(uniform_sample(n_frames, length).tolist()):
        middle = (2 * segment + 1) * n_frames  # in frames, times twice the length
        assert index * 2 * length <= middle < (index + 1) * 2 * length


@given(counts, lengths, st.integers(0, 2**32 - 1) | st.none())
def test_uniform_takes_one_frame_of_each_segment(n_frames: int, length: int, seed: int | None):
    rng = None if seed is None else np.random.default_rng(seed)
    indices = uniform_sample(n_frames, length, rng)
    assert indices.shape == (length,)
    assert indices.dtype == np.int64
    segment = np.arange(length + 1) * n_frames
    # Frame i spans [i, i + 1): it must meet its segment [k n / length, (k + 1) n / length).
    assert (indices * length <= segment[1:]).all()
    assert ((indices + 1) * length > segment[:-1]).all()
    assert indices.max() < n_frames


@given(counts)
def test_uniform_of_every_frame_is_every_frame(n_frames: int):
    assert uniform_sample(n_frames, n_frames).tolist() == list(range(n_frames))


@given(st.integers(1, 20), st.integers(20, 64))
def test_uniform_repeats_frames_of_short_videos(n_frames: int, length: int):
    assert set(uniform_sample(n_frames, length).tolist()) == set(range(n_frames))


def test_uniform_at_random_reaches_every_frame():
    rng = np.random.default_rng(0)
    seen = {int(index) for _ in range(400) for index in uniform_sample(40, 8, rng)}
    assert seen == set(range(40))


@given(st.data(), counts, lengths, st.integers(1, 16), st.sampled_from(["start", "middle"]))
def test_dense_keeps_interval_and_key_frame_and_pads_with_the_edge(
    data: st.DataObject, n_frames: int, length: int, interval: int, label: Literal["start", "middle"]
):
    key = data.draw(st.integers(0, n_frames - 1))
    indices = dense_sample(key, n_frames, length=length, interval=interval, label=label)
    at = length // 2 if label == "middle" else 0
    assert len(indices) == length
    assert indices[at] == key
    for place, index in enumerate(indices.tolist()):
        wanted = key + (place - at) * interval
        assert index == min(max(wanted, 0), n_frames - 1)


def test_dense_by_hand():
    assert dense_sample(0, 10, length=4, interval=2, label="start").tolist() == [0, 2, 4, 6]
    assert dense_sample(9, 10, length=4, interval=2, label="start").tolist() == [9, 9, 9, 9]
    assert dense_sample(1, 10, length=5, interval=3).tolist() == [0, 0, 1, 4, 7]


@pytest.mark.parametrize("call", [lambda: uniform_sample(0, 4), lambda: dense_sample(5, 5, length=4, interval=1)])
def test_impossible_samples_are_refused(call: Callable[[], object]):
    with pytest.raises(ValueError, match="frames"):
        call()
