"""A result as files: one a kind, beside one another, each whole or not there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from tps_pipeline.drawing.video import SHOWN_SCORE
from tps_pipeline.predict.results import Result
from tps_pipeline.whole_file import whole_file

Kind = Literal["json", "csv", "parquet", "mp4"]
"""What a result can be saved as; also the file's suffix."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All of them."""


def save(result: Result, kind: Kind, path: Path, *, min_score: float = SHOWN_SCORE) -> None:
    """Write a result.

    Args:
        result: What was found in a video.
        kind: As what.
        path: The file.
        min_score: People below this score are in neither JSON nor MP4; the tables have everyone.
    """
    if kind == "mp4":
        result.draw(path, min_score=min_score)
        return
    with whole_file(path) as partial:
        match kind:
            case "json":
                partial.write_text(result.to_json(min_score=min_score), encoding="utf-8")
            case "csv":
                partial.write_text(result.to_csv(), encoding="utf-8")
            case "parquet":
                pq.write_table(_table(result), partial, compression="zstd")


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
