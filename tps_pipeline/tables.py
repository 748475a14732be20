"""Every table that passes from one stage to the next, declared once.

Columns are flat: a box is four columns `x1 y1 x2 y2` (pixels of the original frame, inclusive corners), because
structs and lists read 12 to 20 times slower in pandas. Repeated strings are dictionary-encoded. Rows are sorted by
(`video_id`, `frame`, `person`, `part`) as far as a table has them; that tuple is the same key in every table.
`frame` counts from 1, as in `img_00001.jpg`; `person` counts from 0 within its frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tps_pipeline.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NAME = pa.dictionary(pa.int32(), pa.string())
"""The type of names that are repeated: dictionary-encoded strings."""

PIXEL = pa.int16()
"""The type of box corners, in pixels of the original frame."""

SCORE = pa.float32()
"""The type of scores."""

KEYS = ("video_id", "frame", "person", "part")
"""What identifies a row, and the order of the rows; a table has some or all of these."""

BOX = ("x1", "y1", "x2", "y2")
"""A box's inclusive corners, in pixels of the original frame."""

PERSON_BOX = ("person_x1", "person_y1", "person_x2", "person_y2")
"""The box of the person whom a part belongs to, as `BOX`."""

CROP = ("crop_x1", "crop_y1", "crop_x2", "crop_y2")
"""The window of a frame that a training image shows, as `BOX`."""

_VIDEO = pa.field("video_id", NAME, nullable=False)
_FRAME = pa.field("frame", pa.int32(), nullable=False)
_PERSON = pa.field("person", pa.int16(), nullable=False)
_PART = pa.field("part", NAME, nullable=False)


def _required(type_: pa.DataType, *names: str) -> list[pa.Field[Any]]:
    return [pa.field(name, type_, nullable=False) for name in names]


def _optional(type_: pa.DataType, *names: str) -> list[pa.Field[Any]]:
    return [pa.field(name, type_) for name in names]


SHARD = pa.schema(
    [_VIDEO, *_required(NAME, "split"), *_optional(NAME, "action"), *_required(pa.string(), "path", "sha256"),
     *_required(pa.int64(), "bytes", "mtime_ns"), *_optional(pa.string(), "annotations")]
)  # fmt: skip
"""One row a video of a shard's manifest. `path` is relative to the data folder; `annotations` is a digest of the
video's annotation files (null without any), so that an edited label makes only its shard stale."""

VIDEOS = pa.schema(
    [_VIDEO, *_required(NAME, "split"), *_optional(NAME, "action"), *_required(pa.string(), "path"),
     *_required(pa.int32(), "n_frames"), *_required(pa.float32(), "fps"),
     *_required(pa.int32(), "width", "height", "rotation"), *_required(pa.string(), "sha256"),
     *_required(NAME, "status"), *_optional(pa.string(), "error")]
)  # fmt: skip
"""One row a probed video. `action` is null in the test split; `status` is `ok` or `unreadable`; `width` and
`height` are those of the picture as shown (rotation in degrees already applied)."""

UNREADABLE = pa.schema(
    [_VIDEO, *_required(NAME, "split"), *_required(pa.string(), "path"), *_required(pa.int32(), "n_frames"),
     *_required(NAME, "status"), *_optional(pa.string(), "error"), *_required(pa.int64(), "videos")]
)  # fmt: skip
"""One row a video that could not be read, wholly or in part: its row of `VIDEOS`, and how many `videos` its split
has."""

ACTIONS = pa.schema([_VIDEO, *_required(NAME, "action")])
"""The true action of each labelled video."""

LABELLED_FRAMES = pa.schema([_VIDEO, _FRAME, *_required(pa.int16(), "n_people")])
"""One row an annotated frame, empty ones included."""

PEOPLE = pa.schema([_VIDEO, _FRAME, _PERSON, *_required(PIXEL, *BOX)])
"""One row an annotated person."""

PARTS = pa.schema([_VIDEO, _FRAME, _PERSON, _PART, *_required(PIXEL, *BOX), *_required(NAME, "state")])
"""One row an annotated part."""

OBJECTS = pa.schema([_VIDEO, _FRAME, *_required(NAME, "name"), *_required(PIXEL, *BOX)])
"""One row an annotated object."""

