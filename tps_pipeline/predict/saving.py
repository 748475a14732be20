"""A result as files: one a kind, beside one another, each whole or not there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal, TextIO, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from tps_pipeline.data.formats import cvat, label_studio, mot
from tps_pipeline.drawing.video import SHOWN_SCORE, encode
from tps_pipeline.errors import VideoError
from tps_pipeline.predict.results import Result
from tps_pipeline.predict.streaming import Frame
from tps_pipeline.whole_file import whole_file

Kind = Literal["json", "csv", "parquet", "coco", "cvat", "labelstudio", "mot", "mp4"]
"""What a result can be saved as."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All of them."""

STREAMED: dict[Kind, str] = {"json": ".jsonl", "mp4": ".mp4"}
"""What a stream can be saved as, and what the name of each file ends with: a line a frame, and a video."""

_SUFFIXES = {"coco": ".coco.json", "cvat": ".cvat.xml", "labelstudio": ".labelstudio.json", "mot": ".mot.txt"}


def save(result: Result, kind: Kind, path: Path, *, min_score: float = SHOWN_SCORE) -> None:
    """Write a result.

    Args:
        result: What was found in a video.
        kind: As what.
        path: The file.
        min_score: People below this score are left out, but of the tables (`csv`, `parquet`), which have everyone.
    """
    with whole_file(path) as partial:
        match kind:
            case "json":
                partial.write_text(result.to_json(min_score=min_score), encoding="utf-8")
            case "csv":
                partial.write_text(result.to_csv(), encoding="utf-8")
            case "parquet":
                pq.write_table(_table(result), partial, compression="zstd")
            case "coco":
                partial.write_text(result.to_coco(min_score=min_score), encoding="utf-8")
            case "cvat":
                cvat.write(result.labels(min_score=min_score), partial)
            case "labelstudio":
                label_studio.write([result.labels(min_score=min_score)], partial)
            case "mot":
                mot.write(result.labels(min_score=min_score), partial)
            case "mp4":
                result.draw(partial, min_score=min_score)


def suffix(kind: Kind) -> str:
    """What the name of a kind's file ends with."""
    return _SUFFIXES.get(kind, f".{kind}")


def save_stream(
    frames: Iterable[Frame], path: Path, kinds: Collection[Kind], *, rate: float, min_score: float = SHOWN_SCORE
) -> None:
    """Write what is found in a source while it goes on; an interrupt is its end, and so is a source that breaks off.

    Args:
        frames: What is found.
        path: The files without what their names end with (`STREAMED`): lines come at once, the video at the end.
        kinds: What to write of these.
        rate: Frames a second that are looked at.
        min_score: People below this score are left out.

    Raises:
        VideoError: The source broke off; what was found before is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    broken: list[VideoError] = []
    with ExitStack() as stack:
        lines = stack.enter_context(_beside(path, "json").open("w", encoding="utf-8")) if "json" in kinds else None
        drawn = _written(frames, lines, broken, min_score=min_score)
        if "mp4" in kinds and (first := next(drawn, None)):
            with whole_file(_beside(path, "mp4")) as partial:
                pictures = (frame.draw(min_score=min_score) for frame in chain((first,), drawn))
                encode(partial, pictures, rate=Fraction(rate).limit_denominator(1001))
        deque(drawn, maxlen=0)
    for error in broken:
        raise error


def _written(
    frames: Iterable[Frame], lines: TextIO | None, broken: list[VideoError], *, min_score: float
) -> Iterator[Frame]:
    try:
        for frame in frames:
            if lines:
                lines.write(json.dumps(frame.to_dict(min_score=min_score), ensure_ascii=False) + "\n")
                lines.flush()
            yield frame
    except KeyboardInterrupt:
        return
    except VideoError as error:
        broken.append(error)


def _beside(path: Path, kind: Kind) -> Path:
    return path.with_name(path.name + STREAMED[kind])


def _table(result: Result) -> pa.Table:
    """`tables.PREDICTIONS` with who is who and when."""
    rows = result.to_pandas()
    beside = {name: pa.array(rows[name], type_, from_pandas=True) for name, type_ in _BESIDE.items()}
    table = result.predictions
    for name, column in beside.items():
        table = table.append_column(name, column)
    return table


_BESIDE = {"track_id": pa.int32(), "seconds": pa.float64()}


def names(stems: Collection[str]) -> list[str]:
    """What the files of some videos are called: by the video; of videos of one name the later ones are numbered.

    >>> names(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    given: list[str] = []
    for stem in stems:
        name, number = stem, 1
        while name in given:
            number += 1
            name = f"{stem}_{number}"
        given.append(name)
    return given
