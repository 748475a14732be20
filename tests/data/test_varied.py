"""Varied pictures: repeatable, in the layout, of every size and company, with boxes where the people are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tps_pipeline.data.synthetic import generate
from tps_pipeline.data.synthetic.varied import lens, paint, surfaces
from tps_pipeline.data.synthetic.varied.video import VariedTake, frames_of, shoot
from tps_pipeline.data.validation import validate

SIZE = (160, 120)


def take_of(number: int, frames: int = 2) -> VariedTake:
    return shoot("lunge", frames=frames, size=SIZE, rng=np.random.default_rng([5, number]))


def boxes_of(take: VariedTake) -> list[list[list[int]]]:
    labels = (label for _, label in frames_of(take, np.ones(len(take.moves), bool)))
    return [[human["box"] for human in label["humans"]] for label in labels if label]


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path: Path) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        generate(tmp_path / name, videos=4, seed=2, width=96, height=64, frames=3, kind="varied", processes=processes)
    one, two = (
        {path.relative_to(tmp_path / name): hashlib.sha256(path.read_bytes()).digest()
         for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )  # fmt: skip
    assert one == two
    assert not [problem for problem in validate(tmp_path / "one") if problem]
    videos = [*(tmp_path / "one" / "train_videos").rglob("*.mp4")]
    for video in videos:
        folder = tmp_path / "one" / "train_annotations" / video.parent.name / video.stem
        assert len([*folder.iterdir()]) >= 2, "every frame is labelled"
        for path in folder.iterdir():
            assert set(json.loads(path.read_text())) == {"humans"}


def test_people_are_of_every_size_and_company() -> None:
    takes = [take_of(number) for number in range(40)]
    assert len({take.size for take in takes}) > 10
    ratios = [take.size[0] / take.size[1] for take in takes]
    assert min(ratios) < 0.7
    assert max(ratios) > 1.7
    found = [(take.size, boxes_of(take)[0]) for take in takes]
    heights = [(box[3] - box[1] + 1) / size[1] for size, boxes in found for box in boxes]
    assert min(heights) < 0.3
    assert max(heights) > 0.95
    counts = [len(boxes) for _, boxes in found]
    assert min(counts) == 0
    assert max(counts) >= 5
    at_edge = [box[0] == 0 or box[1] == 0 or box[2] == s[0] - 1 or box[3] == s[1] - 1 for s, b in found for box in b]
    assert 0.05 < np.mean(at_edge) < 0.7
    for (width, height), boxes in found:
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 <= x2 < width
            assert 0 <= y1 <= y2 < height


def test_a_box_is_where_somebody_is_drawn() -> None:
    clear = lens.Lens(np.tile(np.arange(256, dtype=np.uint8), (3, 1)), 0, None, 0, None, 1, 0, 0, (0, 0), None)
    shares = []
    for number in range(40):
        take = take_of(number)
        sharp = [replace(how, smear=None, opacity=1.0) for how in take.dresses]
        take = replace(take, lens=clear, foreground=None, dresses=sharp)
        empty = replace(take, persons=[], sprites=[], dresses=[])
        if len(take.persons) != 1:
            continue
        (picture, label), (without, _) = (next(frames_of(each, np.ones(2, bool))) for each in (take, empty))
        if label and label["humans"]:
            changed = (picture != without).any(2)
            x1, y1, x2, y2 = label["humans"][0]["box"]
            shares.append(changed[y1 : y2 + 1, x1 : x2 + 1].sum() / changed.sum())
    assert len(shares) >= 3
    assert np.mean(shares) > 0.85, "things that are held may reach out of it"


def test_a_smear_moves_no_light() -> None:
    for length, angle in ((1.0, 0.3), (9.0, 1.1), (30.0, 2.5)):
        kernel = paint.line_kernel(length, angle)
        assert kernel.sum() == pytest.approx(1)
        at = np.indices(kernel.shape) - len(kernel) // 2
        assert np.abs((at * kernel).sum((1, 2))).max() < 0.5, "it pulls no box aside"


def test_surfaces_are_of_the_size_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    for make in (*surfaces.PATTERNS, surfaces.photograph):
        made = make(23, 57, rng)
        assert made.shape == (23, 57, 3)
        assert made.dtype == np.uint8
