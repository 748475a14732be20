"""Submissions to the Kinetics-TPS challenge: scored, and written with their zip."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tps_pipeline import psc, tables
from tps_pipeline.data.challenge_json import MAX_PEOPLE, MAX_PROPOSALS, Labelled, read_submission, read_truth
from tps_pipeline.data.encoding import printable
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS, parts_of
from tps_pipeline.parsing import Parsing

ZIP = "submission.zip"
"""The file's name that is uploaded to the challenge."""

NOTE = "not_the_challenge.txt"
"""The file that says so, beside a submission of other parts than the challenge's."""


@dataclass(frozen=True)
class Evaluation:
    """The challenge's numbers for a submission; of other parts than its ten they are not the challenge's.

    Attributes:
        score: Area under the conditioned accuracy.
        psc: Part state correctness by video.
        correct: 1 where the video's action is right, else 0.
        conditioned_accuracy: Share of videos with the right action and PSC at least the key, "0.0" to "0.9".
        parts: Those that the truth has.
    """

    score: float
    psc: dict[str, float]
    correct: dict[str, int]
    conditioned_accuracy: dict[str, float]
    parts: tuple[str, ...] = PARTS

    @property
    def note(self) -> str:
        """What to say of a score that is not the challenge's; nothing where it is."""
        named = ", ".join(self.parts)
        return (
            ""
            if self.parts == PARTS
            else f"not a score of the Kinetics-TPS challenge, but by its metric: the parts are {named}"
        )


def evaluate(truth_folder: Path | str, submission_folder: Path | str) -> Evaluation:
    """Score a submission.

    Args:
        truth_folder: Holds `gt_part_result.json` and `gt_vid_result.json`.
        submission_folder: Holds `pred_part_result.json` and `pred_vid_result.json`.

    Raises:
        DataError: A file is missing or breaks the format, or the submission lacks a video.
    """
    truth = read_truth(truth_folder)
    # Of other parts the truth need not have all that there are; what it does not have costs nothing.
    submission = read_submission(submission_folder, parts=PARTS if truth.parsing.parts == PARTS else None)
    for video in truth.parsing.videos:
        if video not in submission.actions:
            raise DataError(f"{submission_folder}: the submission lacks the annotated video {printable(video)}; add it")
    names = {name: i for i, name in enumerate(dict.fromkeys(truth.frame_names + submission.frame_names))}
    correctness = psc.part_state_correctness(_by_name(truth, names), _by_name(submission, names))
    correct = {video: int(submission.actions[video] == truth.actions[video]) for video in correctness}
    values, right = np.array(list(correctness.values())), np.array(list(correct.values()))
    accuracy, parts = psc.conditioned_accuracy(values, right), tuple(truth.parsing.parts)
    return Evaluation(psc.score(values, right), correctness, correct, accuracy, parts)


def _by_name(side: Labelled, names: dict[str, int]) -> Parsing:
    """A side with its frames numbered by their names, so that equal names are one frame and no others."""
    return dataclasses.replace(side.parsing, frame=np.array([names[name] for name in side.frame_names], np.int64))


