"""Opening the files of other tools: their text whatever its encoding, and JSON of a known shape."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tps_pipeline.data.encoding import as_utf8
from tps_pipeline.data.formats.neutral import refused
from tps_pipeline.plain_file import NotPlainError, content

MAX_BYTES = 2 << 30
"""Of a file of labels."""

_Shape = TypeVar("_Shape")


def text_of(source: Path, fix: str) -> bytes:
    """A file's text as UTF-8.

    Args:
        source: The file.
        fix: What to do if it is none.

    Raises:
        DataError: It is no text file.
    """
    try:
        text = as_utf8(content(source, limit=MAX_BYTES))
        text.decode()
    except NotPlainError as error:
        raise refused(f"{source}", str(error), fix) from None
    except UnicodeDecodeError as error:
        what = f"is not text as it says it is, from byte {error.start} on"
        raise refused(f"{source}", what, "save it as UTF-8") from None
    return text.removeprefix(b"\xef\xbb\xbf")


def decoded(source: Path, shape: type[_Shape], fix: str) -> _Shape:
    """A JSON file's content.

    Args:
        source: The file.
        shape: The type that it must have.
        fix: What to do if it has not.

    Raises:
        DataError: It is no JSON, or of another shape; the message has the place in it.
    """
    try:
        return msgspec.json.decode(text_of(source, fix), type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise refused(f"{source}", str(error), fix) from None
