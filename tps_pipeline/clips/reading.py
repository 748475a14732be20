"""Clips of a video from one pass over it, however many there are and however much they share.

A clip is a row of frame indices. Frames are scaled in the decoder, held while a later clip shows them, and handed out
once a batch, beside the clips' indices into them: overlapping clips are not copied apart before they have to be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tps_pipeline.ahead import drawn_ahead
from tps_pipeline.errors import DataError, VideoError
from tps_pipeline.progress import progress
from tps_pipeline.video.decode import Decoder, read_frames

ATTEMPTS = 10
"""Training videos tried in place of one that cannot be decoded."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Windows(NamedTuple):
    """Some of a video's clips.

    Attributes:
        frames: The frames that they show, each once, ascending: RGB uint8, `(N, H, W, 3)`.
        shown: Which of them each clip shows, `(B, T)`.
    """

    frames: np.ndarray
    shown: np.ndarray


_at_hand: ContextVar[tuple[Path, Sequence[np.ndarray]] | None] = ContextVar("at_hand", default=None)


@contextmanager
def at_hand(path: Path, pictures: Sequence[np.ndarray]) -> Iterator[None]:
    """Have clips of a video come from pictures that are in memory: a stream has them decoded already, and no file.

    Args:
        path: What the video is called.
        pictures: All of its frames: RGB uint8, height x width x 3, of one size.
    """
    token = _at_hand.set((path, pictures))
    try:
        yield
    finally:
        _at_hand.reset(token)


def read_windows(
    path: str | Path,
    indices: np.ndarray,
    *,
    batch: int,
    size: tuple[int, int] | None = None,
    decoder: Decoder = "pyav",
) -> Iterator[Windows]:
    """Read clips of a video in one pass; at any time only frames that are still to be shown are held.

    In place of a frame that cannot be decoded the nearest one that can be is shown.

    Args:
        path: The file.
        indices: The frames of each clip, `(K, T)`, from 0; no column may descend (`dense_sample` of ascending key
            frames).
        batch: Clips to hand out at once.
        size: Width and height to scale to; None keeps the video's own.
        decoder: As for `read_frames`.

    Yields:
        All clips in order, `batch` at a time; fewer in the end.

    Raises:
        VideoError: The file cannot be read, or a frame lies past its end; what came before has been handed out.
        ValueError: A column of `indices` descends.
    """
    if (np.diff(indices, axis=0) < 0).any():
        raise ValueError("clips must be in the order in which their frames are shown")
    pictures = _pictures(path, np.unique(indices).tolist(), size=size, decoder=decoder)
    held: dict[int, np.ndarray] = {}
    last = -1
    for start in range(0, len(indices), batch):
        rows = indices[start : start + batch]
        wanted, shown = np.unique(rows, return_inverse=True)
        held = {at: picture for at, picture in held.items() if at >= wanted[0]}
        together = np.empty(0, np.uint8)
        for place, at in enumerate(wanted.tolist()):
            while last < at:
                last, held[last] = next(pictures)
            if not place:
                together = np.empty((len(wanted), *held[at].shape), np.uint8)
            together[place] = held[at]
            held[at] = together[place]  # what is handed out is not held a second time
        yield Windows(together, shown.reshape(rows.shape))


