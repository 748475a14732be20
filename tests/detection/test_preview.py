"""The picture of what a detector trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.data.synthetic import generate
from tps_pipeline.detection.augment import Example
from tps_pipeline.detection.preview import draw
from tps_pipeline.drawing.frame import LEFT, RIGHT


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preview") / "data"
    generate(folder, videos=4, seed=5, width=128, height=96, frames=6, classes=["push_up", "pull_ups"])
    return folder


def sheet(data: Path, out: Path, *options: str, name: str = "demo") -> np.ndarray:
    arguments = ["datasets", "preview", "--data", str(data), "--recipe", name, "--out", str(out / "sheet.png")]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.stderr
    return np.asarray(Image.open(out / "sheet.png"))


def rows_of(picture: np.ndarray, rows: int) -> list[np.ndarray]:
    return np.split(picture[: picture.shape[0] // rows * rows], rows)


def test_left_and_right_have_their_own_colours_at_their_boxes() -> None:
    example = Example(
        np.zeros((480, 480, 3), np.uint8),
        np.array(((10, 100, 60, 160), (200, 300, 260, 380)), np.float32),
        np.array((0, 1)),
    )
    picture = draw(example, ["left_arm_bend", "right_leg"])
    for color, (x1, y1, x2, y2) in ((LEFT, (10, 100, 60, 160)), (RIGHT, (200, 300, 260, 380))):
        y, x = np.nonzero((picture == color).all(-1))
        assert (x.min(), x.max(), y.max()) == pytest.approx((x1, x2, y2), abs=2)
        assert picture[y1 - 9 : y1 - 2, x1 : x1 + 20].any()  # the label


@pytest.mark.whole
def test_each_augmentation_changes_the_pictures(data: Path, tmp_path: Path) -> None:
    names = ("mosaic", "mixup", "rotation", "hue")
    options = [option for name in names for option in ("--augmentation", name)]
    picture = sheet(data, tmp_path, *options)
    as_it_is, flipped, *alone, together = rows_of(picture, 3 + len(names))
    unlike = [as_it_is, flipped, *alone, together]
    for i, row in enumerate(unlike):
        for other in unlike[:i]:
            assert np.abs(row.astype(int) - other)[:-60].mean() > 1
    for row in (as_it_is, flipped):
        assert (row == LEFT).all(-1).any()
        assert (row == RIGHT).all(-1).any()
    assert np.array_equal(picture, sheet(data, tmp_path, *options))
    assert not np.array_equal(picture, sheet(data, tmp_path, *options, "--seed", "1"))


@pytest.mark.whole
def test_every_detector_of_the_recipe_can_be_shown(data: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    part = content["methods"]["part_state_detector"]["detector"]
    content["single_stage_detector"] = part
    content["methods"]["mine"] = {"kind": "part_state_detector", "detector": part}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    pictures = [
        sheet(data, tmp_path, "--detector", kind, name=str(path))
        for kind in ("person", "part", "single_stage", "part_state")
    ]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_what_cannot_be_shown_is_refused(data: Path, tmp_path: Path) -> None:
    arguments = ["datasets", "preview", "--data", str(data), "--recipe", "demo", "--out", str(tmp_path / "x.png")]
    plain = recipe.load("demo")
    if plain.single_stage_detector is None:
        refused = CliRunner().invoke(app, [*arguments, "--detector", "single_stage"])
        assert refused.exit_code == 1
        assert "no single_stage_detector" in refused.stderr
    assert CliRunner().invoke(app, [*arguments, "--augmentation", "mosac"]).exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = CliRunner().invoke(app, [*arguments[:3], str(empty), *arguments[4:]])
    assert refused.exit_code == 1
    assert str(empty) in refused.stderr
