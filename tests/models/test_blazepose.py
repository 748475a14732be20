import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.tiny_tflite import tiny
from tps_pipeline.errors import WeightsError
from tps_pipeline.models import blazepose
from tps_pipeline.models.blazepose import DETECTOR, FILES, LANDMARKER, BlazePose, anchors, decode, read_landmarks
from tps_pipeline.models.weights import save_checkpoint


def test_anchors_lie_on_three_grids() -> None:
    found = anchors()
    assert found.shape == (2254, 2)
    assert found[0] == pytest.approx([0.5 / 28, 0.5 / 28])
    assert found[2] == pytest.approx([1.5 / 28, 0.5 / 28])  # two a cell, row by row
    assert found[1568] == pytest.approx([0.5 / 14, 0.5 / 14])
    assert found[-1] == pytest.approx([6.5 / 7, 6.5 / 7])


def test_outputs_of_the_detector_are_told_from_the_anchors() -> None:
    raw, logits = np.zeros((2254, 12), np.float32), np.full(2254, -100, np.float32)
    raw[-1] = [4, -4, 20, 30, 1, 2, 0, -50, 0, 0, 0, 0]
    logits[-1] = 2
    scores, points = decode(raw, logits)
    anchor = 6.5 / 7 * 224
    assert scores[-1] == pytest.approx(1 / (1 + np.exp(-2)))
    assert scores[0] < 1e-30
    assert points[-1, 0] == pytest.approx([anchor + 4, anchor - 4])
    assert points[-1, 1] == pytest.approx([20, 30])
    assert points[-1, 2:4] == pytest.approx(np.array([[1, 2], [0, -50]]) + anchor)


def test_outputs_of_the_landmark_network() -> None:
    rows = np.zeros((39, 5), np.float32)
    rows[:, 0], rows[:, 1] = np.arange(39), 100
    rows[0, 3:], rows[1, 3:], rows[2, 3:] = (9, 9), (9, -9), (-9, 9)
    said = read_landmarks(rows.reshape(-1), 0.7)
    assert said.points.shape == (33, 2)
    assert said.visibility[0] > 0.99
    assert (said.visibility[1:3] < 0.01).all()  # out of the picture, hidden
    assert said.visibility[3] == pytest.approx(0.25)
    assert (said.presence, *said.centre, *said.top) == (0.7, 33, 100, 34, 100)


def file_of(tmp_path: Path, networks: dict[str, bytes]) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(
        path, {name: torch.frombuffer(bytearray(file), dtype=torch.uint8) for name, file in networks.items()}
    )
    return path


def test_what_is_kept_is_run(tmp_path: Path) -> None:
    points = np.zeros((195, 3))
    points[5, 0], points[6, 1] = 64, 128  # the second landmark: x by red, y by green
    presence = np.array([[0, 0, 0.9]])
    networks = blazepose.load(file_of(tmp_path, {LANDMARKER: tiny(256, [points, presence])}))
    assert networks.detector is None
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[..., 0], picture[:128, :, 1], picture[..., 2] = 255, 255, 255
    said = networks.landmarks(picture)
    assert said.points[1] == pytest.approx([64, 64], abs=0.01)
    assert said.presence == pytest.approx(0.9)


def test_pictures_of_any_shape_are_letterboxed_and_found_again() -> None:
    networks = BlazePose(SeesInTheMiddle(), None)
    found = networks.suspect(np.zeros((100, 400, 3), np.uint8))
    best = int(found.scores.argmax())
    assert found.centres[best] == pytest.approx([200, 50], abs=400 / 56 + 1)
    assert found.tops[best] - found.centres[best] == pytest.approx([0, -20 * 400 / 224], abs=0.1)
    width, height = found.boxes[best, 2:] - found.boxes[best, :2]
    assert (width, height) == pytest.approx((10 * 400 / 224, 10 * 400 / 224), rel=0.01)


class SeesInTheMiddle:
    """In place of a runtime: somebody is at the anchor in the middle of the canvas."""

    def get_input_details(self) -> list[dict[str, int]]:
        return [{"index": 0}]

    def get_output_details(self) -> list[dict[str, int]]:
        return [{"index": 0}, {"index": 1}]

    def set_tensor(self, _: int, picture: np.ndarray) -> None:
        assert picture.shape == (1, 224, 224, 3)
        assert picture.dtype == np.float32
        assert picture.min() == picture.max() == -1

    def invoke(self) -> None:
        pass

    def get_tensor(self, index: int) -> np.ndarray:
        middle = int(np.abs(anchors()[:1568] - 0.5).sum(1).argmin())
        raw, logits = np.zeros((1, 2254, 12), np.float32), np.full((1, 2254, 1), -9, np.float32)
        raw[0, middle], logits[0, middle] = [0, 0, 10, 10, 0, 0, 0, -20, 0, 0, 0, 0], 3
        return (raw, logits)[index]


def wheel(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not pose_landmark_full.tflite"),
        (tiny(8, [np.ones((2, 3))]), "is not pose_landmark_full.tflite"),  # another model's
        (wheel({"numpy/__init__.py": b""}), "is not the wheel that has BlazePose"),
        (wheel({place: b"TFL3" for place, _ in FILES.values()}), "is not pose_detection.tflite"),
        (wheel({place: b"TFL3" for place, _ in FILES.values()}).replace(b"TFL3", b"TFL0", 1), "is damaged"),
    ],
    ids=["nothing", "another model", "another wheel", "other networks", "damaged"],
)
def test_another_file_is_refused_with_the_command_that_fetches_the_right_one(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "networks.whl"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as refused:
        blazepose.read_published(file)
    assert str(file) in str(refused.value)
    assert "pip download" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_detector_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pose_detection.tflite"
    file.write_bytes(b"networks")
    digest = hashlib.sha256(b"networks").hexdigest()
    monkeypatch.setitem(FILES, DETECTOR, (FILES[DETECTOR][0], digest))
    with pytest.raises(WeightsError, match="is pose_detection, which finds no landmarks"):
        blazepose.read_published(file)
    with pytest.raises(WeightsError, match="its SHA-256 is"):
        blazepose.read_published(file, sha256="0" * 64)


def test_what_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = file_of(tmp_path, {LANDMARKER: b"TFL3" + bytes(100)})
    with pytest.raises(WeightsError, match="no TFLite file"):
        blazepose.load(damaged)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, {"weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="not BlazePose's networks"):
        blazepose.load(other)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(WeightsError, match=r"pip install 'tps-pipeline\[pose\]'"):
        blazepose.load(damaged)
