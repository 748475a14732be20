"""Curves, previews, clips, contact sheets and the terminal's table: what is drawn beside the page."""

import base64
import re
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib import colors as mcolors
from PIL import Image
from rich.console import Console

from tests.report import report_sample
from tests.report.report_sample import HOSTILE, METHODS
from tps_pipeline import tables
from tps_pipeline.drawing import contact_sheet
from tps_pipeline.report import clips, plots, terminal
from tps_pipeline.report.heat_map import heat_map
from tps_pipeline.video.decode import read_frames


def test_curves_are_reproducible(sample: dict[str, Any]):
    drawn = plots.score_curve(sample["psc"], "val")
    assert drawn == plots.score_curve(sample["psc"], "val")
    assert drawn != plots.score_curve(sample["psc"], "val", theme=plots.DARK)
    assert all(f">{method}</text>".encode() in drawn for method in METHODS)


@pytest.mark.parametrize("n_actions", [1, 24])
def test_preview_is_small(sample: dict[str, Any], n_actions: int):
    actions = [f"a_rather_long_action_{i}" for i in range(n_actions)]
    rows = [{"video_id": f"{a}{m}", "method": f"method_{m}", "split": "val", "action": a, "psc": (m + i) / 34,
             "action_correct": True} for i, a in enumerate(actions) for m in range(9)]  # fmt: skip
    markdown = plots.preview(tables.conform(pd.DataFrame(rows), tables.PSC))
    assert len(markdown) < 50_000
    content = re.fullmatch(r"!\[PSC by action, val\]\(data:image/png;base64,(.+)\)", markdown)
    assert content
    assert Image.open(BytesIO(base64.b64decode(content[1]))).width < 800
    assert plots.preview(tables.empty(tables.PSC)) == ""


def test_clips_are_the_worst_and_best_videos_and_none_is_both():
    psc = dict(zip("abcde", [0.5, 0.1, 0.9, 0.3, 0.1], strict=True))
    assert clips.choose(psc, count=2) == (["b", "e"], ["c", "a"])
    assert clips.choose(psc, count=9) == (["b", "e", "d"], ["c", "a"])
    assert clips.choose({}) == ([], [])


def test_clip_shows_annotation_beside_prediction_and_keeps_its_size(sample: dict[str, Any], tmp_path: Path):
    drawn = report_sample.clip(sample, "b_2")
    assert (drawn.method, drawn.action, drawn.predicted_action, drawn.psc) == ("voting", HOSTILE, "lunge", 0.5)
    (tmp_path / "clip.mp4").write_bytes(drawn.mp4)
    pictures = [picture for _, picture in read_frames(tmp_path / "clip.mp4")]
    assert len(pictures) == drawn.frames == 3
    assert pictures[0].shape == (drawn.height, drawn.width, 3)
    half = drawn.width // 2 - 4
    assert np.abs(pictures[1][:, :half].astype(int) - pictures[1][:, -half:]).max() > 100
    for share in (0.8, 0.3):
        bound = int(share * len(drawn.mp4))
        assert 0.5 * bound < len(report_sample.clip(sample, "b_2", max_bytes=bound).mp4) <= bound


def test_only_videos_with_annotated_extracted_frames_are_drawn(sample: dict[str, Any]):
    assert clips.drawable(sample["frames"], sample["parts"]) == {"a_1", "b_2"}
    elsewhere = sample["parts"].to_pandas().query("video_id == 'a_1'").assign(frame=2)
    assert clips.drawable(sample["frames"], tables.conform(elsewhere, tables.PARTS)) == set()


def test_ink_is_readable_on_every_colour():
    for value in np.linspace(0, 1, 101):
        cell = heat_map(pd.DataFrame([[value]], ["row"], ["column"]), {}, scale=(0, 1)).rows["row"][0]
        background, ink = (mcolors.to_rgb(part.partition(":")[2]) for part in cell.style.split(";"))
        light, dark = sorted((luminance(*background), luminance(*ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, AA


def luminance(*channels: float) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_contact_sheet_keeps_order_and_shapes():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    sizes = [(60, 80), (120, 40), (480, 640)]
    pictures = [np.full((*size, 3), colour, np.uint8) for size, colour in zip(sizes, colours, strict=True)]
    sheet = contact_sheet.contact_sheet(pictures, ["first", "a caption far too long " * 20, "third"], columns=2)
    height, width, _ = sheet.shape
    for (y, x), colour in zip([(0.25, 0.25), (0.25, 0.75), (0.75, 0.25)], colours, strict=True):
        np.testing.assert_array_equal(sheet[int(y * height), int(x * width)], colour)
    green = (sheet == colours[1]).all(axis=-1)
    assert green.any(axis=1).sum() == 3 * green.any(axis=0).sum()
    assert sheet[:, -6:].max() < 60
    with pytest.raises(ValueError, match="one caption"):
        contact_sheet.contact_sheet(pictures, ["one"], columns=2)


def test_terminal_shows_whole_numbers_in_eighty_columns(leaderboard: pa.Table):
    long = {**leaderboard.to_pylist()[0], "method": "part_state_detector", "videos": 12345}
    output = StringIO()
    Console(file=output, width=80).print(terminal.leaderboard(pa.Table.from_pylist([long], schema=tables.LEADERBOARD)))
    assert f"{long['score']:.4f}" in output.getvalue()
    assert "part_state_detector" in output.getvalue()
    assert "12345" in output.getvalue()
    assert "–" in output.getvalue()
    assert " read" in output.getvalue()
    output = StringIO()
    table = pa.Table.from_pylist([long | {"not_read": 0}], schema=tables.LEADERBOARD)
    Console(file=output, width=80).print(terminal.leaderboard(table))
    assert " read" not in output.getvalue()
