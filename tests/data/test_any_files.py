"""Whatever is in a list, a submission, labels, an archive or a recipe: a result or one line that names the file.

It takes seconds and little memory. `make test` tries a few files, the same each time; `EXAMPLES=` says how many, as
`make test-faults` does.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.layouts import write_frames
from tps_pipeline import recipe
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.decoding import VideoFiles, decode
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.lists import (
    BODY_PARTS,
    FRAME_COUNTS,
    OBJECTS,
    STATES,
    known_states,
    read_frame_counts,
    read_names,
    unread_lines,
)
from tps_pipeline.data.submission import evaluate
from tps_pipeline.data.validation import validate
from tps_pipeline.errors import TpsError

pytestmark = pytest.mark.whole

SECONDS, BYTES = 10, 1 << 30
LONGEST = 2000
"""Letters of a line: what is named is cut at 500."""

any_file = settings(
    max_examples=int(os.environ.get("EXAMPLES", "60")),
    derandomize=True,
    deadline=None,  # `in_seconds` counts this process's, whatever else the machine does
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """No more memory than `BYTES` beside what this process has already: else there is a `MemoryError`."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def in_seconds() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def is_a_line(text: str) -> bool:
    return 0 < len(text) < LONGEST and text.isprintable()


ODD = ["", "\0", "\ufeff", "\u2028", "\x85", "\x0b", "\x1c", "\ud800", "²", "١٢", "é", "😀", '"', '""', "'", "\\", "\r"]
"""What breaks readers."""

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be", "latin-1"]


@st.composite
def written(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """Text in some encoding, some bytes of it changed, or its end missing."""
    content = bytearray(draw(texts).encode(draw(st.sampled_from(ENCODINGS)), "backslashreplace"))
    if draw(st.integers(0, 3)) == 0:
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content)))
            content[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    if draw(st.integers(0, 7)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


NUMBERED = ["0", "12", "3.", "(4)", "-1", "1e9", "8.0", "nan", "1" * 5000]
NAMED = ["bend", "v1", "v2.mp4", "train/v3", "raise up", "x" * 70_000]
WORDS = st.text(max_size=8) | st.sampled_from([*NUMBERED, *NAMED, *ODD])
MARKS = st.sampled_from([",", ";", "\t", ":", "  ", " ", ", ", '","', ""])
LINES = st.tuples(st.lists(WORDS, max_size=4), MARKS).map(lambda line: line[1].join(line[0]))
TEXTS = st.tuples(st.lists(LINES, max_size=6), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
MANY = st.tuples(st.sampled_from([" 1", "1 ", "1. ", "(", '"', ",", "\n", "a\n", "  "]), st.integers(1, 100_000), WORDS)
LISTS = st.binary(max_size=64) | written(
    TEXTS.map(lambda text: text[1].join(text[0])) | MANY.map(lambda many: f"{many[2]}{many[0] * many[1]}{many[2]}")
)
"""Few lines, or one thing many times between two others."""

NAMES, COUNTS = [STATES, BODY_PARTS, OBJECTS], list(FRAME_COUNTS.values())


@any_file
@given(st.dictionaries(st.sampled_from([*NAMES, *COUNTS]), LISTS, min_size=1))
def test_any_list_is_names_or_lines_that_name_it(lists: dict[str, bytes]) -> None:
    with in_seconds(), tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "list").mkdir()
        for path, content in lists.items():
            (data / path).write_bytes(content)
        found = [read_names(data, path) for path in NAMES] + [read_frame_counts(data, path) for path in COUNTS]
        for listed in filter(None, found):
            assert all(name and isinstance(number, int) for name, number in listed.names.items())
        assert known_states(data) is None or "none" in (known_states(data) or ())
        for problem in [*unread_lines(data), *validate(data)]:
            assert is_a_line(str(problem)), problem
            assert problem.path in (*lists, *NAMES, ".")


PART = {"box": [[1, 1, 5, 5], [2, 2, 5, 5]], "verb": ["none", "bend"]}
TRUTH = {"box": [1, 1, 5, 5], "verb": ["none", "bend"]}
ACTIONS = {"v1": "lunge", "v2": "push_up"}
FILES = ("gt_part_result.json", "gt_vid_result.json", "pred_part_result.json", "pred_vid_result.json")


def frames(part: dict[str, Any]) -> dict[str, Any]:
    person = {"number": 1, "box": [0, 0, 9, 9], "parts": {"head": part, "left_arm": part}}
    return {video: {f"img_{n:05}.json": {"humans": [person, person]} for n in (1, 6)} for video in ACTIONS}


GOOD: dict[str, Any] = dict(zip(FILES, (frames(TRUTH), ACTIONS, frames(PART), ACTIONS), strict=True))
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**63, 2**64, 1e308, -0.0, 1e-320, 10**9])
FIELDS = st.sampled_from(["humans", "box", "verb", "parts", "head", "v1", "img_00001.json", *ODD]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
PIECES = [
    *("1" * 5000, "1" * 400 + ".0", "1e999", "-1e999", "1e-400", "NaN", "-Infinity", "1.", "01", "", "/**/1", "'a'"),
    *('"\\ud800"', '"\\u0000"', '"\n"', "\ufeff1", "[" * 5000, '{"a":' * 5000),
    '"img_00001.json": {"humans": []}, "img_00001.json"',
]
"""In the place of a value, as text: what Python's own writer does not write."""


@st.composite
def changed(draw: st.DrawFn, good: Any) -> str:
    """JSON like a good one, with some values, names and pieces of the text that are others."""
    document = deepcopy(good)
    pieces: dict[str, str] = {}
    for _ in range(draw(st.integers(0, 3))):
        inside, at = None, None
        value = document
        while isinstance(value, dict | list) and value and (inside is None or draw(st.integers(0, 4))):
            inside = value
            at = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            value = value[at]
        if inside is None or at is None:
            break
        kind = draw(st.integers(0, 3))
        if kind == 0:
            mark = f"<{len(pieces)}>"
            pieces[json.dumps(mark)] = draw(st.sampled_from(PIECES))
            inside[at] = mark
        elif kind == 1 and isinstance(inside, dict):
            name = draw(st.sampled_from(["img_1.json", "img_0.json", "tail"]) | FIELDS)
            inside[name] = inside.pop(at)
        elif kind == 2 and isinstance(inside, list):
            inside *= draw(st.integers(0, 12))
        else:
            inside[at] = draw(VALUES)
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    for mark, piece in pieces.items():
        text = text.replace(mark, piece)
    return text


SUBMISSIONS = st.fixed_dictionaries(
    {}, optional={name: written(changed(good)) | st.binary(max_size=16) for name, good in GOOD.items()}
)


@any_file
@given(SUBMISSIONS)
def test_any_submission_is_scored_or_refused_in_a_line_that_names_a_file(files: dict[str, bytes]) -> None:
    with in_seconds(), tempfile.TemporaryDirectory() as folder:
        for name, good in GOOD.items():
            (Path(folder) / name).write_bytes(files.get(name, json.dumps(good).encode()))
        found, said = None, f"{folder}: nothing"
        try:
            found = evaluate(folder, folder)
        except TpsError as error:
            said = str(error)
        assert is_a_line(said), said
        assert folder in said
        assert found is None or 0 <= found.score <= 1


FRAME = {
    "humans": [{"number": 1, "box": [1, 1, 5, 5], "parts": {"head": TRUTH}}],
    "o": [{"box": [0, 0, 2, 2], "name": "a"}],
}
LABEL = written(changed(FRAME)) | st.binary(max_size=32)


@any_file
@given(LABEL)
def test_any_label_file_is_labels_or_lines_that_name_it(content: bytes) -> None:
    good = LabelFile("v/img_00001.json", "img_00001.json", json.dumps(FRAME).encode())
    with in_seconds():
        found = decode([VideoFiles("v", [good, LabelFile("v/img_00006.json", "img_00006.json", content)])], None)
        assert found.labelled_frames["frame"].to_pylist()[0] == 1
        for problem in found.problems:
            assert is_a_line(str(problem)), problem
            assert problem.path.startswith("v/")


def archive(suffix: str) -> bytes:
    """Labels of two videos, packed."""
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder, "in/lunge/v1"), dict.fromkeys((1, 6), FRAME))
        write_frames(Path(folder, "in/lunge/v2"), {1: FRAME})
        return Path(shutil.make_archive(f"{folder}/out", suffix, f"{folder}/in")).read_bytes()


