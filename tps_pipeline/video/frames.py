"""Extracted frames: one Arrow file of JPEGs a shard, read back memory-mapped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from tps_pipeline import recipe, tables
from tps_pipeline.cpu import keep_freed_memory
from tps_pipeline.errors import StoreError, VideoError
from tps_pipeline.video.decode import Decoder, read_frames
from tps_pipeline.video.probe import runs
from tps_pipeline.whole_file import whole_file

_NONE = np.empty(0, np.int32)


def sampled_frames(n_frames: int, stride: int = 5) -> np.ndarray:
    """The frames that are detected, predicted and scored: the challenge's 1, 6, 11, ...

    Args:
        n_frames: Frames in the video.
        stride: Step between sampled frames (5 in Kinetics-TPS).

    Returns:
        Frame numbers from 1, int64.

    >>> sampled_frames(12)
    array([ 1,  6, 11])
    """
    return np.arange(1, n_frames + 1, stride)


def wanted_frames(
    videos: pa.Table, labelled_frames: pa.Table, settings: recipe.Frames, *, data: Path
) -> Iterator[tuple[str, Path, list[int]]]:
    """Which frames of which videos are extracted.

    Of a training video those at 1, 1 + `train_stride`, ..., the labelled ones alone if `train_frames` says so; of any
    other readable video all at 1, 1 + `sample_stride`, ...

    Args:
        videos: `tables.VIDEOS`.
        labelled_frames: `tables.LABELLED_FRAMES` of the same videos.
        settings: The recipe's section.
        data: The folder that the videos' paths start from.

    Yields:
        Id, file and ascending frame numbers of each readable video.
    """
    labelled = labelled_frames.to_pandas().astype({"video_id": str}).groupby("video_id").frame.agg(set)
    for row in videos.select(["video_id", "path", "split", "n_frames", "status"]).to_pylist():
        if row["status"] != "ok":
            continue
        train = row["split"] == "train"
        frames = sampled_frames(row["n_frames"], settings.train_stride if train else settings.sample_stride)
        if train and settings.train_frames == "labelled":
            frames = [frame for frame in frames if frame in labelled.get(row["video_id"], ())]
        yield row["video_id"], data / row["path"], list(frames)


def extract(
    videos: Iterable[tuple[str, str | Path, Sequence[int]]],
    out: Path,
    *,
    jpeg_quality: int = 95,
    decoder: Decoder = "pyav",
    nearest: bool = False,
) -> list[tuple[str, str]]:
    """Extract frames of many videos into one Arrow file (schema `tables.FRAMES`, one record batch a video).

    Rows are sorted by video and frame. One video's JPEGs are in memory at a time; the file appears whole or not at
    all. A frame that cannot be decoded leaves no row, a video that cannot be read leaves none at all; neither stops the
    others.

    Args:
        videos: Id, file, and ascending frame numbers from 1 of each video.
        out: The file to write.
        jpeg_quality: 1 to 100.
        decoder: See `read_frames`.
        nearest: See `read_frames`: every frame of a video that can be read has a row.

    Returns:
        Videos, each with what has no rows and why.
    """
    keep_freed_memory()
    ordered = sorted(videos, key=lambda video: video[0])
    # All batches of an Arrow file share one dictionary, so it is fixed before the first.
    ids = pa.array([video_id for video_id, _, _ in ordered], pa.string())
    failed: list[tuple[str, str]] = []
    with (
        whole_file(out) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, tables.FRAMES) as writer,
    ):
        for position, (video_id, path, frames) in enumerate(ordered):
            if not len(frames):
                continue
            try:
                rows = list(_rows(path, frames, jpeg_quality, decoder, nearest=nearest))
            except VideoError as error:
                failed.append((video_id, str(error)))
                continue
            if left_out := sorted({*frames} - {frame for frame, *_ in rows}):
                failed.append((video_id, f"{path}: left out, as it cannot be decoded: frame {runs(left_out)}"))
            if rows:
                writer.write_batch(_batch(position, ids, rows))
    return failed


def read_jpegs(
    video_id: str, path: str | Path, frames: Sequence[int], *, jpeg_quality: int = 95, decoder: Decoder = "pyav"
) -> Iterator[tuple[str, int, bytes]]:
    """Read frames of one video as JPEGs, as far as they can be decoded: for `export` without a file in between.

    Args:
        video_id: What to call the video.
        path: Its file.
        frames: Ascending frame numbers from 1.
        jpeg_quality: 1 to 100.
        decoder: See `read_frames`.

    Yields:
        Video, frame number and JPEG.

    Raises:
        VideoError: See `read_frames`.
    """
    for frame, _, _, jpeg in _rows(path, frames, jpeg_quality, decoder):
        yield video_id, frame, jpeg


def write_frames(out: Path, video_id: str, pictures: Mapping[int, np.ndarray], *, quality: int) -> None:
    """Write pictures at hand as `extract` writes those of a video.

    Args:
        out: The file to write.
        video_id: What to call their video.
        pictures: RGB uint8, height x width x 3, by frame number, ascending from 1.
        quality: Of the JPEGs, 1 to 100.
    """
    rows = [(frame, *picture.shape[1::-1], _jpeg(picture, quality)) for frame, picture in pictures.items()]
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, tables.FRAMES) as writer:
        writer.write_batch(_batch(0, pa.array([video_id]), rows))


class FrameFile:
    """Random access to the frames of an Arrow file that `extract` wrote; memory-mapped.

    Small to pickle: a worker process maps the file itself.

    Args:
        path: The file.

    Raises:
        StoreError: It is missing or not a frames file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"{path}: not a file of extracted frames ({error}); extract the shard again") from error
        if not reader.schema.equals(tables.FRAMES):
            raise StoreError(f"{path}: its columns are not those of extracted frames; extract the shard again")
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._jpegs = {batch["video_id"][0].as_py(): batch["jpeg"] for batch in batches}
        self._frames = {batch["video_id"][0].as_py(): batch["frame"].to_numpy() for batch in batches}

    def __reduce__(self) -> tuple[type[FrameFile], tuple[Path]]:
        return FrameFile, (self.path,)

    def __len__(self) -> int:
        return sum(len(frames) for frames in self._frames.values())

    def __iter__(self) -> Iterator[tuple[str, int, bytes]]:
        """Video, frame number and JPEG of every frame, sorted."""
        for video_id, frame in self.keys():
            yield video_id, frame, self.jpeg(video_id, frame)

    @property
    def videos(self) -> list[str]:
        """The videos that have frames here."""
        return list(self._frames)

    @property
    def index(self) -> pa.Table:
        """`video_id`, `frame`, `width` and `height` of every frame."""
        columns = ["video_id", "frame", "width", "height"]
        return pa.ipc.open_file(pa.memory_map(str(self.path))).read_all().select(columns).unify_dictionaries()

    def keys(self) -> list[tuple[str, int]]:
        """Video and frame number of every frame, sorted."""
        return [(video_id, int(frame)) for video_id, frames in self._frames.items() for frame in frames]

    def numbers(self, video_id: str) -> list[int]:
        """The numbers of a video's frames, ascending; none if it has no frames here."""
        return self._frames.get(video_id, _NONE).tolist()

    def frame(self, video_id: str, frame: int) -> np.ndarray:
        """A frame as a picture: RGB uint8, height x width x 3.

        Raises:
            StoreError: The frame was not extracted, or is damaged.
        """
        picture = cv2.imdecode(np.frombuffer(memoryview(self._jpeg(video_id, frame)), np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise StoreError(f"{self.path}: frame {frame} of video {video_id} is damaged; extract the shard again")
        return picture

    def jpeg(self, video_id: str, frame: int) -> bytes:
        """A frame as a JPEG file's bytes.

        Raises:
            StoreError: The frame was not extracted.
        """
        return self._jpeg(video_id, frame).to_pybytes()

    def _jpeg(self, video_id: str, frame: int) -> pa.Buffer:
        frames = self._frames.get(video_id, _NONE)
        row = int(np.searchsorted(frames, frame))
        if row == len(frames) or frames[row] != frame:
            raise StoreError(f"{self.path}: frame {frame} of video {video_id} was not extracted")
        return self._jpegs[video_id][row].as_buffer()


def preview(frames: FrameFile, *, width: int = 320) -> str:
    """The first frame as Markdown with a small embedded JPEG, for an asset's metadata; nothing if there is none."""
    for video_id, frame in frames.keys()[:1]:
        picture = frames.frame(video_id, frame)
        size = (width, max(1, round(width * picture.shape[0] / picture.shape[1])))
        small = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
        return f"![{video_id}, frame {frame}](data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()})"
    return ""


def export(jpegs: Iterable[tuple[str, int, bytes]], out_dir: Path) -> int:
    """Write JPEGs as `<out_dir>/<video>/img_00001.jpg`, the layout other tools expect.

    Args:
        jpegs: Video, frame number and JPEG of each, from a `FrameFile` or from `read_jpegs`.
        out_dir: The folder to write to.

    Returns:
        How many files were written.
    """
    written = 0
    for video_id, frame, jpeg in jpegs:
        folder = out_dir / video_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"img_{frame:05d}.jpg").write_bytes(jpeg)
        written += 1
    return written


def _rows(
    path: str | Path, frames: Sequence[int], jpeg_quality: int, decoder: Decoder, *, nearest: bool = False
) -> Iterator[tuple[int, int, int, bytes]]:
    """Frame number, width, height and JPEG of each frame."""
    for index, picture in read_frames(path, [frame - 1 for frame in frames], decoder=decoder, nearest=nearest):
        height, width, _ = picture.shape
        yield index + 1, width, height, _jpeg(picture, jpeg_quality)


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _batch(position: int, ids: pa.Array[Any], rows: Iterable[tuple[int, int, int, bytes]]) -> pa.RecordBatch:
    frames, widths, heights, jpegs = zip(*rows, strict=True)
    video = pa.DictionaryArray.from_arrays(pa.array([position] * len(frames), pa.int32()), ids)
    numbers = [pa.array(column, pa.int32()) for column in (frames, widths, heights)]
    return pa.record_batch([video, *numbers, pa.array(jpegs, pa.binary())], schema=tables.FRAMES)
