"""The challenge's JSON straight into columns, where all parts, and all people, are written like the first.

A decoder makes a Python object of every number, which takes far longer than reading them. Files of a program's making
need none: their punctuation alone (a box is `[,,,]`, and colons say nothing more), rewritten from the parts up, tells
where each number and each name stands, and the rest is operations on whole columns. What is written in any other way is
not read here (`read` gives None) but by the typed reader of `challenge_json`, which also says what is wrong with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline.parsing import Floats, Integers

MOST = 5
"""Boxes or states of one part that are read here."""

_BLOCK = 1 << 20
"""Bytes looked at together: what is known of each stays in the processor's cache. Fewer are slower."""

_BOX, _KEY = b"[,,,]", b'""'
_WORD = 8
"""Bytes looked at as one number."""
_LAST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(_WORD + 1)], np.uint64)
_LONGEST_NAME = 64
_MOST_MARKS = 256
_FEW = 1024
_STEPS = ((2561, 8, 0x00FF00FF00FF00FF), (6553601, 16, 0x0000FFFF0000FFFF), (42949672960001, 32, 0xFFFFFFFF))
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""What words of a name are mixed by, so that two names are hardly ever one number."""


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


class _OtherwiseError(ValueError):
    """Something is written in another way."""


def read(frames: Sequence[msgspec.Raw | bytes], *, proposals: bool) -> Columns | None:
    """Read frames (`{"humans": [...]}`), if all of them are written alike.

    Args:
        frames: Valid JSON each.
        proposals: Whether a part has lists of boxes and states, as in a submission, and not one box.

    Returns:
        What they hold; None if they have no part or anything in them is written in another way.
    """
    try:
        way = _Way.of(frames, proposals=proposals)
        return joined([way.read(block) for block in _blocks(frames)])
    except (ValueError, msgspec.DecodeError, RecursionError):  # Arrow's of numbers that are none, too
        return None


def _blocks(frames: Sequence[msgspec.Raw | bytes]) -> Iterator[Sequence[msgspec.Raw | bytes]]:
    """Frames of `_BLOCK` bytes together or somewhat less, in blocks of about a size."""
    before = np.cumsum([*map(len, map(memoryview, frames))]) - 1
    blocks = -(-(before[-1] + 1) // _BLOCK)
    starts = np.flatnonzero(np.diff(before * blocks // (before[-1] + 1), prepend=-1))
    return (frames[start:end] for start, end in itertools.pairwise([*starts.tolist(), len(frames)]))


@dataclass(frozen=True)
class _Written:
    """An object's punctuation, and after which of its characters the values stand."""

    punctuation: bytes
    keys: dict[int, bytes]
    """By place: after this character of the punctuation stands that key."""
    boxes: tuple[int, ...]
    """Where boxes begin: the first number stands after this character."""
    names: tuple[int, ...]
    """Where the values of `verb` stand."""


def _written(fields: dict[str, Any], values: dict[str, bytes]) -> _Written:
    """How an object is written, to be closed; `values` is the punctuation of those that are read, the last one last."""
    said, keys, places = b"{", {}, {}
    for name, value in fields.items():
        said += b"," if keys else b""
        keys[len(said)] = name.encode()
        said += _KEY
        places[name] = len(said)
        if name not in values and not (value is None or isinstance(value, str | float | int)):
            raise _OtherwiseError
        said += values.get(name, b'""' if isinstance(value, str) else b"")
    if not values.keys() <= places.keys() or any(len(key) > 7 for key in keys.values()):
        raise _OtherwiseError

    def begins(name: str, what: bytes) -> tuple[int, ...]:
        value, start = values.get(name, b""), places.get(name, 0)
        return tuple(start + at for at in range(len(value)) if value.startswith(what, at))

    return _Written(said, keys, begins("box", _BOX), begins("verb", b'""'))


_FRAME = _Written(b'{""[', {1: b"humans"}, (), ())
"""What a frame begins with."""