def read_clips(path: str | Path, indices: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
    """Read clips of a video in one pass, each apart from the others.

    Args:
        path: The file.
        indices: The frames of each clip, `(K, T)`, from 0, in any order.
        size: Width and height to scale to.

    Returns:
        RGB, uint8, `(K, T, height, width, 3)`.

    Raises:
        VideoError: As for `read_windows`.
    """
    clips = np.empty((*indices.shape, *reversed(size), 3), np.uint8)
    for at, picture in _pictures(path, np.unique(indices).tolist(), size=size):
        clips[indices == at] = picture
    return clips


def read_ahead(
    clips: Iterable[tuple[Path, np.ndarray]], *, batch: int, size: tuple[int, int]
) -> Iterator[tuple[int, Iterator[Windows]]]:
    """Read clips of many videos; those that come next are decoded while the caller is busy with those before.

    Args:
        clips: Videos' files and the frames of each one's clips, as for `read_windows`.
        batch: As for `read_windows`.
        size: As for `read_windows`.

    Yields:
        Of each video that has clips its number among them, from 0, and what `read_windows` gives, or raises; to be
        used up before the next is asked for.
    """

    def read() -> Iterator[tuple[int, Windows | VideoError]]:
        for number, (path, indices) in enumerate(clips):
            try:
                for windows in read_windows(path, indices, batch=batch, size=size):
                    yield number, windows
            except VideoError as error:
                yield number, error

    def of_one(found: Iterable[tuple[int, Windows | VideoError]]) -> Iterator[Windows]:
        for _, windows in found:
            if isinstance(windows, VideoError):
                raise windows
            yield windows

    for number, found in groupby(drawn_ahead(read()), itemgetter(0)):
        yield number, of_one(found)


def _pictures(
    path: str | Path, frames: Sequence[int], *, size: tuple[int, int] | None, decoder: Decoder = "pyav"
) -> Iterator[tuple[int, np.ndarray]]:
    """Each of some frames (ascending, distinct) with its index, from memory if they are at hand, or an error."""
    ready = _at_hand.get()
    if ready and ready[0] == Path(path):
        found = _scaled(ready[1], frames, size)
    else:
        found = read_frames(path, frames, decoder=decoder, size=size, nearest=True)
    for at in frames:
        try:
            yield next(found)
        except StopIteration as error:
            raise VideoError(f"{path}: ends before frame {at + 1}; probe it again") from error


def _scaled(
    pictures: Sequence[np.ndarray], frames: Sequence[int], size: tuple[int, int] | None
) -> Iterator[tuple[int, np.ndarray]]:
    """As `read_frames` gives them, and scaled by the same library."""
    reformatter = VideoReformatter()
    for at in frames:
        if at >= len(pictures):
            return
        frame = VideoFrame.from_ndarray(pictures[at], "rgb24")
        yield at, reformatter.reformat(frame, *(size or (None, None)), "rgb24", threads=1).to_ndarray()


class Video(NamedTuple):
    """A video file and the number of its frames."""

    path: Path
    """The file on this machine."""
    n_frames: int
    """Its frames, as probed."""


class ClipReader:
    """Reads clips of any of some videos, each picture scaled to a square.

    Every read is one pass over one video. As many whole videos as a budget holds are decoded right away and kept, so a
    small data set is decoded once for a whole training.

    Args:
        videos: The videos.
        size: Rows and columns.
        cache_megabytes: The budget.
    """

    def __init__(self, videos: Sequence[Video], *, size: int, cache_megabytes: int = 0) -> None:
        self.videos, self.size = videos, size
        self.decoded: dict[int, np.ndarray] = {}
        left = cache_megabytes * 2**20
        fitting = []
        for index, video in enumerate(videos):
            left -= video.n_frames * size * size * 3
            if video.n_frames and left >= 0:
                fitting.append(index)
        for index in progress(fitting, "decoding videos"):
            try:
                self.decoded[index] = self.read(index, np.arange(videos[index].n_frames)[None])[0]
            except VideoError as error:
                log.warning("%s", error)

    def read(self, video: int, indices: np.ndarray) -> np.ndarray:
        """Read clips of one video.

        Args:
            video: Which.
            indices: The frames of each clip, `(K, T)`, as for `read_windows`.

        Returns:
            RGB, uint8, `(K, T, size, size, 3)`.

        Raises:
            VideoError: A frame cannot be decoded.
        """
        if video in self.decoded:
            return self.decoded[video][indices]
        return read_clips(self.videos[video].path, indices, size=(self.size, self.size))

    def draw(
        self, video: int, choose: Callable[[int], tuple[np.ndarray, T]], rng: np.random.Generator
    ) -> tuple[np.ndarray, T]:
        """Read training clips of a video, or of another in its place if it cannot be decoded.

        One that cannot be read now is an error instead: what is learnt may not depend on a disk's moods.

        Args:
            video: Which.
            choose: Chooses a video's clips: their frames, `(K, T)`, and what goes with them.
            rng: Where the choice of another video comes from.

        Returns:
            The clips, `(K, T, size, size, 3)`, and what goes with them.

        Raises:
            DataError: Many videos in a row cannot be decoded.
            UnreachableError: A video cannot be read now.
        """
        for _ in range(ATTEMPTS):
            indices, beside = choose(video)
            try:
                return self.read(video, indices), beside
            except VideoError as error:
                log.warning("%s", error)
                video = int(rng.integers(len(self.videos)))
        raise DataError(
            f"{ATTEMPTS} training videos in a row cannot be decoded; check the data with `tps data validate`"
        )


def held_out(
    videos: Sequence[Video], drawn: Sequence[np.ndarray | None], *, size: int, cache_megabytes: int = 0
) -> Callable[[], Iterable[np.ndarray | None]]:
    """Clips of held-out videos, to be looked at again and again; kept if a budget holds all of them.

    Args:
        videos: The videos.
        drawn: The frames of each one's clips, `(K, T)`; None for a video that is passed over.
        size: Rows and columns that pictures are scaled to.
        cache_megabytes: The budget.

    Returns:
        Gives each video's clips, `(K, T, size, size, 3)`; None for one that is passed over or cannot be decoded.
    """
    reader = ClipReader(videos, size=size)

    def read() -> Iterator[np.ndarray | None]:
        for video, indices in enumerate(drawn):
            try:
                yield None if indices is None else reader.read(video, indices)
            except VideoError as error:
                log.warning("%s", error)
                yield None

    total = 3 * size * size * sum(indices.size for indices in drawn if indices is not None)
    kept = list(read()) if total <= cache_megabytes * 2**20 else None
    return read if kept is None else lambda: kept
