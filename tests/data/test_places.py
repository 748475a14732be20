"""Text read at many places at once is what it is read one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tps_pipeline.data.places import LONGEST, OtherwiseError, Text


@pytest.mark.parametrize("between", [1, 3, 8])
def test_finds_every_brace(between: int):
    content = (b"x" * (between - 1) + b"{") * 50
    assert Text(content).all("{").tolist() == [at for at, byte in enumerate(content) if byte == ord("{")]


def test_a_character_is_found_as_far_as_is_looked_for_it():
    lengths = [0, 1, 7, 8, 9, 40, LONGEST, LONGEST + 20]
    words = [b"y" * n for n in lengths]
    text = Text(b'"'.join(words) + b'"')
    begin = np.cumsum([0, *(n + 1 for n in lengths[:-1])])
    found = text.until(begin, ord('"')) - begin
    assert found.tolist() == [n if n <= LONGEST else 0 for n in lengths]


def test_places_say_what_is_their_own_and_nothing_else():
    text = Text(b"a}}, b]}, {and so on c")
    at, what = np.array([1, 6, 20]), [b"", b"}}, ", b"]}, {and so on", b" "]
    assert text.say(at, np.array([1, 2, 3]), what)
    assert not text.say(at, np.array([1, 2, 1]), what)
    assert not text.say(at, np.array([1, 2, 3]), [*what[:2], b"]}, {and so ox", b" "])


def test_numbers_are_pythons():
    spelled = [b"0", b"7", b"1234", b"12345", b"1234567", b"123456789012", b"-3", b"-0", b"1.5", b"2e3", b" 44", b"0.1"]
    text = Text(b"".join(b"[%b," % number for number in spelled))
    at = text.all("[")
    says, digits, end = text.digits(at, b"[", ord(","))
    assert says.all()
    numbers = text.numbers([(digits, at + 1, end)])[0]
    assert numbers.tolist() == [float(number) for number in spelled]
    assert np.signbit(numbers[spelled.index(b"-0")])


def test_strings_are_told_apart_and_numbered_as_they_come():
    names = [b"right_hand", b"right_handle", b"", b"head", b"right_hand", b"x" * LONGEST, b"head"]
    text = Text(b",".join(names))
    length = np.array([len(name) for name in names])
    end = np.cumsum(length + 1) - 1
    begin = end - length
    codes, found = text.strings(begin, end)
    assert [found[code].encode() for code in codes] == names
    assert found == [name.decode() for name in dict.fromkeys(names)]
    with pytest.raises(OtherwiseError):
        text.strings(begin[:1], end[:1] + LONGEST)
