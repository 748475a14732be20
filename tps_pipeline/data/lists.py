"""A data folder's lists: names, one a line, and videos with their numbers of frames.

The challenge gives no description of them, so they are read by a rule that takes all likely forms::

    raise up           0 raise up           raise up 12           1. raise up
    0,raise up         "raise up",12        raise up: 12          3<tab>raise up<tab>...
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tps_pipeline import plain_file
from tps_pipeline.data.encoding import as_utf8
from tps_pipeline.data.layout import Problem, entries, unused
from tps_pipeline.errors import DataError, UnreachableError
from tps_pipeline.labels import NO_STATE, PARTS, PERSON, swap

STATES, BODY_PARTS, OBJECTS = "list/part_stat.txt", "list/body_part.txt", "list/object.txt"
FRAME_COUNTS = {split: f"list/video_{split}_flist.csv" for split in ("train", "test")}
"""The challenge's lists of how many frames each video has, by split."""

UNLISTED_STATES = frozenset({NO_STATE, "others"})
"""States with a meaning of their own (no movement; outside the vocabulary), legal even if part_stat.txt lacks them."""

MAX_BYTES = 4 << 20
"""Of a list: 20 times the largest of Kinetics-TPS."""
TOLD = 1000
"""Lines of a list that are named one by one."""
_Passed = tuple[str, str]
"""What is wrong with a line, and what to do."""
_COLUMNS = re.compile(r"[,:;\t]|  +")
_NUMBER = re.compile(r"[#(]?[0-9]+[.)]?")
_NUMBERS_BEFORE = re.compile(r"^(?:[#(]?[0-9]+(?:[.)] *| +))+")


@dataclass(frozen=True)
class Listed:
    """What a list says."""

    names: dict[str, int] = field(default_factory=dict)
    """In the file's order; of videos with their numbers of frames, of other names with their lines' numbers."""
    problems: list[Problem] = field(default_factory=list)
    """Lines, or parts of lines, that are passed over."""


def read_names(data: Path, path: str) -> Listed | None:
    """Read a list of names, one a line. Words are kept together, numbers beside them passed over.

    Columns are told apart by a comma, a colon, a semicolon, a tab or two spaces; the first one that is no number is
    the name.

    Args:
        data: A Kinetics-TPS folder.
        path: The list's in it.

    Returns:
        None if there is no such file.
    """
    text, problems = _read(data, path)
    if text is None:
        return Listed(problems=problems) if problems else None
    names: dict[str, int] = {}
    return Listed(names, problems + _first(path, _read_names(text, names)))


def read_frame_counts(data: Path, path: str) -> Listed:
    """Read a list of videos and their numbers of frames; a first line of headings is passed over.

    Args:
        data: A Kinetics-TPS folder.
        path: The list's in it; where it is not there, nothing is listed.
    """
    text, problems = _read(data, path)
    counts: dict[str, int] = {}
    return Listed(counts, problems + _first(path, _read_counts(text or "", counts)))


def contents(data: Path, path: str) -> str:
    """A list's text as it is, to be added to; empty if there is none.

    Raises:
        DataError: It is no text.
    """
    text, problems = _read(data, path)
    if problems:
        raise DataError(f"{data}/{problems[0]}")
    return text or ""


def known_states(data: Path) -> frozenset[str] | None:
    """The states that labels may have, or None (any) without a `list/part_stat.txt`."""
    listed = read_names(data, STATES)
    return frozenset(listed.names) | UNLISTED_STATES if listed and listed.names else None


def known_parts(data: Path) -> frozenset[str]:
    """The parts that labels may have: the ten, and with their mirror images those that `list/body_part.txt` names."""
    listed = read_names(data, BODY_PARTS)
    named = listed.names if listed else {}
    return frozenset({*PARTS, *named, *map(swap, named)}) - {PERSON}


def unread_lines(data: Path) -> list[Problem]:
    """What lies among the lists and is not used: lines, and files that are none of them."""
    names = (STATES, BODY_PARTS, OBJECTS)
    listed = [read_names(data, path) for path in names]
    listed += [read_frame_counts(data, path) for path in FRAME_COUNTS.values()]
    known = {*names, *FRAME_COUNTS.values()}
    others = [entry.relative_to(data).as_posix() for entry in entries(data / "list")]
    problems = [problem for each in listed if each for problem in each.problems]
    return problems + [unused(path, among="one of the lists") for path in others if path not in known]


def _read_names(text: str, names: dict[str, int]) -> Iterator[_Passed]:
    """Fill in the names with their lines; gives what is passed over."""
    for number, line in enumerate(text.splitlines(), 1):
        columns = [_without_numbers(column.strip(" \"'")) for column in _COLUMNS.split(line.strip())]
        words = [column for column in columns if column and not _NUMBER.fullmatch(column)]
        for name in words[:1]:
            names.setdefault(name, number)
        if line.strip() and not words:
            yield f"line {number} ({line.strip()[:40]!r}) has no name", "correct or delete it"
        if words[1:]:
            what = f"line {number}: {words[1]!r} is passed over, the name is {words[0]!r}"
            yield what, "put each name on a line of its own"


def _read_counts(text: str, counts: dict[str, int]) -> Iterator[_Passed]:
    """Fill in the videos with their numbers of frames; gives what is passed over."""
    lines = text.splitlines()
    delimiter = next((mark for mark in ",;\t" if any(mark in line for line in lines)), " ")
    try:
        for number, row in enumerate(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), 1):
            columns = [column.strip() for column in row]
            if len(columns) > 1 and columns[0] and re.fullmatch(r"[0-9]{1,9}(\.0+)?", columns[1]):
                counts[columns[0]] = int(float(columns[1]))
            elif any(columns) and not (number == 1 and len(columns) > 1):
                what = f"line {number} ({delimiter.join(row)[:40]!r}) is no video with its number of frames"
                yield what, "correct it (video,frames) or delete it"
    except csv.Error as error:
        yield f"cannot be read to its end: {error}", "correct it"


def _without_numbers(column: str) -> str:
    """A column without the numbers before and after its words."""
    words = _NUMBERS_BEFORE.sub("", column).split(" ")
    while len(words) > 1 and _NUMBER.fullmatch(words[-1]):
        del words[-1]
    return " ".join(words)


def _first(path: str, passed: Iterator[_Passed]) -> list[Problem]:
    """The first problems of a list, and how many more lines have some."""
    told = [Problem(path, what, fix) for what, fix in itertools.islice(passed, TOLD)]
    more = sum(1 for _ in passed)
    return told + ([Problem(path, f"{more} more lines are passed over", "correct or delete them")] if more else [])


def _read(data: Path, path: str) -> tuple[str | None, list[Problem]]:
    """A list's text, if it is there, and what is wrong with it."""
    try:
        content = plain_file.content(data / path, limit=MAX_BYTES)
    except UnreachableError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None, []
        raise
    except plain_file.NotPlainError as error:
        return None, [Problem(path, str(error), "put the list itself there, or delete it")]
    try:
        return as_utf8(content).decode(), []
    except UnicodeDecodeError as error:
        what = f"is not text as it says it is, from byte {error.start} on"
        return content.decode("utf-8", "replace"), [Problem(path, what, "save it as UTF-8")]
