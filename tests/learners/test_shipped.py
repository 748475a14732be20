"""The weights that come with the package: no import is needed, and they are what they say."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tps_pipeline import recipe
from tps_pipeline.boxes import paired_iou
from tps_pipeline.data.synthetic.varied.video import frames_of, shoot
from tps_pipeline.detection import detector
from tps_pipeline.detection.datasets import crops
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.detection.two_stage import best_of_each, to_pixels
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PARTS
from tps_pipeline.learners import pretrained
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.store import Store

MOST_BYTES = 8_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_they_are_small_and_have_a_card() -> None:
    for name, file in pretrained.SHIPPED.items():
        assert file.stat().st_size < MOST_BYTES
        assert file.with_suffix(".md").read_text().startswith(f"# {name}\n")


def test_a_recipe_that_names_them_finds_them(store: Store) -> None:
    (row,) = [row for row in pretrained.listing(store) if row["name"] == "people"]
    assert (row["licence"], row["imported"]) == ("Apache-2.0", True)
    assert not store.exists(pretrained.path_of("people"))
    pretrained.check({"person_detector": {"use": "people"}}, store)
    about = pretrained.metadata_of("people", store)
    assert about is not None
    assert about["licence"] == "Apache-2.0"
    network = {"variant": "tiny", "width": 0.25, "depth": 1.0, "weights": "people"}
    pretrained.check({"person_detector": {"network": network}}, store)
    with pytest.raises(WeightsError, match="width"):
        pretrained.check({"person_detector": {"network": network | {"width": 1.0}}}, store)


def test_kernels_are_kept_in_half_precision_and_used_in_single(store: Store) -> None:
    pretrained.check({"person_detector": {"use": "people"}}, store)
    trained = detector.used(Path(store.local(pretrained.path_of("people"))), device="cpu")
    assert trained.labels == ("person",)
    assert all(each.dtype == torch.float32 for each in trained.network.parameters())
    state, described = load_checkpoint(pretrained.SHIPPED["people"])
    assert json.loads(described["labels"]) == ["person"]
    assert {tensor.dtype for tensor in state.values() if tensor.ndim == 4} == {torch.float16}
    recipe.Detector.model_validate_json(described["settings"])


def test_generated_people_are_found(store: Store) -> None:
    trained = detector.load(pretrained.SHIPPED["people"], device="cpu")
    there = found = 0
    for number in range(12):
        take = shoot("lunge", frames=2, size=(320, 240), rng=np.random.default_rng([77, number]))
        picture, label = next(frames_of(take, np.ones(2, bool)))
        rgb = np.ascontiguousarray(picture[..., ::-1])
        ((boxes, _, _),) = trained(trained.prepare([rgb]), partial(suppress, threshold=0.01, iou=0.5))
        for human in label["humans"] if label else ():
            x1, y1, x2, y2 = human["box"]
            wide = np.minimum(boxes[:10, 2], x2 + 1) - np.maximum(boxes[:10, 0], x1)
            tall = np.minimum(boxes[:10, 3], y2 + 1) - np.maximum(boxes[:10, 1], y1)
            shared = wide.clip(0) * tall.clip(0)
            sizes = (boxes[:10, 2] - boxes[:10, 0]) * (boxes[:10, 3] - boxes[:10, 1]) + (x2 + 1 - x1) * (y2 + 1 - y1)
            there += 1
            found += (shared / (sizes - shared)).max() > 0.4
    assert there > 12
    assert found / there > 0.6


def test_a_part_detector_begins_with_parts_and_nothing_else_does(store: Store) -> None:
    network = {"kind": "heat_maps", "variant": "tiny", "width": 0.25, "depth": 1.0, "weights": "parts"}
    pretrained.check({"part_detector": {"network": network}}, store)
    about = pretrained.metadata_of("parts", store)
    assert about is not None
    assert tuple(json.loads(about["labels"])) == PARTS
    anchors = {key: value for key, value in network.items() if key != "kind"}
    with pytest.raises(WeightsError, match="heat_maps"):
        pretrained.check({"person_detector": {"network": anchors}}, store)
    pretrained.check({"person_detector": {"use": "parts"}}, store)
    with pytest.raises(WeightsError, match="needed is a detector of people"):
        detector.used(Path(store.local(pretrained.path_of("parts"))), device="cpu")


def test_parts_of_generated_people_are_found() -> None:
    trained = detector.load(pretrained.SHIPPED["parts"], device="cpu")
    overlaps = []
    for number in range(10):
        take = shoot("lunge", frames=2, size=(320, 240), rng=np.random.default_rng([78, number]))
        picture, label = next(frames_of(take, np.ones(2, bool)))
        size = np.array((picture.shape[1], picture.shape[0]))
        for human in label["humans"] if label else ():
            ((x1, y1, x2, y2),) = crops(np.array([human["box"]]), size, margin=0.1)
            crop = np.ascontiguousarray(picture[y1 : y2 + 1, x1 : x2 + 1, ::-1])
            ((boxes, _),) = trained(trained.prepare([crop]), best_of_each)
            found = to_pixels(boxes + np.array((x1, y1, x1, y1), np.float32), (int(size[0]), int(size[1])))
            annotated = {PARTS.index(each["name"]): each["box"] for each in human["parts"].values()}
            there = np.array([*annotated.values()], float).reshape(-1, 4)
            overlaps += list(paired_iou(found[[*annotated]].astype(float), there))
    assert len(overlaps) > 50
    assert np.mean(np.array(overlaps) > 0.3) > 0.4
