"""BlazePose's own networks, on a picture in the public domain: NASA's portrait of Eileen Collins, made smaller."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tps_pipeline import recipe, tables
from tps_pipeline.detection.follower import Follower
from tps_pipeline.detection.pose import find
from tps_pipeline.labels import PARTS
from tps_pipeline.landmarks import LANDMARKS, MIRRORED
from tps_pipeline.learners.pretrained import import_weights, listing, path_of
from tps_pipeline.models import blazepose
from tps_pipeline.store import Store
from tps_pipeline.video.frames import FrameFile, write_frames

pytestmark = pytest.mark.pose

WHEELS = Path("try/wheel")
"""Where `make test-pose` and `make try` put the wheel."""

GOLDEN = {
    "nose": (94.7, 56.0), "left_eye_middle": (105.0, 47.6), "right_eye_middle": (86.1, 45.5),
    "left_ear": (113.6, 52.8), "right_ear": (77.0, 48.7), "left_mouth": (101.0, 66.8), "right_mouth": (86.4, 65.2),
    "left_shoulder": (131.7, 104.9), "right_shoulder": (48.6, 97.2), "right_elbow": (26.8, 161.4),
}  # fmt: skip
"""Landmarks that ai-edge-litert 2.3.0 gave, in pixels, and that lie where a person would put them."""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> blazepose.BlazePose:
    (wheel,) = WHEELS.glob("*.whl")
    store = Store(tmp_path_factory.mktemp("store"))
    import_weights(wheel, "blazepose", kind="blazepose", store=store)
    (row,) = [row for row in listing(store) if row["name"] == "blazepose"]
    assert row["imported"]
    assert row["licence"] == "Apache-2.0"
    return blazepose.load(store.local(path_of("blazepose")))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    picture = cv2.imread(str(Path(__file__).parent / "astronaut.jpg"))
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1])


def test_the_astronaut_is_where_she_is(networks: blazepose.BlazePose, portrait: np.ndarray) -> None:
    (found,) = Follower(networks, recipe.Pose()).find(portrait)
    for name, place in GOLDEN.items():
        assert found.points[LANDMARKS.index(name)] == pytest.approx(place, abs=1.5), name
    assert found.visibility[LANDMARKS.index("nose")] > 0.9
    assert found.visibility[LANDMARKS.index("left_knee")] < 0.1  # below the picture


def test_her_mirror_image_has_the_other_sides(networks: blazepose.BlazePose, portrait: np.ndarray) -> None:
    (found,) = Follower(networks, recipe.Pose()).find(portrait)
    (mirrored,) = Follower(networks, recipe.Pose()).find(np.ascontiguousarray(portrait[:, ::-1]))
    back = (mirrored.points * (-1, 1) + (portrait.shape[1], 0))[list(MIRRORED)]
    rows = [LANDMARKS.index(name) for name in GOLDEN if "elbow" not in name]
    assert np.hypot(*(back - found.points)[rows].T).max() < 15
    left, right = (LANDMARKS.index(f"{side}_shoulder") for side in ("left", "right"))
    assert mirrored.points[left, 0] > mirrored.points[right, 0]


def test_a_clip_becomes_tables(networks: blazepose.BlazePose, portrait: np.ndarray, tmp_path: Path) -> None:
    wide = np.full((240, 426, 3), 90, np.uint8)
    moving = {}
    for frame in (1, 6, 11):
        picture = wide.copy()
        picture[8:232, 20 * frame // 5 : 20 * frame // 5 + 224] = portrait
        moving[frame] = picture
    write_frames(tmp_path / "frames.arrow", "clip", moving, quality=95)
    found = find(FrameFile(tmp_path / "frames.arrow"), networks, settings=recipe.Pose())
    assert found.detections.schema == tables.DETECTIONS
    assert found.poses.schema == tables.POSES
    people = found.detections.select(["frame", "person"]).to_pandas().drop_duplicates()
    assert people.frame.tolist() == [1, 6, 11]
    assert found.poses.num_rows == 33 * 3
    assert found.poses["landmark"].to_pylist() == list(LANDMARKS) * 3
    heads = found.detections.to_pandas()
    heads = heads[heads.part == "head"]
    assert np.diff(heads.x1) == pytest.approx(20, abs=6)
    assert set(found.detections["part"].to_pylist()) < set(PARTS)  # no legs are in the picture
    assert isinstance(found.detections, pa.Table)
