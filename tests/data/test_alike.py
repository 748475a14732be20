"""What `alike` reads is what the typed reader reads, to the last bit; what it does not read is left to that one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_pipeline.data import challenge_json
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import Parsing

HERE = Path("memory.json")
FAST: Any = vars(challenge_json)["_at_once"]


def file_of(rng: np.random.Generator, *, proposals: bool, extras: bool) -> dict[str, Any]:
    """A file of one video or more, every part written in the same order."""

    def box() -> list[float]:
        corner = rng.integers(0, 300, 2)
        return [*corner.tolist(), *(corner + rng.integers(1, 90, 2) + 0.5 * rng.integers(0, 2)).tolist()]

    def part(name: str) -> dict[str, Any]:
        n = int(rng.integers(1, 6)) if rng.random() < 0.3 else 1
        verbs = [f"state_{rng.integers(9)}" for _ in range(n)]
        said: dict[str, Any] = {"number": n, "name": name} if extras else {}
        if proposals:
            return said | {"box": [box() for _ in range(n)], "verb": verbs}
        return said | {"box": box(), "verb": verbs if n > 1 else verbs[0]}

    def person(number: int) -> dict[str, Any]:
        names = rng.permutation(PARTS)[: rng.integers(0, 11)].tolist()
        said: dict[str, Any] = {"number": number} if extras else {}
        return said | {"box": box(), "parts": {name: part(name) for name in names}}

    return {
        f"video_{v}": {
            f"img_{f:05d}.json": {"humans": [person(n) for n in range(rng.integers(0, 4))]} for f in range(1, 12, 5)
        }
        for v in range(2)
    }


def fast(data: bytes, *, proposals: bool) -> tuple[Parsing, list[str]] | None:
    part = challenge_json._PredictedPart if proposals else challenge_json._AnnotatedPart  # pyright: ignore
    return FAST(data, part, max_people=10 if proposals else None, parts=PARTS if proposals else None)


def typed(data: bytes, *, proposals: bool) -> tuple[Parsing, list[str]]:
    part: Any = challenge_json._PredictedPart if proposals else challenge_json._AnnotatedPart  # pyright: ignore
    videos = vars(challenge_json)["_decode"](HERE, data, part)
    rules: dict[str, Any] = {"max_people": 10, "parts": PARTS} if proposals else {}
    parsing = vars(challenge_json)["_lay_out"](HERE, videos, **rules)
    return parsing, [name for frames in videos.values() for name in frames]


def assert_equal(ours: tuple[Parsing, list[str]], theirs: tuple[Parsing, list[str]]) -> None:
    assert ours[1] == theirs[1]
    for field in dataclasses.fields(Parsing):
        mine, other = getattr(ours[0], field.name), getattr(theirs[0], field.name)
        if isinstance(other, np.ndarray):
            assert mine.dtype == other.dtype, field.name
            np.testing.assert_array_equal(mine, other, err_msg=field.name)
        else:
            assert mine == other, field.name


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("proposals", [False, True])
def test_reads_what_programs_write(proposals: bool, extras: bool, separators: tuple[str, str]):
    file = file_of(np.random.default_rng(3), proposals=proposals, extras=extras)
    data = json.dumps(file, separators=separators).encode()
    ours = fast(data, proposals=proposals)
    assert ours is not None
    assert_equal(ours, typed(data, proposals=proposals))


@pytest.mark.parametrize("layout", [{"indent": 1}, {"indent": 4}, {"separators": (" , ", " : ")}])
@pytest.mark.parametrize("scale", [1, 40, 0.37, -1])
def test_reads_any_layout_and_any_numbers(layout: dict[str, Any], scale: float):
    video = file_of(np.random.default_rng(5), proposals=True, extras=True)["video_0"]
    for human in (human for frame in video.values() for human in frame["humans"]):
        for part in human["parts"].values():
            part["box"] = [[corner * scale for corner in box] for box in part["box"]]
    frames = {f"img_{n:05d}.json": frame for n, frame in enumerate([*video.values()] * 40)}
    data = json.dumps({"v": frames}, **layout).encode()
    ours = fast(data, proposals=True)
    assert ours is not None
    assert_equal(ours, typed(data, proposals=True))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"verb": "a"', '"verb": 3'),
        ('"verb": "a"', '" verb": "a"'),
        ('"verb": "a"', '"verb": "a", "verb": "b"'),
        ('"verb": "a"', '"verb": "a", "x": {"y": 1, "verb": "b"}'),
        ('"parts"', '" parts"'),
        ('"parts": {', '"parts": {"x": 1, '),
        ("[1, 2, 3, 4]", "[1, 2, 3, null]"),
        ("[1, 2, 3, 4]", "[[1, 2, 3, 4]]"),
        ("}]}", "}, null]}"),
    ],
)
def test_what_no_object_says_is_never_learned(right: str, wrong: str):
    human = '{"box": [0, 0, 9, 9], "parts": {"head": {"box": [1, 2, 3, 4], "verb": "a"}}}'
    data = f'{{"v": {{"img_1.json": {{"humans": [{human}, {human}]}}}}}}'
    assert fast(data.encode(), proposals=False) is not None
    assert right in data
    assert fast(data.replace(right, wrong).encode(), proposals=False) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32), changes=st.lists(st.tuples(st.integers(0, 2**20), st.binary(max_size=3)), max_size=2)
)
def test_never_reads_what_the_typed_reader_reads_otherwise(seed: int, changes: list[tuple[int, bytes]]):
    rng = np.random.default_rng(seed)
    proposals = bool(rng.random() < 0.5)
    data = json.dumps(file_of(rng, proposals=proposals, extras=bool(rng.random() < 0.5))).encode()
    for at, new in changes:
        at %= len(data)
        data = data[:at] + (new or data[: rng.integers(1, 30)]) + data[at + rng.integers(0, 2) :]
    ours = fast(data, proposals=proposals)
    if ours is not None:
        assert_equal(ours, typed(data, proposals=proposals))


def pieces(text: str) -> list[str]:
    """A file's objects, lists and names: to put one in another's place gives files that are nearly right."""
    found = ['"number":1', '"x":{"box":[1,2,3,4],"verb":"a"}', "null", "true", "1e999", "-3", "[]", "{}"]
    starts: list[int] = []
    for at, character in enumerate(text):
        if character in "{[":
            starts.append(at)
        elif character in "]}":
            found.append(text[starts.pop() : at + 1])
    return found


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_never_takes_another_shape_for_the_usual_one(seed: int):
    rng = np.random.default_rng(seed)
    proposals = bool(rng.random() < 0.5)
    text = json.dumps(file_of(rng, proposals=proposals, extras=False), separators=(",", ":"))
    parts = pieces(text)
    old, new = parts[rng.integers(8, len(parts))], parts[rng.integers(0, len(parts))]
    at = text.index(old)
    after = rng.random()
    put = f"{new},{old}" if after < 0.4 else f"{old},{new}" if after < 0.6 else new
    data = (text[:at] + put + text[at + len(old) :]).encode()
    ours = fast(data, proposals=proposals)
    if ours is None:
        return
    try:
        theirs = typed(data, proposals=proposals)
    except DataError as error:
        raise AssertionError(f"read, and should not have been: {error}") from error
    assert_equal(ours, theirs)


@pytest.mark.parametrize("between", ["", '"tail": {"box": [1, 2, 3, 4], "verb": "c"}, '])
def test_of_a_part_that_is_written_twice_the_last_one_counts(between: str):
    first, last = (f'"head": {{"box": [1, 2, 3, 4], "verb": "{state}"}}' for state in "ab")
    person = f'{{"box": [0, 0, 9, 9], "parts": {{{first}, {between}{last}}}}}'
    data = f'{{"v": {{"img_1.json": {{"humans": [{person}]}}}}}}'.encode()
    assert fast(data, proposals=False) is None
    assert "a" not in challenge_json.parse_truth(data, HERE).states


@pytest.mark.parametrize("name", [" bend", "bend ", "", "a state whose name is a sentence", "x" * 65])
@pytest.mark.parametrize("number", [0, -0.0, -7, 12345678, 99999.5, 1e-3])
def test_names_and_numbers_of_any_kind_are_the_typed_readers(name: str, number: float):
    part = {"box": [number, 1, 250, 300], "verb": name}
    data = json.dumps({"v": {"img_1.json": {"humans": [{"box": [0, 0, 9, 9], "parts": {"head": part}}] * 2}}}).encode()
    ours = fast(data, proposals=False)
    assert (ours is None) == (name == "" or len(name) > 64)
    if ours is not None:
        assert_equal(ours, typed(data, proposals=False))
        assert np.signbit(ours[0].part_box[0, 0]) == np.signbit(number)
