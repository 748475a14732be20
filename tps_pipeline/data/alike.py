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
_IS_PUNCTUATION = bytes(character in b'{}[],"' for character in range(256))
_FRAME, _PERSON = b"F", b"H"
_OPEN = b'{""['
"""What a frame begins with."""
_LAST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_ZEROS = np.array([int.from_bytes(bytes(8 - n) + b"0" * n, "little") for n in range(9)], np.uint64)
"""By number of digits: as many zeros, at the end of eight bytes."""
_BITS_BEFORE = np.array([8 * (8 - n) for n in range(9)], np.uint64)
_LONGEST_NAME = 64
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


@dataclass(frozen=True)
class _Way:
    """How a file's people and parts are written."""

    person: _Written
    parts: dict[bytes, _Written]
    """By the letter that stands for a part so written."""

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
    def _parts(part: dict[str, Any], *, proposals: bool) -> dict[bytes, _Written]:
        """The way of this part comes first: the sooner a text is rewritten, the less is left to look through."""
        ways = {}
        several = len(part["verb"]) if isinstance(part.get("verb"), list) else 0
        for n in sorted(range(1 if proposals else 0, MOST + 1), key=lambda n: n != several):  # 0 is a state by itself
            box = b"[" + b",".join([_BOX] * n) + b"]" if proposals else _BOX
            verb = b"[" + b",".join([b'""'] * n) + b"]" if n else b'""'
            inner = _written(part, {"box": box, "verb": verb})
            shift = len(_KEY)
            ways[b"%d" % n] = _Written(
                _KEY + inner.punctuation + b"}",
                {at + shift: key for at, key in inner.keys.items()},
                tuple(at + shift for at in inner.boxes),
                tuple(at + shift for at in inner.names),
            )
        return ways

    def read(self, frames: Sequence[msgspec.Raw | bytes]) -> Columns:
        """Read frames that are written in this way."""
        text = _Text(b",".join(frames))
        letters = text.punctuation
        for letter, part in self.parts.items():
            letters = letters.replace(part.punctuation, letter)
        letters = letters.replace(self.person.punctuation, _PERSON).replace(_OPEN, _FRAME)
        _check_nesting(letters, len(frames))

        each = np.frombuffer(letters, np.uint8)
        length = np.ones(256, np.int64)
        length[ord(_FRAME)], length[ord(_PERSON)] = len(_OPEN), len(self.person.punctuation)
        for letter, part in self.parts.items():
            length[ord(letter)] = len(part.punctuation)
        start = np.cumsum(length[each]) - length[each]
        frame, person = np.flatnonzero(each == ord(_FRAME)), np.flatnonzero(each == ord(_PERSON))
        text.check(start[frame] + 1, b"humans")
        text.check_nothing(start[frame] + len(_OPEN) - 1)  # `[null]` would pass for nobody
        for at, key in self.person.keys.items():
            text.check(start[person] + at, key)
        rows, boxes, names, states = [], [], [], []
        for letter, part in self.parts.items():
            of = np.flatnonzero(each == ord(letter))
            for at, key in part.keys.items() if len(of) else ():
                text.check(start[of] + at, key)
            for nth, name in enumerate(part.names if len(of) else ()):
                rows.append(of * (MOST + 1) + nth)
                boxes.append(start[of] + part.boxes[nth if len(part.boxes) > 1 else 0])
                names.append(start[of])
                states.append(start[of] + name)
        order = np.argsort(np.concatenate(rows), kind="stable") if len(rows) > 1 else slice(None)
        row, box, name, state = (np.concatenate(of)[order] if of else _NONE for of in (rows, boxes, names, states))
        (part, part_names), (said, state_names) = text.names(name), text.names(state)
        columns = Columns(
            people=np.diff(np.searchsorted(person, frame), append=len(person)),
            person_box=text.boxes(start[person] + self.person.boxes[0]),
            part_person=(np.cumsum(each == ord(_PERSON)) - 1)[row // (MOST + 1)],
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
    """Text and its punctuation, whose strings are known to hold none: `_check_nesting` leaves pairs of quotes alone."""

    def __init__(self, text: bytes) -> None:
        if not text.isascii() or b"\\" in text or len(text) > 1 << 30:
            raise _OtherwiseError
        padded = text + bytes(8)
        self._text, self._each = text, np.frombuffer(padded, np.uint8)
        self._at = np.flatnonzero(np.frombuffer(text.translate(_IS_PUNCTUATION), bool))
        self._words = np.ndarray(len(text) + 1, np.uint64, padded, strides=(1,))
        self.punctuation = self._each.take(self._at).tobytes()

    def check(self, at: Integers, word: bytes) -> None:
        """Refuse a text that has another string than this, of seven bytes at the most, after some quotes."""
        word += b'"'  # no string holds one
        spelled = self._words[self._at.take(at) + 1] & _LAST_BYTES[len(word)]
        if (spelled != int.from_bytes(word, "little")).any():
            raise _OtherwiseError

    def check_nothing(self, at: Integers) -> None:
        """Refuse a text that has anything between some of its punctuation and the next."""
        if (self._at.take(at + 1) - self._at.take(at) != 1).any():
            raise _OtherwiseError

    def names(self, at: Integers) -> tuple[Integers, list[str]]:
        """Codes and names of the strings after some of the punctuation."""
        start = self._at.take(at) + 1
        length = self._at.take(at + 1) - start
        if length.max(initial=0) > _LONGEST_NAME:
            raise _OtherwiseError
        words, mixed = [], np.zeros(len(at), np.uint64)
        for nth in range(-(-int(length.max(initial=1)) // 8) or 1):
            left = np.clip(length - 8 * nth, 0, 8)  # filled up with zeros, which no string of JSON holds
            words.append(self._words[np.minimum(start + 8 * nth, len(self._text))] & _LAST_BYTES[left])
            mixed = mixed * _ODD + words[-1] if nth else words[-1]
        distinct, code = _coded(mixed)
        first = np.zeros(len(distinct), np.int64)
        first[code[::-1]] = np.arange(len(code))[::-1]
        if len(words) > 1 and any((word != word[first][code]).any() for word in words):  # two names mixed to one
            raise _OtherwiseError
        order = np.argsort(first)
        names = [self._text[start[row] : start[row] + length[row]].decode() for row in first[order]]
        return np.argsort(order)[code], names

    def boxes(self, at: Integers) -> Floats:
        """`(n, 4)` numbers, the first of each row after the given punctuation."""
        bounds = [self._at.take(at + nth) for nth in range(5)]
        corners = [self._numbers(before + 1, end) for before, end in itertools.pairwise(bounds)]
        return np.stack(corners, axis=1)

    def _numbers(self, start: Integers, end: Integers) -> Floats:
        """Numbers, a space before each or none: whole ones of some digits all at once, else as Arrow reads them."""
        digits = self._words[start]
        space = (digits & 255) == ord(" ")
        digits >>= space * np.uint64(8)
        minus = (digits & 255) == ord("-")
        digits >>= minus * np.uint64(8)
        length = end - start - space - minus
        if length.min(initial=1) > 0 and length.max(initial=1) <= 6:  # of eight bytes a space and a sign are lost
            digits <<= _BITS_BEFORE[length]
            digits -= _ZEROS[length]
            if not ((digits + 0x7676767676767676 | digits) & 0x8080808080808080).any():
                # Two digits together, then four, then eight: D. Lemire, "Quickly parsing eight digits" (2022).
                digits = digits * 10 + (digits >> 8) & 0x00FF00FF00FF00FF
                digits = digits * 100 + (digits >> 16) & 0x0000FFFF0000FFFF
                digits = digits * 10000 + (digits >> 32) & 0xFFFFFFFF
                return digits * np.where(minus, -1.0, 1.0) if minus.any() else digits.astype(np.float64)
        start += space
        first = np.diff(start, prepend=-1) != 0  # a box of several states is given several times
        corners = self._strings(start[first], end[first]).cast(pa.float64())
        return _values(corners, np.float64)[::2][np.cumsum(first) - 1]

    def _strings(self, start: NDArray[Any], end: NDArray[Any]) -> pa.StringArray:
        """Stretches of the text in order; between each two there is a null, for the text between them."""
        between = np.empty((len(start), 2), np.int32)
        between[:, 0], between[:, 1] = start, end
        there = pa.py_buffer(b"\x55" * (len(start) // 4 + 1))
        size = max(0, between.size - 1)
        return pa.StringArray.from_buffers(size, pa.py_buffer(between.data), pa.py_buffer(self._text), there)


def _coded(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], Integers]:
    """The different ones of some numbers, which are few and come again and again, and which of them each is."""
    distinct = np.unique(numbers[:256])
    code = np.searchsorted(distinct[:-1], numbers)
    if (distinct[code] != numbers).any():
        distinct = np.unique(numbers)
        code = np.searchsorted(distinct, numbers)
    return distinct, code


def _values(array: pa.Array[Any], type_: Any) -> NDArray[Any]:
    """A new array's values: `to_numpy` would import pandas, which takes longer than all of this."""
    values: Any = array.buffers()[1]
    return np.frombuffer(values or b"", type_)[: len(array)]


def _check_nesting(letters: bytes, frames: int) -> None:
    """Refuse what is not frames of people of parts; it is known to be valid JSON."""
    folded = letters.translate(bytes.maketrans(b"012345", b"PPPPPP"))
    if b"},P" in folded:
        raise _OtherwiseError
    folded = folded.replace(b",P", b"").replace(b"HP}}", b"H").replace(b"H}}", b"H")
    if b"},H" in folded:
        raise _OtherwiseError
    folded = folded.replace(b",H", b"").replace(b"FH]}", b"F").replace(b"F]}", b"F")
    if folded != b",".join([_FRAME] * frames):
        raise _OtherwiseError


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
    first = np.flatnonzero(np.diff(written, prepend=-1))
    slot = (columns.part_person * len(columns.parts) + columns.part)[first]
    if np.bincount(slot, minlength=1).max() > 1:
        raise _OtherwiseError