FRAMES = pa.schema([_VIDEO, _FRAME, *_required(pa.int32(), "width", "height"), *_required(pa.binary(), "jpeg")])
"""One row an extracted frame (an Arrow file, memory-mapped)."""

ACTION_NAMES = pa.schema([*_required(pa.string(), "action")])
"""The actions of the training videos, sorted."""

STATE_LABELS = pa.schema([*_required(NAME, "part", "state"), *_required(pa.bool_(), "most_frequent")])
"""One row a (part, state) pair of the training boxes; `most_frequent` marks the pairs that are some training video's
most frequent state of a part (the label space of the video-level and segment-level methods)."""

SAMPLES = pa.schema(
    [_VIDEO, _FRAME, *_optional(pa.int16(), "person"), *_required(pa.bool_(), "flipped"), *_required(PIXEL, *CROP),
     *_optional(NAME, "label"), *_optional(PIXEL, *BOX)]
)  # fmt: skip
"""One row a box that a detector trains on. An image is one (`video_id`, `frame`, `person`, `flipped`): the
`CROP` window of the frame (`person` is null where it is the whole frame). In a flipped image the window and the
boxes are in the mirrored frame's pixels and `label` has left and right exchanged. An image without objects is one
row with `label` and box null."""

DETECTIONS = pa.schema(
    [_VIDEO, _FRAME, _PERSON, *_required(SCORE, "person_score"), *_required(PIXEL, *PERSON_BOX), _PART,
     *_required(SCORE, "part_score"), *_required(PIXEL, *BOX)]
)  # fmt: skip
"""One row a detected part; the person's box and score repeat on each of the person's parts."""

POSES = pa.schema(
    [_VIDEO, _FRAME, _PERSON, *_required(NAME, "landmark"), *_required(pa.float32(), "x", "y"),
     *_required(SCORE, "visibility")]
)  # fmt: skip
"""One row a landmark of a detected person; everyone has all of `landmarks.LANDMARKS`, in their order. `x` and `y` are
continuous pixels of the original frame (its left edge is 0) and may lie outside it."""

TRACKS = pa.schema([_VIDEO, _FRAME, _PERSON, *_required(pa.int32(), "track_id")])
"""One row a person; `track_id` is the same in all frames in which the person is thought to be, and counts from 0 in
each video."""

VIDEO_ACTIONS = pa.schema(
    [_VIDEO, *_required(NAME, "action"), *_required(SCORE, "score"),
     *_required(pa.map_(pa.string(), pa.float32()), "probabilities")]
)  # fmt: skip
"""One row a video: the predicted action, its probability, and the probability of every action."""

ACTION_WEIGHTS = pa.schema([*_required(NAME, "member"), *_required(pa.float64(), "weight")])
"""One row a member that names the video's action: what its log probabilities are multiplied by."""

ACTION_ACCURACY = pa.schema(
    [*_required(NAME, "member", "split"), *_required(pa.int64(), "videos"), *_required(pa.float64(), "accuracy")]
)
"""One row a labelled split and member, and one for all members together."""

PREDICTIONS = pa.schema(
    [*DETECTIONS, *_required(NAME, "state"), *_required(SCORE, "state_score"),
     *_required(pa.map_(pa.string(), pa.float32()), "state_scores")]
)  # fmt: skip
"""The detections with a state for every part; `state_scores` holds the likeliest states only."""

STATE_COUNTS = pa.schema([*_required(NAME, "action", "part", "state"), *_required(pa.int64(), "boxes")])
"""What `video_category` learns: how many training boxes of an action's part are in a state."""

PSC = pa.schema(
    [_VIDEO, *_required(NAME, "method", "split", "action"), *_required(pa.float64(), "psc"),
     *_required(pa.bool_(), "action_correct")]
)  # fmt: skip
"""One row a video and method: its true action, its part state correctness, and whether its action is right."""

AVERAGE_PRECISION = pa.schema(
    [*_required(NAME, "split", "label"), *_required(pa.float64(), "ap", "ap50"), *_required(pa.int64(), "boxes")]
)
"""COCO-style average precision of the detections, one row a split and class."""

