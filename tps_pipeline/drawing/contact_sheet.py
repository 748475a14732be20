"""Sheets of captioned pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WIDTH = 640
_GAP = 12
_CAPTION = 30
_BACKGROUND = (27, 30, 35)
_TEXT = (232, 234, 237)


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


def _fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
