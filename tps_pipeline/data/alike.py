"""The challenge's JSON straight into columns, where all parts, and all people, are written like the first.

A decoder makes a Python object of every number, which takes far longer than reading them. Files of a program's making
need none: between numbers and strings they say the same at each part, each person and each frame. How that goes is
learned from the first ones (`_learned`); then all are followed at once, from brace to brace (`places`), and whatever
stands between two of them is compared, too. What is written in any other way is not read here (`read` gives None) but
by the typed reader of `challenge_json`, which also says what is wrong with it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.places import LONGEST, PADDING, OtherwiseError, Text
from tps_pipeline.parsing import Floats, Integers

MOST = 5
"""Boxes or states of one part that are read here."""

_BLOCK = 1 << 20
"""Bytes looked at together: what is known of each stays in the processor's cache. Fewer are slower."""
_WAYS = 12
"""So many ways to write an object are learned."""

_FRAME, _PERSON, _PART, _INNER = range(4)
"""Objects: a frame, a person, a part with the end of its name, and a person's parts, which belong to the person."""
_BETWEEN = {
    (_FRAME, _FRAME): b"]},", (_FRAME, _PERSON): b"",
    (_PERSON, _FRAME): b"}}]},", (_PERSON, _PERSON): b"}},", (_PERSON, _PART): b'"',
    (_PART, _FRAME): b"}}]},", (_PART, _PERSON): b"}},", (_PART, _PART): b',"',
}  # fmt: skip
"""What is between two objects, but for white space and a part's name."""
_TOKEN = re.compile(rb'"[^"]*"|[^\s",:{}\[\]]+|\s+|.')
_FRAME_BEGINS = re.compile(rb'\{\s*"humans"\s*:\s*\[')
_NAME_ENDS = re.compile(rb'"\s*:\s*$')
_OTHER_FIELD = rb'"(?!(?:box|verb|parts)")[^"]*":(?:O|"O")'
_BOX = rb"\[N,N,N,N\]"
_PERSON_SAYS = re.compile(rb'\{(?:%b,)*"box":%b,(?:%b,)*"parts":\{' % (_OTHER_FIELD, _BOX, _OTHER_FIELD))
_PART_SAYS = re.compile(
    rb'":\{(?:(?:%b|"box":(?:%b|\[%b(?:,%b)*\])|"verb":(?:"S"|\["S"(?:,"S")*\]))(?:,|(?=\}$)))*\}'
    % (_OTHER_FIELD, _BOX, _BOX, _BOX)
)


@dataclass(frozen=True)
class Columns:
    """What some frames hold, row after row as it is written; names as codes."""

    people: Integers
    """`(F,)` how many people each frame has."""
    person_box: Floats
    """`(P, 4)`."""
    part_person: Integers
    """`(Q,)` index into the people; several rows of one part are its boxes or its states."""
    part: Integers
    """`(Q,)` index into `parts`."""
    part_box: Floats
    """`(Q, 4)`."""
    state: Integers
    """`(Q,)` index into `states`."""
    parts: list[str]
    """Names of the parts, as they come."""
    states: list[str]
    """Names of the states, as they come."""


def read(frames: Sequence[msgspec.Raw | bytes], *, proposals: bool) -> Columns | None:
    """Read frames (`{"humans": [...]}`), if all of them are written alike.

    Args:
        frames: Valid JSON each.
        proposals: Whether a part has lists of boxes and states, as in a submission, and not one box.

    Returns:
        What they hold; None if they have no part or anything in them is written in another ways.
    """
    if not frames:
        return None
    try:
        ways = _Ways(proposals)
        return joined([ways.read(block) for block in _blocks(frames)])
    except ValueError:  # Arrow's of numbers that are none, too
        return None


