"""A folder that FiftyOne imports as a `FiftyOneVideoLabelsDataset`. Written only; the library is not needed for it.

The folder is as FiftyOne's user guide has it (importing data, FiftyOne Video Labels), the labels of a video are as the
guide to video labels of its library ETA has them. A person and their parts have the track as `index`, and the person's
number in the frame as attribute `person`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from tps_pipeline.data.formats.neutral import LabelledVideo, edges_of, refused
from tps_pipeline.labels import PERSON
from tps_pipeline.tables import BOX, PERSON_BOX

_DATA, _LABELS = "data", "labels"


class _Attribute(msgspec.Struct, omit_defaults=True):
    type: str
    name: str
    value: str | float
    confidence: float | None = None


class _Object(msgspec.Struct, omit_defaults=True):
    label: str
    name: str
    """The field of a frame that FiftyOne puts it in."""
    bounding_box: dict[str, dict[str, float]]
    attrs: dict[str, list[_Attribute]]
    confidence: float | None = None
    index: int | None = None


def write(video: LabelledVideo, rows: pd.DataFrame, file: Path, out: Path) -> None:
    """Add a video to a folder: its labels, and a link to its file.

    Args:
        video: Its size and its action.
        rows: As `tidy_csv.write` takes them.
        file: The video itself.
        out: The folder.

    Raises:
        DataError: The video is not there.
    """
    if not file.is_file():
        raise refused(f"{file}", "is not there", "name the folder that the store's videos are in: --data")
    for name in (_DATA, _LABELS):
        (out / name).mkdir(exist_ok=True)
    (out / _DATA / f"{video.video_id}{file.suffix}").symlink_to(file.resolve())
    empty = rows.isna()
    plain = rows.astype(object).mask(empty, None).sort_values(["frame", "person"], kind="stable").to_dict("records")
    frames = {
        str(frame): {"frame_number": frame, "objects": {"objects": _objects([*of_frame], video)}}
        for frame, of_frame in groupby(plain, itemgetter("frame"))
    }
    action = (
        [] if video.action is None else _said("action", video.action, plain[0].get("action_score") if plain else None)
    )
    content = {"attrs": {"attrs": action}, "frames": frames}
    (out / _LABELS / f"{video.video_id}.json").write_bytes(msgspec.json.encode(content))


def finish(out: Path) -> None:
    """Write the list of the videos in a folder."""
    videos = sorted((out / _DATA).iterdir())
    index = [{"data": f"{_DATA}/{file.name}", "labels": f"{_LABELS}/{file.stem}.json"} for file in videos]
    content = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "", "index": index}
    (out / "manifest.json").write_bytes(msgspec.json.encode(content))


def _objects(rows: Sequence[Mapping[Any, Any]], video: LabelledVideo) -> list[_Object]:
    """The people of a frame, each with their parts."""
    found: list[_Object] = []
    for person, of_person in groupby(rows, itemgetter("person")):
        parts = [*of_person]
        number = _said("person", person)
        found.append(_object(parts[0], PERSON, "people", PERSON_BOX, "person_score", number, video))
        for row in parts:
            if row["part"] is not None:
                state = [*_said("state", row["state"]), *_said("state_score", row.get("state_score"))]
                found.append(_object(row, row["part"], "parts", BOX, "part_score", [*number, *state], video))
    return found


def _object(
    row: Mapping[Any, Any],
    label: str,
    field: str,
    box: tuple[str, str, str, str],
    score: str,
    attributes: list[_Attribute],
    video: LabelledVideo,
) -> _Object:
    """A box, as shares of the picture."""
    x1, y1, x2, y2 = (int(row[corner]) for corner in box)
    left, top, right, bottom = edges_of((x1, y1, x2, y2))
    corners = {
        "top_left": {"x": left / video.width, "y": top / video.height},
        "bottom_right": {"x": right / video.width, "y": bottom / video.height},
    }
    track = row.get("track_id")
    return _Object(label, field, corners, {"attrs": attributes}, row.get(score), None if track is None else int(track))


def _said(name: str, value: str | float | None, score: float | None = None) -> list[_Attribute]:
    """An attribute, and how sure it is; none without a value."""
    kind = "Categorical" if isinstance(value, str) else "Numeric"
    return [] if value is None else [_Attribute(f"eta.core.data.{kind}Attribute", name, value, score)]
