"""The challenge's JSON straight into columns, where all parts, and all people, are written like the first.

A decoder makes a Python object of every number, which takes far longer than reading them. Files of a program's making
need none: their punctuation alone, rewritten from the parts up (`"":{"":[,,,],"":""}` is a part), says where each
number and each name stands, and the rest is operations on whole columns. What is written in any other way is not read
here (`read` gives None) but by the typed reader of `challenge_json`, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tps_pipeline.parsing import Floats, Integers

MOST = 5
"""Boxes or states of one part that are read here."""

_BLOCK = 1 << 20
"""Bytes looked at together: what is known of each stays in the processor's cache."""

_BOX = b"[,,,]"
_IS_PUNCTUATION = bytes(character in b'{}[],:"' for character in range(256))
_FRAME, _PERSON = b"F", b"H"
_LAST_BYTES = np.array([(1 << 8 * n) - 1 if n < 8 else 2**64 - 1 for n in range(9)], np.uint64)


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


def read(frames: list[msgspec.Raw], *, proposals: bool) -> Columns | None:
    """Read frames (`{"humans": [...]}`), if all of them are written alike.

    Args:
        frames: Valid JSON each.
        proposals: Whether a part has lists of boxes and states, as in a submission, and not one box.

    Returns:
        What they hold; None if they have no part or anything in them is written in another way.
    """
    try:
        way = _Way.of(frames, proposals=proposals)
        return _joined([way.read(block) for block in _blocks(frames)])
    except (ValueError, msgspec.DecodeError, RecursionError):  # Arrow's of numbers that are none, too
        return None


def _blocks(frames: list[msgspec.Raw]) -> Iterator[list[msgspec.Raw]]:
    size, start = 0, 0
    for at, frame in enumerate(frames):
        size += len(memoryview(frame))
        if size >= _BLOCK or at + 1 == len(frames):
            yield frames[start : at + 1]
            size, start = 0, at + 1


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
        said += b'"":'
        places[name] = len(said)
        if name not in values and not (value is None or isinstance(value, str | float | int)):
            raise _OtherwiseError
        said += values.get(name, b'""' if isinstance(value, str) else b"")
    if not values.keys() <= places.keys() or any(len(key) > 8 for key in keys.values()):
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
    def of(cls, frames: list[msgspec.Raw], *, proposals: bool) -> _Way:
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
        ways = {}
        for n in range(0 if not proposals else 1, MOST + 1):  # 0 is a state by itself
            box = b"[" + b",".join([_BOX] * n) + b"]" if proposals else _BOX
            verb = b"[" + b",".join([b'""'] * n) + b"]" if n else b'""'
            inner = _written(part, {"box": box, "verb": verb})
            shift = len(b'"":')
            ways[b"%d" % n] = _Written(
                b'"":' + inner.punctuation + b"}",
                {at + shift: key for at, key in inner.keys.items()},
                tuple(at + shift for at in inner.boxes),
                tuple(at + shift for at in inner.names),
            )
        return ways

    def read(self, frames: list[msgspec.Raw]) -> Columns:
        """Read frames that are written in this way."""
        text = _Text(b",".join(frames))
        letters = text.punctuation
        for letter, part in self.parts.items():
            letters = letters.replace(part.punctuation, letter)
        letters = letters.replace(self.person.punctuation, _PERSON).replace(b'{"":[', _FRAME)
        _check_nesting(letters, len(frames))

        each = np.frombuffer(letters, np.uint8)
        length = np.ones(256, np.int64)
        length[ord(_FRAME)], length[ord(_PERSON)] = len(b'{"":['), len(self.person.punctuation)
        for letter, part in self.parts.items():
            length[ord(letter)] = len(part.punctuation)
        start = np.cumsum(length[each]) - length[each]
        frame, person = np.flatnonzero(each == ord(_FRAME)), np.flatnonzero(each == ord(_PERSON))
        text.check(start[frame] + 1, b"humans")
        text.check(start[frame] + len(b'{"":'), b"")  # `[null]` would pass for nobody
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
        part_names, state_names = text.names(name), text.names(state)
        columns = Columns(
            people=np.diff(np.searchsorted(person, frame), append=len(person)),
            person_box=text.boxes(start[person] + self.person.boxes[0]),
            part_person=np.searchsorted(person, row // (MOST + 1)) - 1,
            part=_values(part_names.indices, np.int32).astype(np.int64),
            part_box=text.boxes(box),
            state=_values(state_names.indices, np.int32).astype(np.int64),
            parts=[str(name) for name in part_names.dictionary.to_pylist()],
            states=[str(name) for name in state_names.dictionary.to_pylist()],
        )
        _check_once(columns)
        return columns


_NONE = np.empty(0, np.int64)


class _Text:
    """Text and its punctuation."""

    def __init__(self, text: bytes) -> None:
        if not text.isascii() or b"\\" in text or len(text) > 1 << 30:
            raise _OtherwiseError
        padded = text + bytes(8)
        each = np.frombuffer(padded, np.uint8)
        at = np.flatnonzero(np.frombuffer(text.translate(_IS_PUNCTUATION), bool))
        punctuation = each[at]
        self.punctuation = punctuation.tobytes()
        quotes = np.flatnonzero(punctuation == ord('"'))
        if len(quotes) % 2 or (np.diff(quotes)[::2] != 1).any():  # a name has punctuation in it
            raise _OtherwiseError
        between = np.empty((len(at), 2), np.int32)
        between[:, 0] = at + 1
        between[:, 0] += each[between[:, 0]] == ord(" ")
        between[:-1, 1], between[-1, 1] = at[1:], len(text)
        self._start, self._end = between.T
        self._between = pa.StringArray.from_buffers(between.size - 1, pa.py_buffer(between.data), pa.py_buffer(text))
        self._words = np.ndarray(len(text), np.uint64, padded, strides=(1,))

    def check(self, at: Integers, word: bytes) -> None:
        """Refuse a text that has another word than this after some of its punctuation."""
        start = self._start[at]
        spelled = self._words[start] & _LAST_BYTES[len(word)]
        if (self._end[at] - start != len(word)).any() or (spelled != int.from_bytes(word, "little")).any():
            raise _OtherwiseError

    def names(self, at: Integers) -> pa.DictionaryArray[Any, Any]:
        """The text after some of the punctuation, each that occurs once."""
        return self._after(at).dictionary_encode()

    def boxes(self, at: Integers) -> Floats:
        """`(n, 4)` numbers, the first of each row after the given punctuation."""
        corners = self._after((at[:, None] + np.arange(4)).ravel())
        return _values(pc.cast(corners, pa.float64()), np.float64).reshape(-1, 4)

    def _after(self, at: Integers) -> pa.StringArray:
        return self._between.take(pa.Int64Array.from_buffers(pa.int64(), len(at), [None, pa.py_buffer((2 * at).data)]))


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


def _joined(blocks: list[Columns]) -> Columns:
    """Blocks one after the other, with codes of all names."""
    parts: dict[str, int] = {}
    states: dict[str, int] = {}
    person, part, state, people = [], [], [], 0
    for block in blocks:
        person.append(block.part_person + people)
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


def _check_once(columns: Columns) -> None:
    """Refuse a part that a person has twice: the last one counts."""
    if len(columns.part) > 1:
        slot = columns.part_person * len(columns.parts) + columns.part
        starts = slot[np.flatnonzero(np.diff(slot, prepend=-1))]
        if np.bincount(starts, minlength=1).max() > 1:
            raise _OtherwiseError
