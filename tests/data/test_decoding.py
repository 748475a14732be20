"""Label files read many at once are what they are one by one, whatever is wrong with some of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tps_pipeline.data import decoding
from tps_pipeline.data.alike import Ways
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.decoding import Labels, VideoFiles, decode
from tps_pipeline.data.kinetics_tps import TABLES
from tps_pipeline.labels import PARTS

ODD = LabelFile("odd", "img_00999.json", b'{"humans": [{"box": [1, 2, 3, 4], "note": "\xc3\xa9"}]}')
"""Written as nothing else is: what it is among is parsed file by file."""


def frame(rng: np.random.Generator, *, faults: float, objects: bool) -> dict[str, Any]:
    def box() -> list[float]:
        corner = rng.integers(-3, 300, 2)
        ordered = [*corner.tolist(), *(corner + rng.integers(0, 90, 2) + 0.5 * rng.integers(0, 2)).tolist()]
        return ordered[::-1] if rng.random() < faults else ordered

    def part(name: str) -> dict[str, Any]:
        states = [f"state_{rng.integers(5)}" for _ in range(rng.integers(1, 4))]
        state = "unheard of" if rng.random() < faults else states if rng.random() < 0.2 else states[0]
        return {"number": 1, "name": name, "box": box(), "verb": state}

    def person() -> dict[str, Any]:
        names = rng.permutation([*PARTS, *["wing"] * (rng.random() < faults)])[: rng.integers(0, 6)].tolist()
        return {"number": 1, "box": box(), "parts": {name: part(name) for name in names}}

    others = {"objects": [{"name": "ball", "box": box()} for _ in range(rng.integers(0, 3))]} if objects else {}
    return {"humans": [person() for _ in range(rng.integers(0, 4))]} | others


def spoilt(rng: np.random.Generator, text: str) -> str:
    """A text that is no label, or one of another kind."""
    at = int(rng.integers(len(text)))
    twice = text.replace('"left_arm":', '"head":')
    return [text[:at], text[:at] + "{" + text[at:], text.replace("[", "", 1), twice, f" {text}\n"][rng.integers(5)]


def videos(seed: int, *, faults: float = 0.0) -> list[VideoFiles]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(3):
        texts = [json.dumps(frame(rng, faults=faults, objects=bool(seed % 2))) for _ in range(20)]
        texts = [spoilt(rng, text) if rng.random() < faults else text for text in texts]
        files = [LabelFile(f"{number}/{i}", f"img_{i + 1:05}.json", text.encode()) for i, text in enumerate(texts)]
        found.append(VideoFiles(f"v{number}", files))
    return found


def rows(labels: Labels) -> list[Any]:
    tables: list[pa.Table] = [getattr(labels, name) for name in TABLES if name != "actions"]
    return [labels.problems, *([row for row in table.to_pylist() if row["frame"] != 999] for table in tables)]


@pytest.mark.parametrize("faults", [0.0, 0.001, 0.02])
@pytest.mark.parametrize("seed", range(20))
def test_files_say_the_same_at_once_and_one_by_one(seed: int, faults: float):
    files = videos(seed, faults=faults)
    states = {f"state_{n}" for n in range(5)}
    odd = [*files[:-1], VideoFiles(files[-1].video_id, [*files[-1].files, ODD])]
    assert rows(decode(files, states)) == rows(decode(odd, states))


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_with_nothing_wrong_are_read_at_once(seed: int):
    contents = [file.content for video in videos(seed) for file in video.files]
    assert vars(decoding)["_read_at_once"](contents, Ways(proposals=False), alone=True) is not None


@pytest.mark.parametrize("wrong", ["01", "1_0", "+1", "1.", ".5e9", "01e3", "", "nan", "0x1", "1 2"])
@pytest.mark.parametrize("place", ['"number": %s, "box"', '"box": [%s, 2, 30'])
def test_what_is_written_alike_and_is_no_json_is_left_out(place: str, wrong: str):
    text = '{"humans": [{"number": 1, "box": [1, 2, 30, 40], "parts": {}}]}'
    right = place % "1"
    assert right in text
    files = [
        LabelFile(str(n), f"{n}.json", said.encode())
        for n, said in ((1, text), (2, text.replace(right, place % wrong)))
    ]
    found = decode([VideoFiles("v", files)], None)
    assert [problem.path for problem in found.problems] == ["2"]


def test_two_files_are_not_taken_for_three():
    frame = '{"humans": [{"box": [1, 2, 30, 40], "parts": {}}]}'
    texts = [frame[:29], frame[30:], f"{frame},{frame}"]
    assert ",".join(texts[:2]) == frame
    files = [LabelFile(f"{n}", f"{n}.json", text.encode()) for n, text in enumerate([frame, *texts], 1)]
    assert [problem.path for problem in decode([VideoFiles("v", files)], None).problems] == ["2", "3", "4"]


def test_problems_are_in_the_order_of_videos_and_files():
    def video(name: str) -> VideoFiles:
        said = {1: b'{"humans": []}', 0: b"", 2: b"{", 3: b'{"humans": []}'}
        return VideoFiles(name, [LabelFile(f"{name}/{n}", f"{n}.json", said[n]) for n in (1, 0, 2, 3, 2)])

    found = decode([video("a"), video("b")], None)
    assert [problem.path for problem in found.problems] == ["a/0", "a/2", "a/2", "b/0", "b/2", "b/2"]
