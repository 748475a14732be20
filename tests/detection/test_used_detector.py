import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tps_pipeline import recipe
from tps_pipeline.detection.detector import build, save, used
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.errors import WeightsError
from tps_pipeline.learners.pretrained import check, import_weights, path_of
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.store import Store

TINY = recipe.Yolov7(variant="tiny", width=0.125)


def imported(path: Path, *, classes: int = 80, kind: str = "yolov7_tiny") -> Path:
    torch.manual_seed(0)
    settings = json.dumps({"variant": "tiny", "width": 0.125, "depth": 1.0})
    about = {"name": "coco", "kind": kind, "classes": str(classes), "settings": settings}
    save_checkpoint(path, build(TINY, classes=classes).state_dict(), metadata=about)
    return path


def test_of_coco_s_classes_the_person_is_taken(tmp_path: Path) -> None:
    detector = used(imported(tmp_path / "model.safetensors"), size=64, device="cpu")
    assert detector.labels == ("person",)
    pictures = [np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)]
    ((boxes, scores),) = detector(detector.prepare(pictures))
    assert scores.shape == (len(boxes), 1)
    ((_, all_scores),) = type(detector)(detector.network, ("all",), 64)(detector.prepare(pictures))
    assert all_scores.shape == (len(boxes), 80)
    assert np.array_equal(scores[:, 0], all_scores[:, 0])  # `person` is COCO's first
    ((_, kept, labels),) = detector(
        detector.prepare(pictures), lambda b, s: suppress(b, s, threshold=0.0, iou=0.5, most=3)
    )
    assert len(kept) == 3
    assert (labels == 0).all()


def test_what_knows_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no detector that knows COCO's 80 classes"):
        used(imported(tmp_path / "model.safetensors", classes=7), device="cpu")


def test_a_detector_of_ours_goes_from_store_to_store(tmp_path: Path) -> None:
    settings = recipe.load("demo").person_detector
    assert isinstance(settings, recipe.Detector)
    file = tmp_path / "people.safetensors"
    torch.manual_seed(0)
    save(file, build(settings.network, classes=1).state_dict(), settings, ["person"])
    store = Store(tmp_path / "store")
    import_weights(file, "people", kind="detector", store=store)
    detector = used(store.local(path_of("people")), device="cpu")
    assert detector.labels == ("person",)
    assert detector.size == settings.pixels
    check({"person_detector": {"use": "people"}}, store)
    with pytest.raises(WeightsError, match="is of the kind detector"):
        check({"pose": {"weights": "people", "own_detector": 0.5}}, store)
    with pytest.raises(WeightsError, match="not in"):
        check({"person_detector": {"use": "others"}}, store)
    other = tmp_path / "parts.safetensors"
    save(other, build(settings.network, classes=1).state_dict(), settings, ["head"])
    import_weights(other, "parts", kind="detector", store=store)
    with pytest.raises(WeightsError, match="needed is a detector of people"):
        used(store.local(path_of("parts")), device="cpu")
    bare = tmp_path / "bare.safetensors"
    save_checkpoint(bare, build(settings.network, classes=1).state_dict())
    with pytest.raises(WeightsError, match="does not say what it detects"):
        import_weights(bare, "bare", kind="detector", store=store)