@dataclass(frozen=True)
class _Way:
    """How a file's people and parts are written."""

    person: _Written
    """Up to the first part."""
    parts: list[_Written]
    """A part with its name, by what is the usual number of its boxes or states first."""

    @classmethod
    def of(cls, frames: Sequence[msgspec.Raw | bytes], *, proposals: bool) -> _Way:
        """As the first person that has a part."""
        for frame in frames:
            for person in msgspec.json.decode(frame, type=dict[str, list[dict[str, Any]]]).get("humans", []):
                for part in msgspec.convert(person.get("parts"), dict[str, dict[str, Any]]).values():
                    if list(person)[-1] != "parts":
                        raise _OtherwiseError
                    return cls(_written(person, {"box": _BOX, "parts": b"{"}), cls._parts(part, proposals=proposals))
        raise _OtherwiseError

    @staticmethod
    def _parts(part: dict[str, Any], *, proposals: bool) -> list[_Written]:
        """The way of this part comes first: what is found is not looked at again."""
        ways = []
        several = len(part["verb"]) if isinstance(part.get("verb"), list) else 0
        for n in sorted(range(1 if proposals else 0, MOST + 1), key=lambda n: n != several):  # 0 is a state by itself
            box = b"[" + b",".join([_BOX] * n) + b"]" if proposals else _BOX
            verb = b"[" + b",".join([b'""'] * n) + b"]" if n else b'""'
            inner = _written(part, {"box": box, "verb": verb})
            shift = len(_KEY)
            ways.append(
                _Written(
                    _KEY + inner.punctuation + b"}",
                    {at + shift: key for at, key in inner.keys.items()},
                    tuple(at + shift for at in inner.boxes),
                    tuple(at + shift for at in inner.names),
                )
            )
        return ways

    def read(self, frames: Sequence[msgspec.Raw | bytes]) -> Columns:
        """Read frames that are written in this way."""
        text = _Text(b",".join([*frames, b""]))
        written = [*self.parts, self.person, _FRAME]
        kind, start = text.objects(written)
        person, frame = np.flatnonzero(kind == len(self.parts)), np.flatnonzero(kind == len(self.parts) + 1)
        _check_between(text, kind, start, written)
        if len(frame) != len(frames):
            raise _OtherwiseError
        text.check(start[frame], _FRAME)
        text.check_nothing(start[frame] + len(_FRAME.punctuation) - 1)  # `[null]` would pass for nobody
        text.check(start[person], self.person)
        rows, boxes, names, states = [], [], [], []
        for nth, part in enumerate(self.parts):
            of = np.flatnonzero(kind == nth)
            if not len(of):
                continue
            begin = start[of]
            text.check(begin, part)
            for state, at in enumerate(part.names):
                rows.append(of * (MOST + 1) + state)
                boxes.append(begin + part.boxes[state if len(part.boxes) > 1 else 0])
                names.append(begin)
                states.append(begin + at)
        order = np.argsort(np.concatenate(rows), kind="stable") if len(rows) > 1 else slice(None)
        row, box, name, state = (np.concatenate(of)[order] if of else _NONE for of in (rows, boxes, names, states))
        (part, part_names), (said, state_names) = text.names(name), text.names(state)
        person_of = np.cumsum(kind == len(self.parts)) - 1
        columns = Columns(
            people=np.diff(np.searchsorted(person, frame), append=len(person)),
            person_box=text.boxes(start[person] + self.person.boxes[0]),
            part_person=person_of[row // (MOST + 1)],
            part=part,
            part_box=text.boxes(box),
            state=said,
            parts=part_names,
            states=state_names,
        )
        _check_once(columns, row // (MOST + 1))
        return columns


_NONE = np.empty(0, np.int64)


class _Text:
    """Text and its punctuation, whose strings are known to hold none: `_check_between` leaves no more than there is."""

    def __init__(self, text: bytes) -> None:
        if not text.isascii() or b"\\" in text or len(text) > 1 << 30:
            raise _OtherwiseError
        padded = text + bytes(_LONGEST_NAME + _WORD)
        self._text = text
        each = np.frombuffer(padded, np.uint8)
        small = each | 32  # a bracket is a brace then
        marked, same = small == ord("{"), np.empty(len(each), bool)
        for character, of in (("}", small), (",", each), ('"', each)):
            marked |= np.equal(of, ord(character), out=same)
        self._at = np.flatnonzero(marked)
        self._after = np.ndarray(len(padded) - _WORD, np.uint64, padded, offset=1, strides=(1,))
        self.length = len(self._at)
        self._punctuation = each.take(self._at).tobytes()
        marks = self._punctuation + bytes(_MOST_MARKS)
        self._marks = np.ndarray(len(marks) - _WORD + 1, np.uint64, marks, strides=(1,))

    def objects(self, written: list[_Written]) -> tuple[Integers, Integers]:
        """What begins like one of these: which one, and with which of the punctuation."""
        brace = np.flatnonzero(np.frombuffer(self._punctuation, np.uint8) == ord("{"))
        kind = np.full(len(brace), -1)
        left = np.arange(len(brace))
        for nth, one in enumerate(written):
            fits = self._like(brace[left] - one.punctuation.index(b"{"), one.punctuation)
            if len(fits):
                kind[left[fits]] = nth
                left = np.delete(left, fits)
        known = np.flatnonzero(kind >= 0)
        kind = kind[known]
        return kind, brace[known] - np.array([one.punctuation.index(b"{") for one in written])[kind]

    def _like(self, begin: Integers, punctuation: bytes) -> Integers:
        """Which of the places have this punctuation."""
        fits = None
        for at in range(0, len(punctuation), _WORD):
            word = punctuation[at : at + _WORD]
            found = self._marks[begin + at if at else begin]
            found &= _LAST_BYTES[len(word)]
            same = found == int.from_bytes(word, "little")
            fits = same if fits is None else np.logical_and(fits, same, out=same)
            if not fits.any():
                break
        return np.flatnonzero(fits)

    def check_between(self, at: Integers, length: Integers, which: Integers, punctuation: list[bytes]) -> None:
        """Refuse other punctuation at some places than this."""
        sizes = np.array([*map(len, punctuation)])
        words = np.array([int.from_bytes(one, "little") for one in punctuation], np.uint64)
        if (length != sizes[which]).any() or (self._marks[at] & _LAST_BYTES[length] != words[which]).any():
            raise _OtherwiseError

    def _places(self, at: Integers, n: int) -> Integers:
        """`(len(at), n)` where in the text some of the punctuation stands, and what comes after it."""
        size = self._at.itemsize
        rows = np.ndarray(max(0, len(self._at) - n + 1), f"V{n * size}", self._at, strides=(size,))
        return rows[at].view(np.int64).reshape(-1, n)

    def check(self, begin: Integers, written: _Written) -> None:
        """Refuse objects whose keys are called otherwise."""
        for at, key in written.keys.items():
            word = key + b'"'  # no string holds one
            spelled = self._after[self._at.take(begin + at)]
            spelled &= _LAST_BYTES[len(word)]
            if (spelled != int.from_bytes(word, "little")).any():
                raise _OtherwiseError

    def check_nothing(self, at: Integers) -> None:
        """Refuse a text that has anything between some of its punctuation and the next."""
        if (self._at.take(at + 1) - self._at.take(at) != 1).any():
            raise _OtherwiseError

    def names(self, at: Integers) -> tuple[Integers, list[str]]:
        """Codes and names of the strings after some of the punctuation."""
        before, end = self._places(at, 2).T
        longest = int((end - before).max(initial=1)) - 1
        if longest > _LONGEST_NAME:
            raise _OtherwiseError
        words, mixed = [], np.zeros(len(before), np.uint64)
        shift = 8 * (before - end + 1)
        for nth in range(-(-longest // _WORD) or 1):
            # Filled up with zeros, which no string of JSON holds.
            shift += 64
            word = self._after[before + _WORD * nth]
            word <<= np.maximum(shift, 0).view(np.uint64)
            mixed = mixed * _ODD + word if nth else word
            words.append(word)
        first, code = _coded(mixed)
        if any((word != word[first][code]).any() for word in words[:-1]):  # two names mixed to one
            raise _OtherwiseError
        names = [self._text[before[row] + 1 : end[row]].decode() for row in first]
        return code, names

    def boxes(self, at: Integers) -> Floats:
        """`(n, 4)` numbers, each after one of the punctuation: whole ones all at once, others as Arrow reads them."""
        before, end = self._places(at, 4), self._places(at + 1, 4)
        shift = before - end
        shift *= 8
        shift += 72
        digits = self._after[before]
        digits <<= shift.view(np.uint64)
        # Whole numbers of up to eight bytes, now at the end of these, with spaces before them or none.
        numbers = digits & 0x0F0F0F0F0F0F0F0F
        other = digits >> 2  # letters
        other |= (numbers + 0x100F0F0F0F0F0F0F) & np.invert(digits, out=digits)  # what has only the lower half
        other &= 0x1010101010101010
        # Two digits together, then four, then eight: D. Lemire, "Quickly parsing eight digits" (2022).
        for several, size, digit_pairs in _STEPS: 
            numbers *= several
            numbers >>= size
            numbers &= digit_pairs
        found = numbers.astype(np.float64)
        if other.any():
            which = np.flatnonzero(other != 0)
            found.put(which, self._decimals(before.take(which) + 1, end.take(which)))
        return found

    def _decimals(self, start: Integers, end: Integers) -> Floats:
        """Numbers of any kind, a space before each or none."""
        if len(start) < _FEW:
            return np.array([float(self._text[a:b]) for a, b in zip(start.tolist(), end.tolist(), strict=True)])
        start += np.frombuffer(self._text, np.uint8)[start] == ord(" ")
        first = np.diff(start, prepend=-1) != 0  # a box of several states is given several times
        found = self._strings(start[first], end[first]).cast(pa.float64())
        return _values(found, np.float64)[::2][np.cumsum(first) - 1]

    def _strings(self, start: NDArray[Any], end: NDArray[Any]) -> pa.StringArray:
        """Stretches of the text in order; between each two there is a null, for the text between them."""
        between = np.empty((len(start), 2), np.int32)
        between[:, 0], between[:, 1] = start, end
        there = pa.py_buffer(b"\x55" * (len(start) // 4 + 1))
        size = max(0, between.size - 1)
        return pa.StringArray.from_buffers(size, pa.py_buffer(between.data), pa.py_buffer(self._text), there)


def _coded(numbers: NDArray[np.uint64]) -> tuple[Integers, Integers]:
    """Where each of some numbers, which come again and again, comes first, and which of them each is."""
    row = np.arange(len(numbers))
    slot = (numbers * _ODD >> 48).view(np.int64)
    first_of = np.empty(1 << 16, np.int64)
    first_of[slot[::-1]] = row[::-1]
    first = first_of.take(slot)
    if (numbers.take(first) != numbers).any():  # two in one slot
        _, at, which = np.unique(numbers, return_index=True, return_inverse=True)
        first = at[which]
    firsts = np.flatnonzero(first == row)
    code = np.empty(len(numbers), np.int64)
    code[firsts] = np.arange(len(firsts))
    return firsts, code.take(first)


def _values(array: pa.Array[Any], type_: Any) -> NDArray[Any]:
    """A new array's values: `to_numpy` would import pandas, which takes longer than all of this."""
    values: Any = array.buffers()[1]
    return np.frombuffer(values or b"", type_)[: len(array)]


def _check_between(text: _Text, kind: Integers, start: Integers, written: list[_Written]) -> None:
    """Refuse what is not frames of people of parts, one after the other; it is known to be valid JSON."""
    length = np.array([len(one.punctuation) for one in written])
    person, frame = len(written) - 2, len(written) - 1
    part = kind < person
    end = start + length[kind]
    if ((start[1:] - end[:-1] != part[:-1]) & part[1:]).any() or not len(kind) or kind[0] != frame or start[0] != 0:
        raise _OtherwiseError
    others = np.append(np.flatnonzero(~part)[1:], len(kind))
    gap = np.append(start, text.length)[others] - end[others - 1]
    pair = 2 * (np.append(kind, frame)[others] == frame) + (kind[others - 1] == frame)
    text.check_between(end[others - 1], gap, pair, [b"}},", b"", b"}}]},", b"]},"])


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


def _check_once(columns: Columns, written: Integers) -> None:
    """Refuse a part that a person has twice, of which the last one counts; `written` is where a row's part stands."""
    slot = columns.part_person * len(columns.parts) + columns.part
    if np.bincount(slot, minlength=1).max() == 1:
        return
    first = np.flatnonzero(np.diff(written, prepend=-1))
    if np.bincount(slot[first], minlength=1).max() > 1:
        raise _OtherwiseError