ARCHIVES = {name: archive(kind) for name, kind in [(".tar", "tar"), (".tar.gz", "gztar"), (".zip", "zip")]}


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, bytes]:
    """An archive of which some bytes are others, or missing."""
    suffix = draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[suffix])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 12))] = draw(
            st.binary(max_size=12) | st.sampled_from([b"\xff" * 12, b"-1"])
        )
    return suffix, bytes(content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 3)) == 0 else content)


@any_file
@given(broken())
def test_any_archive_is_labels_or_lines_that_name_it(made: tuple[str, bytes]) -> None:
    suffix, content = made
    with in_seconds(), tempfile.TemporaryDirectory() as folder:
        name = f"train_annotations{suffix}"
        Path(folder, name).write_bytes(content)
        found = read_all(Path(folder))
        for problem in found.problems:
            assert is_a_line(str(problem)), problem


DEMO = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
TRAPS = st.sampled_from([
    "&a [*a]", "!!python/object:os.system [ls]", "<<: *a", "1e999", ".nan", "0x" + "f" * 900, "9" * 5000, "[" * 3000,
])  # fmt: skip


@any_file
@given(written(changed(DEMO) | st.tuples(changed(DEMO), TRAPS).map("\n".join) | TRAPS))
def test_any_recipe_is_one_or_a_line_that_names_it(content: bytes) -> None:
    with in_seconds(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mine.yaml")
        path.write_bytes(content)
        said = f"{path}: nothing"
        try:
            recipe.load(path)
        except TpsError as error:
            said = str(error)
        assert said.startswith(f"{path}: ")
        assert all(is_a_line(line) for line in said.splitlines()), said
