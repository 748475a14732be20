"""What may be named as a video: files, folders, patterns, a camera's number. What is refused, and in which words.

Whether a file can be decoded is for `video/` to say.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import PIL
from PIL import Image

from tps_pipeline.data.encoding import is_utf8
from tps_pipeline.data.layout import EXTENSIONS
from tps_pipeline.errors import TpsError, VideoError
from tps_pipeline.plain_file import NotPlainError, descriptor

Camera = int
"""A camera's number, from 0."""

_PICTURES = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def find(named: Sequence[str], *, allow_network: bool = False) -> Iterator[Path | Camera | str | TpsError]:
    """What somebody means by some sources, in order; each file once.

    Args:
        named: Files, folders (all videos in them, at any depth), patterns with `*`, `?` or `[...]`, a camera's number,
            or a network address.
        allow_network: Whether an address is one to be opened.

    Yields:
        A file, a camera, an address; or why there is none.
    """
    seen: set[Path] = set()
    for name in named:
        for found in _mean(name, allow_network=allow_network):
            if not isinstance(found, Path):
                yield found
            elif found.absolute() not in seen:
                seen.add(found.absolute())
                yield found


def _mean(name: str, *, allow_network: bool) -> Iterator[Path | Camera | str | TpsError]:
    path = Path(name).expanduser()
    if path.is_dir():
        videos = sorted(file for file in path.rglob("*") if _is_video(file, path))
        yield from videos or [VideoError(f"{name}: no videos are in this folder; they end in .mp4, .mkv, .webm, ...")]
    elif path.exists() or path.is_symlink():
        yield path
    elif _ADDRESS.match(name):
        yield (
            name
            if allow_network
            else VideoError(f"{name}: is a network address, and none is opened unless --allow-network is given")
        )
    elif name.isdecimal():
        yield int(name)
    elif glob.has_magic(name):
        named = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - of a path that begins anywhere
        matches = [path for path in map(Path, named) if path.is_file()]
        yield from matches or [VideoError(f"{name}: no file is called so; see how the pattern is written")]
    else:
        yield VideoError(f"{name}: is not there; see how it is written")


def _is_video(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in EXTENSIONS and not hidden and not file.is_dir()


def video(source: str | Path) -> Path:
    """A file that is to be predicted.

    Raises:
        VideoError: It is none, a picture, or has a name that is no text.
        UnreachableError: It cannot be read now.
    """
    path = Path(source).expanduser()
    if not path.exists() and not path.is_symlink():
        raise VideoError(f"{source}: is not there; see how it is written")
    if path.is_dir():
        raise VideoError(f"{source}: is a folder; name its videos")
    if not is_utf8(path.name):
        raise VideoError(f"{path}: has a name that is not UTF-8; rename it")
    try:
        with os.fdopen(descriptor(path), "rb") as file:
            if _is_picture(file):
                raise VideoError(f"{path}: is a picture, not a video")
    except NotPlainError as error:
        raise VideoError(f"{path}: {error}; save it to a file first") from error
    return path


def _is_picture(file: IO[bytes]) -> bool:
    """Whether a file is one still picture; a JPEG would be decoded as a video of one frame."""
    try:
        with Image.open(file, formats=_PICTURES) as picture:
            return getattr(picture, "n_frames", 1) == 1
    except (PIL.UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
