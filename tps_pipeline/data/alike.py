"""The challenge's JSON straight into columns, where all parts, and all people, are written like the first.

A decoder makes a Python object of every number, which takes far longer than reading them. Files of a program's making
need none: between their numbers and names they say the same in each part, each person and each frame. What they say is
learned from the first ones (`_learned`); then all are read at once, from brace to brace (`places`), and what stands
between two of them is compared, too. That they are JSON is seen from the values, or a decoder has to say it. What is
written in any other way is not read here (`Ways.read` gives None) but by the typed readers of `challenge_json` and
`frame_labels`, which also say what is wrong with it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
_NEAR = 4
"""So many bytes before a number are read with it, and four digits more."""

_FRAME, _PERSON, _PART, _PARTS = range(4)
"""What begins at a brace; a person's list of parts belongs to the person."""
_BETWEEN = {
    (_FRAME, _FRAME): b"]},",
    (_FRAME, _PERSON): b"",
    (_PERSON, _FRAME): b"}}]},",
    (_PERSON, _PERSON): b"}},",
    (_PERSON, _PART): b'"',
    (_PART, _FRAME): b"}}]},",
    (_PART, _PERSON): b"}},",
    (_PART, _PART): b',"',
}
"""What is between two objects, but for white space; before a part, what is between the object and the part's name."""

_TOKEN = re.compile(rb'"[^"]*"|[^\s",:{}\[\]]+|\s+|.')
_FRAME_BEGINS = re.compile(rb'\{\s*"humans"\s*:\s*\[')
_NAME_ENDS = re.compile(rb'"\s*:\s*$')
_PLAIN = re.compile(r"0|[1-9][0-9]*|true|false|null")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_BOX = rb"\[N,N,N,N\]"
_BOXES = rb"\[%b(?:,%b)*\]" % (_BOX, _BOX)
_STATE = rb'"S"'
_STATES = rb'\["S"(?:,"S")*\]'
_OTHER = rb'"(?!(?:box|verb|parts)")[^"]*":(?:O|"Q")'


def _part_says(box: bytes, verb: bytes) -> re.Pattern[bytes]:
    fields = rb'%b|"box":%b|"verb":(?:%b)' % (_OTHER, box, verb)
    return re.compile(rb'":\{(?:%b)(?:,(?:%b))*\}' % (fields, fields))


# Outlines of objects, without names, numbers and white space.
_PERSON_SAYS = re.compile(rb'\{(?:%b,)*"box":%b,(?:%b,)*"parts":\{' % (_OTHER, _BOX, _OTHER))
_ANNOTATED_PART_SAYS = _part_says(_BOX, _STATE + b"|" + _STATES)
_PREDICTED_PART_SAYS = _part_says(_BOXES, _STATES)


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