def write(folder: Path | str, predictions: pa.Table, *, video_actions: pa.Table, frames: pa.Table) -> Path:
    """Write a submission: both JSON files and the zip of them, whole or not at all.

    A frame keeps its ten best people by score, a part its five best proposals. Of other parts than the challenge's a
    note (`NOTE`) lies beside.

    Args:
        folder: Where the files go; created if need be.
        predictions: `tables.PREDICTIONS`.
        video_actions: `tables.VIDEO_ACTIONS` with every video of the submission.
        frames: `video_id` and `frame` of every sampled frame; each is written, also without people.

    Returns:
        The zip file.

    Raises:
        DataError: A video has no action, a prediction is of a frame that was not sampled, or a box is inverted.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    actions = {row["video_id"]: row["action"] for row in video_actions.select(["video_id", "action"]).to_pylist()}
    sampled: dict[str, set[int]] = defaultdict(set)
    for row in frames.select(["video_id", "frame"]).to_pylist():
        sampled[row["video_id"]].add(row["frame"])
    rows = _by_video(predictions)
    for video in sorted({*rows, *sampled} - set(actions)):
        raise DataError(f"video {video} has frames but no action; predict its action first")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".submission-") as scratch_name:
        scratch = Path(scratch_name)
        (scratch / "pred_vid_result.json").write_bytes(msgspec.json.encode(dict(sorted(actions.items()))))
        _write_frames(scratch / "pred_part_result.json", rows, {video: sampled[video] for video in sorted(actions)})
        _check_export(scratch, sampled)
        _zip(scratch / ZIP, scratch / "pred_part_result.json", scratch / "pred_vid_result.json")
        if note := not_the_challenge(predictions):
            (scratch / NOTE).write_text(f"{note}\n", encoding="utf-8")
        for path in sorted(scratch.iterdir()):
            path.replace(folder / path.name)
    return folder / ZIP


def not_the_challenge(predictions: pa.Table) -> str:
    """What to say of predictions that are no submission to the challenge; nothing where they are one."""
    parts = parts_of(tables.distinct(predictions["part"]))
    if parts == PARTS:
        return ""
    return f"not a submission to the Kinetics-TPS challenge, but in its format: the parts are {', '.join(parts)}"


def _write_frames(path: Path, predictions: dict[str, pa.Table], sampled: dict[str, set[int]]) -> None:
    """Write video by video: a full submission's people do not fit in memory as Python objects."""
    with path.open("wb") as file:
        file.write(b"{")
        for i, (video, numbers) in enumerate(sampled.items()):
            humans = _humans(predictions[video]) if video in predictions else {}
            frames = {f"img_{n:05d}.json": {"humans": humans.get(n, [])} for n in sorted(numbers | set(humans))}
            file.write((b",\n" if i else b"\n") + msgspec.json.encode(video) + b":" + msgspec.json.encode(frames))
        file.write(b"\n}")


def _by_video(predictions: pa.Table) -> dict[str, pa.Table]:
    """Each video's rows, sorted."""
    rows = tables.conform(predictions, tables.PREDICTIONS)
    if not rows.num_rows:
        return {}
    ids: Any = rows["video_id"].combine_chunks()
    code = ids.indices.to_numpy()
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    slices = zip(starts.tolist(), np.diff(starts, append=len(code)).tolist(), strict=True)
    return {rows["video_id"][start].as_py(): rows.slice(start, length) for start, length in slices}


def _humans(predictions: pa.Table) -> dict[int, list[dict[str, Any]]]:
    """The `humans` of every frame of a video that has some, best first."""
    names = ["frame", "person", "part", "person_score", "part_score", "state", *tables.PERSON_BOX, *tables.BOX]
    rows = zip(*(predictions[name].to_pylist() for name in names), strict=True)
    frames = {}
    for frame, part_rows in groupby(rows, key=itemgetter(0)):
        people = [list(parts) for _, parts in groupby(part_rows, key=itemgetter(1))]
        best = sorted(people, key=lambda parts: -parts[0][3])[:MAX_PEOPLE]
        frames[frame] = [_human(number, parts) for number, parts in enumerate(best, 1)]
    return frames


def _human(number: int, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    parts = {}
    for name, proposals in groupby(rows, key=itemgetter(2)):
        best = sorted(proposals, key=lambda row: -row[4])[:MAX_PROPOSALS]
        boxes, verbs = [row[10:14] for row in best], [row[5] for row in best]
        parts[name] = {"number": len(best), "name": name, "box": boxes, "verb": verbs}
    return {"number": number, "box": rows[0][6:10], "parts": parts}


def _check_export(folder: Path, sampled: dict[str, set[int]]) -> None:
    """Read a submission back and compare it with the frames that were sampled."""
    parsing = read_submission(folder, parts=None).parsing
    names = [parsing.videos[i] for i in parsing.frame_video]
    written = set(zip(names, parsing.frame.tolist(), strict=True))
    expected = {(video, frame) for video, frames in sampled.items() for frame in frames}
    for video, frame in sorted(written - expected):
        raise DataError(f"video {video}, frame {frame}: predicted, but not one of the sampled frames")
    for video, frame in sorted(expected - written):
        raise DataError(f"video {video}, frame {frame}: sampled, but not written")
    inverted = np.flatnonzero((parsing.part_box[:, 2:] < parsing.part_box[:, :2]).any(axis=1))
    for row in inverted:
        frame = parsing.person_frame[parsing.part_person[row]]
        raise DataError(
            f"video {names[frame]}, frame {parsing.frame[frame]}, {parsing.parts[parsing.part[row]]}: "
            f"box {parsing.part_box[row].tolist()} has x2 < x1 or y2 < y1"
        )


def _zip(path: Path, *members: Path) -> None:
    """Zip files with neither time stamps nor owners, so that equal submissions are equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with member.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