def _blocks(frames: Sequence[msgspec.Raw | bytes]) -> Iterator[Sequence[msgspec.Raw | bytes]]:
    """Frames of `_BLOCK` bytes together or somewhat less, in blocks of about a size."""
    before = np.cumsum([*map(len, map(memoryview, frames))]) - 1
    blocks = -(-(before[-1] + 1) // _BLOCK)
    starts = np.flatnonzero(np.diff(before * blocks // (before[-1] + 1), prepend=-1))
    return (frames[start:end] for start, end in itertools.pairwise([*starts.tolist(), len(frames)]))


@dataclass(frozen=True)
class _Written:
    """How an object is written."""

    what: int
    said: tuple[bytes, ...]
    """What is the same in all of them: before, between and after the values."""
    values: bytes
    """What each value is: N is a corner of a box, S a state, O something else, a string or not."""
    lead: int
    """Where its brace is."""

    @property
    def n(self) -> int:
        """Rows that a part takes: its states, each with a box."""
        return self.values.count(b"S")


@dataclass(frozen=True)
class _Followed:
    """Objects that are written in some way, by their rows among all braces."""

    rows: Integers
    begin: Integers
    end: Integers
    numbers: Floats
    """Corners of boxes."""
    states: list[tuple[Integers, Integers]]
    """Where each begins and ends."""

    def boxes(self, nth: int) -> Floats:
        """`(n, 4)` the nth box of each."""
        return np.ascontiguousarray(self.numbers[4 * nth : 4 * nth + 4].T)


@dataclass
class _Ways:
    """How a file's frames, people and parts are written, as far as it is known."""

    proposals: bool
    known: list[_Written] = field(default_factory=list)

    def read(self, frames: Sequence[msgspec.Raw | bytes]) -> Columns:
        """Read some frames."""
        text = Text(b",".join([*frames, b""]))
        brace = text.all("{")
        kind, begin, end, found = self._objects(text, brace)
        objects = np.flatnonzero(kind != _INNER)
        kind = kind[objects]
        names = _between(text, kind, begin[objects], end[objects])
        if np.count_nonzero(kind == _FRAME) != len(frames):
            raise OtherwiseError
        people, parts = (
            [one for written, one in found if written.what == what] for what in (_PERSON, _PART)
        )
        boxes = [one.boxes(0) for one in people]
        person, frame = np.flatnonzero(kind == _PERSON), np.flatnonzero(kind == _FRAME)
        person_box = _in_order([one.rows for one in people], boxes) if people else np.empty((0, 4))
        rows, boxes, begins, ends = [], [], [], []
        for one in parts:
            for nth, (state_begin, state_end) in enumerate(one.states):
                rows.append(one.rows * MOST + nth)
                boxes.append(one.boxes(nth if len(one.numbers) > 4 else 0))
                begins.append(state_begin)
                ends.append(state_end)
        states = text.strings(*(_in_order(rows, of) if rows else _NONE for of in (begins, ends)))
        part_box = _in_order(rows, boxes) if rows else np.empty((0, 4))
        part, part_names = text.strings(*names)
        person_of = (np.cumsum(kind == _PERSON) - 1)[np.flatnonzero(kind == _PART)]
        slot = person_of * len(part_names) + part
        if np.bincount(slot, minlength=1).max() > 1:  # of a part that a person has twice the last one counts
            raise OtherwiseError
        if len(rows) > 1 or len(parts) > 1:
            of = np.sort(np.concatenate(rows)) // MOST
            of = np.cumsum(np.diff(of, prepend=-1) != 0) - 1
            part, person_of = part[of], person_of[of]
        return Columns(
            people=np.diff(np.searchsorted(person, frame), append=len(person)),
            person_box=person_box,
            part_person=person_of,
            part=part,
            part_box=part_box,
            state=states[0],
            parts=part_names,
            states=states[1],
        )

    def _objects(self, text: Text, brace: Integers):
        """What begins at each brace, where it begins and ends, and what is written in each way."""
        kind = np.full(len(brace), -1)
        begin, end = np.empty(len(brace), np.int64), np.empty(len(brace), np.int64)
        found: list[tuple[_Written, _Followed]] = []
        left = np.arange(len(brace))
        ways = iter([*self.known])
        while len(left):
            written = next(ways, None) or self._learn(text, int(brace[left[0]]))
            followed = _follow(text, left, brace, written)
            if not len(followed.rows):
                if written is self.known[-1] and next(ways, None) is None and 0: pass
                continue
            kind[followed.rows] = written.what
            begin[followed.rows], end[followed.rows] = followed.begin, followed.end
            if written.what == _PERSON:
                kind[followed.rows + 1] = _INNER
            found.append((written, followed))
            left = left[np.flatnonzero(kind[left] < 0)]
        return kind, begin, end, found

    def _learn(self, text: Text, brace: int) -> _Written:
        """How the object at a brace is written."""
        if len(self.known) == _WAYS:
            raise OtherwiseError
        written = _learned(text.content, brace, proposals=self.proposals)
        if not len(_follow(text, np.zeros(1, int), np.array([brace]), written).rows):
            raise OtherwiseError  # or it would be learned without an end
        self.known.insert(0 if written.what == _PART else len(self.known), written)
        return written


_NONE = np.empty(0, np.int64)


def _in_order(rows: list[Integers], columns: list[NDArray]) -> NDArray:
    if len(rows) == 1:
        return columns[0]
    return np.concatenate(columns)[np.argsort(np.concatenate(rows), kind="stable")]


_NEAR = 4
"""So many bytes before a number are read with it."""


def _follow(text: Text, rows: Integers, brace: Integers, written: _Written) -> _Followed:
    """Those objects that are written in some way."""
    begin = brace[rows] - written.lead
    which = np.flatnonzero(text.says(begin, written.said[0]))
    rows, begin = rows[which], begin[which]
    fits = np.ones(len(rows), bool)
    at = begin
    digits, corners, states = [], [], []
    for nth, (said, value) in enumerate(zip(written.said, [*written.values, None], strict=True)):
        near = _NEAR if value == ord("N") else 0
        if nth:
            far = said[:-near] if near else said
            if far: fits &= text.says(at, far)
            
        stop = written.said[nth + 1][0] if value else 0
        at = at + max(0, len(said) - near)
        if value == ord("N"):
            says, word, end = text.digits(at, said[-near:], stop)
            fits &= says
            digits.append(word); corners.append((at + len(said[-near:]), end))
            at = end
        elif value:
            end = text.until(at, stop)
            if value == ord("S"): states.append((at, end))
            at = end
    if not fits.all():
        which = np.flatnonzero(fits)
        rows, begin, at = rows[which], begin[which], at[which]
        corners, states = ([(a[which], b[which]) for a, b in of] for of in (corners, states))
        digits = [one[which] for one in digits]
    numbers = text.numbers(np.array(digits), *zip(*corners)) if digits else []
    return _Followed(rows, begin, at, numbers, states)


def _learned(content: bytes, brace: int, *, proposals: bool) -> _Written:
    """How the object at some brace is written."""
    if frame := _FRAME_BEGINS.match(content, brace):
        return _Written(_FRAME, (frame.group(),), b"", 0)
    name_ends = _NAME_ENDS.search(content[max(0, brace - LONGEST) : brace])
    lead = name_ends.group() if name_ends else b""
    said, values, key, depth = [lead], b"", b"", 0
    for token in _TOKEN.finditer(content, brace, brace + PADDING // 2):
        word = token.group()
        if word[:1] == b'"' and content[token.end() :].lstrip()[:1] != b":":
            values += b"S" if key == b'"verb"' and lead else b"O"
            said[-1] += b'"'
            said.append(b'"')
        elif word[:1] in b'"{}[],:' or word.isspace():
            key = word if word[:1] == b'"' else key
            said[-1] += word
            depth += (word == b"{") - (word == b"}")
            if depth == (0 if lead else 2):
                break
        else:
            values += b"N" if key == b'"box"' else b"O"
            said.append(b"")
    outline = b"".join(b"".join(one.split()) + value for one, value in itertools.zip_longest(said, [values[i:i+1] for i in range(len(values))], fillvalue=b""))
    written = _Written(_PART if lead else _PERSON, tuple(said), values, len(lead))
    if not all(said) or not _is_right(outline, written, proposals=proposals):
        raise OtherwiseError
    return written


def _is_right(outline: bytes, written: _Written, *, proposals: bool) -> bool:
    """Whether an object says what it should, given without names, numbers and white space."""
    if written.what == _PERSON:
        return _PERSON_SAYS.fullmatch(outline) is not None
    if not _PART_SAYS.fullmatch(outline) or outline.count(b'"box":') != 1 or outline.count(b'"verb":') != 1:
        return False
    boxes, states = written.values.count(b"N") // 4, written.values.count(b"S")
    if proposals:
        return b"[[" in outline and b'["S' in outline and boxes == states <= MOST
    return b"[[" not in outline and states <= MOST


def _between(text: Text, kind: Integers, begin: Integers, end: Integers) -> tuple[Integers, Integers]:
    """Refuse objects that are not one after the other, as frames, people and parts are; where parts' names are."""
    if not len(kind) or kind[0] != _FRAME or begin[0] != 0:
        raise OtherwiseError
    kind, begin = np.append(kind, _FRAME), np.append(begin, len(text.content))
    pair = 4 * kind[:-1] + kind[1:]
    gap = begin[1:] - end
    name = end.copy()
    for which in np.flatnonzero(np.bincount(pair)).tolist():
        of = np.flatnonzero(pair == which)
        first = text.content[end[of[0]] : begin[of[0] + 1]]
        said = first
        if which % 4 == _PART:
            said = first[: first.find(b'"') + 1]
        if b"".join(said.split()) != _BETWEEN.get(divmod(which, 4)) or len(said) > LONGEST:
            raise OtherwiseError
        name[of] += len(said)
        if which % 4 != _PART and (gap[of] != len(said)).any() or not text.says(end[of], said).all():
            raise OtherwiseError
    of = np.flatnonzero(kind[1:] == _PART)
    if (name[of] > begin[1:][of]).any():
        raise OtherwiseError
    return name[of], begin[1:][of]


def joined(blocks: list[Columns]) -> Columns:
    """Some blocks, of which there is one at least, one after the other, with codes of all names; they are used up."""
    parts: dict[str, int] = {}
    states: dict[str, int] = {}
    person, part, state, people = [], [], [], 0
    for block in blocks:
        person.append(np.add(block.part_person, people, out=block.part_person))
        people += len(block.person_box)
        part.append(np.array([parts.setdefault(name, len(parts)) for name in block.parts], np.int64)[block.part])
        state.append(np.array([states.setdefault(name, len(states)) for name in block.states], np.int64)[block.state])
    return Columns(
        people=np.concatenate([block.people for block in blocks]),
        person_box=np.concatenate([block.person_box for block in blocks]),
        part_person=np.concatenate(person),
        part=np.concatenate(part),
        part_box=np.concatenate([block.part_box for block in blocks]),
        state=np.concatenate(state),
        parts=[*parts],
        states=[*states],
    )