DETECTOR_CONFUSION = pa.schema(
    [*_required(NAME, "split"), *_required(pa.int64(), "sided_parts"), *_optional(pa.float64(), "sides_confused"),
     *_required(pa.int64(), "parts"), *_optional(pa.float64(), "wrong_person")]
)  # fmt: skip
"""What detections mix up, one row a split: the share of `sided_parts` (annotated left and right parts found under
either name) that were found under the other side's name, and the share of `parts` (detected parts that lie on an
annotated one) that lie on another person's. A share of none is null."""

RANKING = pa.schema(
    [
        *_required(NAME, "method", "split"),
        *_required(pa.int64(), "videos"),
        *_optional(pa.float64(), "score", "mean_psc"),
    ]
)
"""One row a method that votes, best score first; scores are null where the split has no scored video."""

METHOD_BY_CATEGORY = pa.schema(
    [*_required(NAME, "action", "method", "split"), *_required(pa.int64(), "n_videos"),
     *_required(pa.float64(), "psc"), *_required(pa.bool_(), "chosen"), *_optional(pa.float64(), "gain", "gain_error")]
)  # fmt: skip
"""One row an action and candidate: its mean PSC over the action's videos of a split. One candidate of each action is
`chosen`; its `gain` is the mean by which its PSC exceeds that of the candidate that is best over all actions, and
`gain_error` is the standard error of that mean (null of a single video). Both are null in the other rows."""

STACKING = pa.schema(
    [*_optional(pa.int16(), "fold"), _PART, *_optional(NAME, "member"), *_required(NAME, "feature"),
     *_required(pa.float64(), "weight")]
)  # fmt: skip
"""The stack's weights, one row a part and feature: a member's `log_odds` or, where `member` is null, a state (its
bias). What has no row weighs nothing. Where boxes are fused the feature `boxes` says what a member's count, of a part
or of the whole `person`. `fold` is null for what was learned from all videos; the others were learned without the
videos of that fold."""

STACKING_MEMBERS = pa.schema([*_required(NAME, "member"), *_required(pa.float64(), "share", "right", "loss")])
"""Who is in the stack, with the `share` of the picks, the largest first. By so much more parts are in their `right`
state, as a share of them, and by so much is the `loss` of a part less on videos held out than without the member."""

STACKING_GAIN = pa.schema(
    [*_required(NAME, "split"), *_required(pa.int64(), "parts"), *_required(NAME, "method"),
     *_required(pa.float64(), "right_of_method", "right"), *_required(pa.bool_(), "used"),
     *_optional(pa.float64(), "strength"), *_required(pa.float64(), "step")]
)  # fmt: skip
"""One row: the share of a split's matched parts that the best single `method` gives the right state, and the share
that the stack does, on videos held out. Where it gains nothing it is not `used`: the method stands for it. `strength`
is the penalty that it was learned with, `step` how far it is gone towards from the method alone."""

PROBLEMS = pa.schema(_required(pa.string(), "problem"))
"""What a check says is wrong with an output, in sentences; no row where nothing is."""

LEADERBOARD = pa.schema(
    [*_required(NAME, "method", "split"), *_required(pa.int64(), "videos"),
     *_required(pa.float64(), "score", "mean_psc", "action_accuracy"),
     *_optional(pa.float64(), "macro_recall", "person_ap50", "part_ap50", "reported"),
     *_required(pa.int64(), "not_read")]
)  # fmt: skip
"""One row a method or ensemble and split, best score first. `macro_recall` is the mean over annotated (part, state)
pairs of the share of matched parts that are given that state, null where no part is matched. `reported` is the
challenge paper's score on the challenge's test set; an ensemble has no precision, as its boxes are others'. `not_read`
counts the split's videos that could not be read, wholly or in part (`UNREADABLE` names them)."""


