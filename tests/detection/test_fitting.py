import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import recipe, tables
from tps_pipeline.detection.datasets import DetectorImages
from tps_pipeline.detection.fitting import anchors, anchors_fit, fitted, image_size
from tps_pipeline.models.yolov7 import VARIANTS


def samples(height: int, width: int, *, of: tuple[int, int] = (320, 240), label: str | None = "person"):
    """One object of each of ten pictures."""
    rows = pd.DataFrame(
        {"video_id": "a", "frame": range(1, 11), "person": None if label == "person" else 0, "flipped": False}
    ).assign(crop_x1=0, crop_y1=0, crop_x2=of[0] - 1, crop_y2=of[1] - 1, width=of[0], height=of[1], label=label)
    box = {"x1": 0, "y1": 0, "x2": width - 1, "y2": height - 1} if label else dict.fromkeys(("x1", "y1", "x2", "y2"))
    return tables.conform(rows.assign(**box), tables.SAMPLES)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (samples(120, 50), 192),  # 72 pixels of a person who has 120 of 320
        (samples(60, 25), 384),
        (samples(20, 8), 480),  # no larger than half as large again as the picture
        (samples(236, 100), 96),
        (samples(20, 20, of=(110, 110), label="head"), 160),  # a part that has 28 pixels in a square
        (samples(4, 4, of=(40, 40), label="head"), 96),
        (samples(0, 0, label=None), 480),
    ],
)
def test_the_image_size_follows_what_is_to_be_seen(given: pa.Table, size: int):
    assert image_size(given) == size


def test_auto_becomes_numbers_and_the_rest_stays():
    plain = {"optimizer": "adamw", "epochs": 1, "batch_size": "auto", "learning_rate": 0.1}
    left = {"network": {"variant": "tiny"}, "image_size": "auto", "gains": {"objectness": "auto"}, "training": plain}
    settings, found = fitted(recipe.Detector.model_validate(left), samples(120, 50))
    assert found == {"image_size": 192, "objectness_gain": pytest.approx(0.7 * (640 / 192) ** 2)}
    assert settings.pixels == 192
    assert settings.gains.objectness == found["objectness_gain"]
    given = recipe.Detector.model_validate(left | {"image_size": 64, "gains": {}})
    assert fitted(given, samples(120, 50)) == (given, {})


def test_anchors_of_heat_maps_are_each_class_s_median_box():
    of_heads = samples(20, 10, of=(100, 100), label="head")
    images = DetectorImages(of_heads, [], ["hip", "head"], size=200)
    found, said = anchors(recipe.HeatMaps(kind="heat_maps"), images, seed=0)
    assert np.asarray(found).tolist() == [[20, 40], [20, 40]]  # hips, of which there are none, get those of all
    assert said == {}


def test_anchors_fit_boxes_of_nearly_their_shape():
    of_coco = np.array(VARIANTS["tiny"].anchors, np.float32)
    assert anchors_fit(of_coco * 1.9, of_coco) == 1
    assert anchors_fit(np.array([[2.0, 2.0], [30.0, 61.0]]), of_coco) == 0.5
