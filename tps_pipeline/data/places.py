"""Text that is read at many places at once, eight bytes of each at a time: NumPy in place of a loop over characters.

Only how strings, numbers and what stands between them are read; what they mean is `alike`'s matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline.parsing import Floats, Integers

LONGEST = 64
"""Bytes of a string or a number that is read here."""
PADDING = 4096
"""Zeros after the text: a place that is read in vain does not come further."""

_WORD = 8
_EACH = 0x0101010101010101
"""Times a character: eight of it."""
_LAST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(_WORD + 1)], np.uint64)
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""What words of a string are mixed by, so that two strings are hardly ever one number."""
_FEW = 1024
"""So many numbers are sooner read one by one than by Arrow."""


class OtherwiseError(ValueError):
    """Something is written in another way."""


class Text:
    """Text without escapes."""

    def __init__(self, content: bytes) -> None:
        if not content.isascii() or b"\\" in content or len(content) > 1 << 30:
            raise OtherwiseError
        self.content = content
        self.sure = bool(np.frombuffer(content, np.uint8).min(initial=ord(" ")) >= ord(" "))
        """Whether what has been read is JSON beyond doubt: no string has a control character, each number is plain."""
        padded = content + bytes(PADDING + LONGEST + _WORD)
        self._each = np.frombuffer(padded, np.uint8)
        self._words = np.ndarray(len(padded) - _WORD + 1, np.uint64, padded, strides=(1,))

    def all(self, character: str) -> Integers:
        """Where a rare character is."""
        each = self._each[: len(self._each) // _WORD * _WORD] == ord(character)
        eight = each.view(np.uint64)
        which = np.flatnonzero(eight != 0)
        found = np.flatnonzero(eight[which].view(np.bool_))  # a few words, where one byte or several are it
        return (which[found >> 3] << 3) + (found & 7)

    def says(self, at: Integers, what: bytes) -> NDArray[np.bool_]:
        """At which places the text goes on like that."""
        said = np.ones(len(at), bool)
        for nth in range(0, len(what), _WORD):
            word = what[nth : nth + _WORD]
            found = self._words[at + nth if nth else at]
            if len(word) < _WORD:
                found &= _LAST_BYTES[len(word)]
            said &= found == int.from_bytes(word, "little")
        return said

    def say(self, at: Integers, which: Integers, what: Sequence[bytes]) -> bool:
        """Whether the text goes on at every place like that which is the place's own."""
        for nth in range(0, max(map(len, what)), _WORD):
            words = [each[nth : nth + _WORD] for each in what]
            own = np.array([int.from_bytes(word, "little") for word in words], np.uint64)
            if ((self._words[at + nth] & _LAST_BYTES[[*map(len, words)]][which]) != own[which]).any():
                return False
        return True

    def until(self, at: Integers, character: int) -> Integers:
        """Where that character comes next; the place itself if it does not come soon."""
        length = _length(self._words[at], character)
        end = at + length
        far = np.flatnonzero(length == _WORD)
        for nth in range(_WORD, LONGEST + 1, _WORD):
            if not len(far):
                break
            length = _length(self._words[at[far] + nth], character)
            end[far] += length
            far = far[np.flatnonzero(length == _WORD)]
        end[far] = at[far]
        return end

    def digits(
        self, at: Integers, said: bytes, character: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.uint64], Integers]:
        """What comes after a few bytes: up to a character, as `numbers` takes it.

        Args:
            at: Places.
            said: What stands there, four bytes at the most.
            character: What ends a number.

        Returns:
            Whether it stands there; the eight bytes before the character; where that comes (`until`).
        """
        eight = self._words[at]
        says = (eight & _LAST_BYTES[len(said)]) == int.from_bytes(said, "little")
        eight >>= 8 * len(said)
        length = _length(eight, character)
        eight <<= 8 * (_WORD - length)
        end = at + (length + len(said))
        if length.max(initial=0) == _WORD:
            far = np.flatnonzero(length == _WORD)
            begin = at[far] + len(said)
            end[far] = self.until(begin, character)
            eight[far] = self._words[begin] << (8 * (_WORD + begin - end[far])).view(np.uint64)
        return says, eight, end

    def strings(self, begin: Integers, end: Integers) -> tuple[Integers, list[str]]:
        """Codes of the strings between some places, and what each stands for, as they come; no quotes are in them."""
        longest = int((end - begin).max(initial=1))
        if longest > LONGEST:
            raise OtherwiseError
        words, mixed = [], np.zeros(len(begin), np.uint64)
        shift = begin - end
        shift *= 8
        for nth in range(0, max(longest, 1), _WORD):
            shift += 8 * _WORD
            word = self._words[begin + nth if nth else begin]
            word <<= np.maximum(shift, 0).view(np.uint64)  # filled up with zeros, which no string of JSON holds
            if ~np.bitwise_and.reduce(_unlike(word, ord('"'))) & _EACH * 128:
                raise OtherwiseError
            mixed = mixed * _ODD + word if nth else word
            words.append(word)
        first, code = _coded(mixed)
        if any((word != word[first][code]).any() for word in words[:-1]):  # two strings mixed to one
            raise OtherwiseError
        return code, [self.content[begin[row] : end[row]].decode() for row in first]

    def numbers(self, read: list[tuple[NDArray[np.uint64], Integers, Integers]]) -> Floats:
        """`(len(read), n)` numbers of any shape, from their last bytes (`digits`), and where they begin and end."""
        if not read:
            return np.empty((0, 0))
        eight = np.array([last for last, _, _ in read])
        numbers = eight & 0x0F0F0F0F0F0F0F0F
        # Whole numbers have nothing but digits, with spaces before them or none.
        other = eight >> 2  # letters
        other |= (numbers + 0x100F0F0F0F0F0F0F) & np.invert(eight, out=eight)  # what has only the lower half
        other &= 0x1010101010101010
        # Two digits together, then four, then eight: D. Lemire, "Quickly parsing eight digits" (2022).
        for ten_to, bits, several in _STEPS:
            numbers *= ten_to
            numbers >>= bits
            numbers &= several
        found = numbers.astype(np.float64)
        size = np.array([end - begin for _, begin, end in read])
        self.sure &= bool((found >= _LEAST.take(size, mode="clip")).all())
        if other.any():
            self.sure = False
            for which, (_, begin, end), row in zip(other != 0, read, found, strict=True):
                row[which] = self._decimals(begin[which], end[which])
        return found

    def _decimals(self, begin: Integers, end: Integers) -> Floats:
        if len(begin) < _FEW:
            content = self.content
            return np.array([float(content[a:b]) for a, b in zip(begin.tolist(), end.tolist(), strict=True)])
        sizes = np.stack([begin, end], axis=1, dtype=np.int32, casting="same_kind")
        there = pa.py_buffer(b"\x55" * (len(begin) // 4 + 1))  # between each two is a null, for the text between them
        spelled = pa.StringArray.from_buffers(
            sizes.size - 1, pa.py_buffer(sizes.data), pa.py_buffer(self.content), there
        )
        # `to_numpy` would import pandas, which takes longer than all of this.
        values: Any = spelled.cast(pa.float64()).buffers()[1]
        return np.frombuffer(values, np.float64)[: sizes.size - 1 : 2]


_LEAST = np.array([np.inf, 0, *(10.0**digits for digits in range(1, _WORD)), np.inf])
"""The least number of so many digits, without zeros before it."""
_STEPS = ((2561, 8, 0x00FF00FF00FF00FF), (6553601, 16, 0x0000FFFF0000FFFF), (42949672960001, 32, 0xFFFFFFFF))
"""What two neighbours are multiplied by at once, by how many bits they then stand too high, and where they are."""


def _unlike(words: NDArray[np.uint64], character: int) -> NDArray[np.uint64]:
    """The highest bit of each byte: whether it is another character."""
    found = words ^ np.uint64(_EACH * character)
    found += _EACH * 127  # no byte of the text has more
    return found


def _length(words: NDArray[np.uint64], character: int) -> NDArray[np.uint8]:
    """How many bytes of each come before the first that is this character: eight if none is."""
    found = _unlike(words, character)
    found |= _EACH * 127
    found &= ~(found + 1)  # what is below the lowest bit that is not set
    return np.bitwise_count(found) >> np.uint8(3)


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