def conform(rows: pa.Table | pd.DataFrame | Mapping[str, Sequence[Any] | np.ndarray], schema: pa.Schema) -> pa.Table:
    """Bring rows into a declared shape: its columns, types and order.

    Args:
        rows: A table, a data frame or columns by name; columns the schema lacks are left out.
        schema: One of this module's schemas.

    Returns:
        The table, sorted by those of `KEYS` that the schema has.

    Raises:
        StoreError: A column is missing, does not cast, or has nulls where the schema allows none.
    """
    table: Any = rows
    if not isinstance(rows, pa.Table):
        given = {str(name): values for name, values in rows.items()}
        table = pa.table({f.name: _column(given[f.name], f.type) for f in schema if f.name in given})
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise StoreError(f"table lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    table = _sorted(table.select(schema.names))
    columns = []
    for field in schema:
        column = table[field.name]
        if not field.nullable and column.null_count:
            raise StoreError(f"column {field.name} has {column.null_count} empty values and must have none")
        try:
            columns.append(_cast(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise StoreError(f"column {field.name} is {column.type}, expected {field.type}: {error}") from error
    return pa.table(columns, schema=schema)


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return schema.empty_table()


def by_videos(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """A table in stretches of whole videos, each of so many rows or a video's more; one without rows as it is.

    Args:
        table: The rows of a video follow each other, as they do in every table of one shard or several.
        rows: About how many a stretch has.
    """
    import numpy as np

    table = table.unify_dictionaries()
    chunks: list[Any] = table["video_id"].chunks
    video = np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in chunks)])
    starts = np.append(np.flatnonzero(np.diff(video, prepend=-1)), len(video))
    start = 0
    while True:
        end = int(starts[min(np.searchsorted(starts, start + rows), len(starts) - 1)])
        yield table.slice(start, end - start)
        if end >= len(video):
            return
        start = end


def distinct(column: pa.ChunkedArray[Any]) -> list[str]:
    """Every string of a column that has no empty values, once, sorted."""
    found: set[Any] = set()
    for chunk in column.chunks:  # which have dictionaries of their own
        found.update(chunk.unique().to_pylist())
    return sorted(found)


def _sorted(table: pa.Table) -> pa.Table:
    """Sort by those of `KEYS` that a table has; names by their letters, whatever their encoding."""
    import numpy as np

    key, span = np.zeros(table.num_rows, np.int64), 1
    for name in KEYS:
        if name in table.column_names and table.num_rows:
            rank = _rank(table[name])
            width = int(rank.max()) + 1
            if span * width >= 1 << 63:
                key = np.unique(key, return_inverse=True)[1]
                span = int(key.max()) + 1
            key, span = key * width + rank, span * width
    if (key[1:] >= key[:-1]).all():
        return table
    order: Any = np.argsort(key, kind="stable")
    return table.take(order)


def _rank(column: pa.ChunkedArray[Any]) -> np.ndarray:
    """What a row's value comes to among those of its column, from 0; empty values come last."""
    import numpy as np
    import pyarrow.compute as pc  # tens of milliseconds, which who makes no table need not pay

    def ranked(values: Any) -> np.ndarray:
        plain = values if pa.types.is_primitive(values.type) else values.cast(pa.string())
        return pc.rank(plain, tiebreaker="dense").to_numpy().astype(np.int64) - 1

    if column.null_count == len(column):
        return np.zeros(len(column), np.int64)
    if pa.types.is_dictionary(column.type):
        names: Any = column.unify_dictionaries().combine_chunks()
        last = len(names.dictionary)
        return np.append(ranked(names.dictionary), last)[names.indices.fill_null(last).to_numpy()]
    if pa.types.is_integer(column.type) and not column.null_count:
        numbers = column.to_numpy().astype(np.int64)
        return numbers - numbers.min()
    return ranked(column.combine_chunks())


def _column(values: Any, type_: pa.DataType) -> pa.Array[Any]:
    """An Arrow column; a map's rows may be given as dictionaries."""
    if pa.types.is_map(type_):
        return pa.array([list(row.items()) if isinstance(row, Mapping) else row for row in values], type=type_)
    return pa.array(values, from_pandas=True)


def _cast(column: pa.ChunkedArray[Any], type_: pa.DataType) -> pa.ChunkedArray[Any]:
    """Cast a column; strings are re-encoded so that equal tables are equal bytes."""
    if not pa.types.is_dictionary(type_):
        return column.cast(type_)
    if pa.types.is_dictionary(column.type):
        names: Any = column.unify_dictionaries().combine_chunks()
        used = names.indices.dictionary_encode()
        spelled = names.dictionary.take(used.dictionary).cast(pa.string())
        if not spelled.null_count and len(spelled.unique()) == len(spelled):
            return pa.chunked_array([pa.DictionaryArray.from_arrays(used.indices, spelled).cast(type_)])
    plain = column.cast(pa.string()).combine_chunks()
    return pa.chunked_array([plain.dictionary_encode().cast(type_)])
