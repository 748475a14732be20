"""Frames with the annotation beside the prediction, and sheets of captioned pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile
from tps_pipeline.video.overlay import draw

_WIDTH = 640
_GAP = 12
_CAPTION = 30
_BACKGROUND = (27, 30, 35)
_TEXT = (232, 234, 237)


@dataclass(frozen=True)
class Comparison:
    """One frame, drawn twice: with what is annotated and with what a method predicts."""

    video_id: str
    frame: int
    method: str
    action: str
    predicted_action: str
    psc: float
    """Of the whole video."""
    annotated: np.ndarray
    predicted: np.ndarray


SHOWN_SCORE = 0.3
"""People below this score are not drawn: predictions hold everyone down to the recipe's threshold, who cost nothing."""


def compare(
    frames: FrameFile,
    psc: pa.Table,
    *,
    people: pa.Table,
    parts: pa.Table,
    predictions: pa.Table,
    video_actions: pa.Table,
    count: int = 6,
) -> list[Comparison]:
    """Draw some of a shard's frames twice, the videos that a method does worst on first.

    Args:
        frames: The shard's frames.
        psc: One method's rows of ``tables.PSC``; videos of other shards are passed over.
        people: ``tables.PEOPLE``.
        parts: ``tables.PARTS``.
        predictions: The method's ``tables.PREDICTIONS``.
        video_actions: ``tables.VIDEO_ACTIONS``.
        count: How many frames at most, each of another video.
    """
    keys = zip(parts["video_id"].to_pylist(), parts["frame"].to_pylist(), strict=True)
    chosen = choose_frames(psc, set(frames.keys()).intersection(keys), count=count)
    videos = {row["video_id"]: row for row in psc.to_pylist()}
    actions = dict(zip(video_actions["video_id"].to_pylist(), video_actions["action"].to_pylist(), strict=True))
    comparisons = []
    for key in chosen:
        image, video = frames.frame(*key), videos[key[0]]
        persons, truth, guess = (_rows(table, key) for table in (people, parts, predictions))
        guess = guess.loc[guess.person_score >= SHOWN_SCORE]
        comparisons.append(
            Comparison(
                *key,
                method=video["method"],
                action=video["action"],
                predicted_action=actions[key[0]],
                psc=video["psc"],
                annotated=_draw(image, truth, persons, video["action"]),
                predicted=_draw(image, guess, None, actions[key[0]]),
            )
        )
    return comparisons


def choose_frames(psc: pa.Table, candidates: Iterable[tuple[str, int]], *, count: int) -> list[tuple[str, int]]:
    """Choose frames that show what a method does well and badly; the same ones every time.

    Args:
        psc: One method's rows of ``tables.PSC``.
        candidates: Video and frame number of the frames to choose from.
        count: How many at most.

    Returns:
        Video and frame number, worst PSC first: videos at even steps from the worst to the best, and of each video
        the candidate in the middle.
    """
    frames: dict[str, list[int]] = defaultdict(list)
    for video_id, frame in candidates:
        frames[video_id].append(frame)
    ranked = sorted((row["psc"], row["video_id"]) for row in psc.to_pylist() if row["video_id"] in frames)
    steps = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    videos = [ranked[step][1] for step in steps]
    return [(video_id, sorted(frames[video_id])[len(frames[video_id]) // 2]) for video_id in videos]


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int, width: int = _WIDTH
) -> np.ndarray:
    """Lay pictures out in rows, each with its caption below.

    Args:
        pictures: RGB uint8, height x width x 3, of any size; each is fitted into a cell of the first one's shape.
        captions: One a picture; shortened where it is wider than its picture.
        columns: Pictures a row.
        width: Of a picture in the sheet.

    Returns:
        RGB uint8, height x width x 3.

    Raises:
        ValueError: There are no pictures, or not as many captions.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions; give one caption to each picture")
    height = round(pictures[0].shape[0] * width / pictures[0].shape[1])
    rows, columns = -(-len(pictures) // columns), min(columns, len(pictures))
    cell = width + _GAP, height + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = _GAP + number % columns * cell[0], _GAP + number // columns * cell[1]
        fitted = _fit(picture, width, height)
        middle = left + (width - fitted.shape[1]) // 2, top + (height - fitted.shape[0]) // 2
        sheet.paste(Image.fromarray(fitted), middle)
        while pen.textlength(caption, font=font) > width:
            caption = caption[:-2] + "…"
        pen.text((left, top + height + 6), caption, fill=_TEXT, font=font)
    return np.asarray(sheet)


def jpeg(picture: np.ndarray) -> bytes:
    """An RGB picture as a JPEG file's bytes."""
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def _rows(table: pa.Table, key: tuple[str, int]) -> pd.DataFrame:
    of_frame = (pc.field("video_id").cast(pa.string()) == key[0]) & (pc.field("frame") == key[1])
    return table.filter(of_frame).to_pandas()


def _draw(image: np.ndarray, parts: pd.DataFrame, people: pd.DataFrame | None, action: str) -> np.ndarray:
    """Draw on a picture no wider than the page shows it, so that the writing stays readable."""
    scale = min(1.0, _WIDTH / image.shape[1])
    image = _fit(image, _WIDTH, image.shape[0]) if scale < 1 else image
    return draw(image, _scaled(parts, scale), people=None if people is None else _scaled(people, scale), action=action)


def _scaled(rows: pd.DataFrame, scale: float) -> pd.DataFrame:
    boxes = [name for name in (*BOX, *PERSON_BOX) if name in rows]
    return rows.assign(**{name: rows[name] * scale for name in boxes})


def _fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
