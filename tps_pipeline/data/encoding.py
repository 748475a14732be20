"""Text from elsewhere: files that are not all UTF-8, and names that a terminal may not show as they are."""

from __future__ import annotations

import json

_LONGEST = 500


def as_utf8(content: bytes) -> bytes:
    """A text file's content as UTF-8 without a byte order mark: editors save UTF-16, and UTF-8 with a mark.

    Args:
        content: JSON or a list; its encoding shows in its first bytes.

    Raises:
        UnicodeDecodeError: It is no text in the encoding that it begins with. Content that is taken for UTF-8 comes
            back as it is, unchecked.
    """
    encoding = json.detect_encoding(content[:4])
    return content if encoding == "utf-8" else content.decode(encoding).encode()


def is_utf8(name: str) -> bool:
    """Whether a file's name is text; tables hold no other."""
    return not any(map(_is_surrogate, name))


def printable(text: str) -> str:
    r"""A name as a line can show it: what is not UTF-8, or no character to be seen, as an escape; a long one is cut.

    >>> printable("caf\udce9\n.mp4")
    'caf\\xe9\\n.mp4'
    """
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # how Python reads a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