def _blocks(size: NDArray[Any]) -> Iterator[slice]:
    """Frames of about `_BLOCK` bytes together, in blocks of about a size; from the bytes of each."""
    end = np.cumsum(size + 1)
    blocks = max(1, round(end[-1] / _BLOCK))
    starts = np.flatnonzero(np.diff((end - 1) * blocks // end[-1], prepend=-1))
    return (slice(start, end) for start, end in itertools.pairwise([*starts.tolist(), len(size)]))


@dataclass(frozen=True)
class _Written:
    """How an object is written."""

    what: int
    """A frame, a person or a part; the last with the end of its name."""
    said: tuple[bytes, ...]
    """What is the same in all of them: before, between and after the values."""
    values: bytes
    """What each value is: N a number of a box, S a state, Q another string, O something else."""
    lead: int
    """After how many bytes its brace stands."""


@dataclass(frozen=True)
class _Found:
    """Objects that are written in one way."""

    nth: Integers
    """At which of the text's braces each is."""
    begin: Integers
    end: Integers
    numbers: Floats
    """`(4 * boxes, n)`."""
    states: list[tuple[Integers, Integers]]
    """Where each begins and ends."""
    others: list[tuple[Integers, Integers]]
    """Where each value begins and ends that is no number of a box and no string."""

    def boxes(self, nth: int) -> Floats:
        """`(n, 4)` the nth box of each."""
        return np.ascontiguousarray(self.numbers[4 * nth : 4 * nth + 4].T)


@dataclass
class Ways:
    """How frames, people and parts are written, as far as it is known: what is learned of some frames serves others."""

    proposals: bool
    """Whether a part has lists of boxes and states, as in a submission, and not one box."""
    are_json: bool = False
    """Whether all that is read is known to be JSON; what is none is not read."""
    known: list[_Written] = field(default_factory=list)
    """What has been learned, what is found most often first."""

    def read(self, frames: Sequence[msgspec.Raw | bytes]) -> Columns | None:
        """Read frames (`{"humans": [...]}`), if all of them are written alike.

        Args:
            frames: Each in a text of its own.

        Returns:
            What they hold; None if there are none or anything in them is written in another way.
        """
        if not frames:
            return None
        size = np.array([*map(len, map(memoryview, frames))])
        try:
            return _joined([self._read(frames[block], size[block]) for block in _blocks(size)])
        except ValueError:  # also of numbers that are none
            self.known.clear()
            return None

    def _read(self, frames: Sequence[msgspec.Raw | bytes], size: NDArray[Any]) -> Columns:
        text = Text(b",".join([*frames, b""]))
        what, begin, end, found = self._objects(text)
        part_begin, part_end = _names(text, what, begin, end)
        frame, person = np.flatnonzero(what == _FRAME), np.flatnonzero(what == _PERSON)
        if not np.array_equal(begin[frame], np.cumsum(size + 1) - (size + 1)):  # frames are what is between the commas
            raise OtherwiseError
        people = [(one.nth, one.boxes(0)) for written, one in found if written.what == _PERSON]
        rows = [
            (one.nth * MOST + state, one.boxes(state if len(one.numbers) > 4 else 0), *one.states[state])
            for written, one in found
            if written.what == _PART
            for state in range(len(one.states))
        ]
        row, part_box, state_begin, state_end = _in_order(rows, _NO_ROW)
        part, parts = text.strings(part_begin, part_end)
        state, states = text.strings(state_begin, state_end)
        if not (self.are_json or _is_json(text, found)):
            _LIST.decode(b"[%b]" % b",".join(frames))
        part_person = (np.cumsum(what == _PERSON) - 1)[what == _PART]
        if np.bincount(part_person * len(parts) + part, minlength=1).max() > 1:
            raise OtherwiseError  # of a part that a person has twice the last one counts
        if len(row) > len(part):
            of = np.cumsum(np.diff(row // MOST, prepend=-1) != 0) - 1
            part, part_person = part[of], part_person[of]
        return Columns(
            people=np.diff(np.searchsorted(person, frame), append=len(person)),
            person_box=_in_order(people, _NO_ROW[:2])[1],
            part_person=part_person,
            part=part,
            part_box=part_box,
            state=state,
            parts=parts,
            states=states,
        )

    def _objects(self, text: Text) -> tuple[Integers, Integers, Integers, list[tuple[_Written, _Found]]]:
        """What objects there are, where each begins and ends; and all of them again, by how they are written."""
        brace = text.all("{")
        what, begin, end = np.full(len(brace), -1), brace.copy(), brace.copy()
        left = np.arange(len(brace))
        found: list[tuple[_Written, _Found]] = []
        ways = iter([*self.known])
        while len(left):
            known = next(ways, None)
            written = known or _learned(text.content, int(brace[left[0]]), proposals=self.proposals)
            objects = _find(text, brace, left, written)
            if len(objects.nth):
                found.append((written, objects))
                what[objects.nth], begin[objects.nth], end[objects.nth] = written.what, objects.begin, objects.end
                if written.what == _PERSON:
                    what[objects.nth + 1] = _PARTS
                left = left[np.flatnonzero(what[left] < 0)]
            if known is None:
                if not len(objects.nth) or len(self.known) == _WAYS:
                    raise OtherwiseError
                self.known.append(written)
        often = {written: len(objects.nth) for written, objects in found}
        self.known = sorted(often, key=lambda written: often[written], reverse=True)  # what is found is sought once
        whole = np.flatnonzero(what != _PARTS)
        return what[whole], begin[whole], end[whole], found


_NO_ROW: tuple[NDArray[Any], ...] = (np.empty(0, np.int64), np.empty((0, 4)), *[np.empty(0, np.int64)] * 2)


def _is_json(text: Text, found: list[tuple[_Written, _Found]]) -> bool:
    """Whether all values are JSON beyond doubt, as what stands between them is."""
    try:
        others = [said for _, one in found for begin, end in one.others for said in text.strings(begin, end)[1]]
    except OtherwiseError:
        return False
    return text.sure and all(map(_PLAIN.fullmatch, others))


def _in_order(stretches: list[tuple[NDArray[Any], ...]], none: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """Columns of some stretches of rows one after the other, sorted by the first of them."""
    if len(stretches) < 2:
        return (stretches or [none])[0]
    columns = [np.concatenate(of) for of in zip(*stretches, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return tuple(column[order] for column in columns)


def _find(text: Text, brace: Integers, nth: Integers, written: _Written) -> _Found:
    """Those of some objects that are written in this way."""
    rows: list[NDArray[Any]] = [nth, brace[nth] - written.lead]  # and each value as it is read

    def keep(fits: NDArray[np.bool_]) -> None:
        if not fits.all():
            which = np.flatnonzero(fits)
            rows[:] = [of[which] for of in rows]

    rows.append(rows[1])
    for place, said in enumerate(written.said):
        value = written.values[place : place + 1]
        near = said[-_NEAR:] if value == b"N" else b""
        far = said[: len(said) - len(near)]
        if far:
            keep(text.says(rows[-1], far))
        at = rows.pop() + len(far)
        if value == b"N":
            says, digits, end = text.digits(at, near, written.said[place + 1][0])
            rows += [digits, at + len(near), end, end]
            keep(says)
        elif value:
            rows += [at, *[text.until(at, written.said[place + 1][0])] * 2]
        else:
            rows.append(at)
    values, numbers = iter(rows[2:-1]), []
    others: dict[int, list[tuple[Integers, Integers]]] = {value: [] for value in b"SQO"}
    for value in written.values:
        if value == ord("N"):
            numbers.append((next(values), next(values), next(values)))
        else:
            others[value].append((next(values), next(values)))
    return _Found(rows[0], rows[1], rows[-1], text.numbers(numbers), others[ord("S")], others[ord("O")])


def _learned(content: bytes, brace: int, *, proposals: bool) -> _Written:
    """How the object at some brace is written."""
    if frame := _FRAME_BEGINS.match(content, brace):
        return _Written(_FRAME, (frame.group(),), b"", 0)
    name_ends = _NAME_ENDS.search(content[max(0, brace - LONGEST) : brace])
    lead = name_ends.group() if name_ends else b""
    said, values, key, depth = [lead], b"", b"", 0
    outline = b"".join(lead.split())
    for token in _TOKEN.finditer(content, brace, brace + PADDING // 2):
        word = token.group()
        is_string = word.startswith(b'"')
        is_key = is_string and content[token.end() : token.end() + LONGEST].lstrip().startswith(b":")
        if is_key or word.isspace() or word in b"{}[],:":
            key = word if is_key else key
            said[-1] += word
            outline += word.strip()
            depth += (word == b"{") - (word == b"}")
            if depth == (0 if lead else 2):
                break
        else:
            value = b"N" if key == b'"box"' else b"S" if key == b'"verb"' else b"Q" if is_string else b"O"
            values += value
            outline += b'"%b"' % value if is_string else value
            said[-1] += b'"' * is_string
            said.append(b'"' * is_string)
    written = _Written(_PART if lead else _PERSON, tuple(said), values, len(lead))
    if not all(said[1:]) or not _is_right(outline, written, proposals=proposals):
        raise OtherwiseError
    return written


def _is_right(outline: bytes, written: _Written, *, proposals: bool) -> bool:
    """Whether an object says what it should."""
    if written.what == _PERSON:
        return _PERSON_SAYS.fullmatch(outline) is not None
    says = _PREDICTED_PART_SAYS if proposals else _ANNOTATED_PART_SAYS
    boxes, states = written.values.count(b"N") // 4, written.values.count(b"S")
    once = outline.count(b'"box":') == outline.count(b'"verb":') == 1
    return once and states <= MOST and boxes == (states if proposals else 1) and says.fullmatch(outline) is not None


def _names(text: Text, what: Integers, begin: Integers, end: Integers) -> tuple[Integers, Integers]:
    """Where parts' names are; refuse objects that are not one after the other as frames, people and parts are."""
    if not len(what) or what[0] != _FRAME or begin[0] != 0:
        raise OtherwiseError
    after, begin = np.append(what[1:], _FRAME), np.append(begin[1:], len(text.content))
    pairs = len(_BETWEEN) * what + after
    between = [b""] * int(pairs.max() + 1)
    for pair in np.flatnonzero(np.bincount(pairs)).tolist():
        was, now = divmod(pair, len(_BETWEEN))
        first = int((pairs == pair).argmax())
        said = text.content[end[first] : begin[first]]
        if now == _PART:
            said = said[: said.find(b'"') + 1]
        if b"".join(said.split()) != _BETWEEN.get((was, now)) or len(said) > PADDING:
            raise OtherwiseError
        between[pair] = said
    if not text.say(end, pairs, between):
        raise OtherwiseError
    name = end + np.array([*map(len, between)])[pairs]
    part = after == _PART
    if np.where(part, name > begin, name != begin).any():
        raise OtherwiseError
    which = np.flatnonzero(part)
    return name[which], begin[which]


def _joined(blocks: list[Columns]) -> Columns:
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
