"""Whose a part is, and the way from a single detector's training to detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.detection.scenes import (
    BODY,
    COLORS,
    HEIGHT,
    WIDTH,
    detector_settings,
    jpeg,
    network,
    scene,
    write_frames,
)
from tps_pipeline import recipe, tables
from tps_pipeline.detection import single_stage
from tps_pipeline.detection.datasets import single_stage_samples
from tps_pipeline.detection.train import train
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PARTS, PERSON
from tps_pipeline.video.frames import FrameFile

LABELS = (PERSON, *PARTS)
LARGE, SMALL = (0, 0, 99, 99), (60, 0, 159, 49)


def owners(parts: list[tuple[int, int, int, int]], scores: tuple[float, float] = (0.9, 0.9)) -> list[int]:
    people = np.array((LARGE, SMALL))
    found = single_stage.assign(people, np.array(scores, np.float32), np.array(parts).reshape(-1, 4), containment=0.5)
    return found.tolist()


def test_a_part_goes_to_the_only_person_who_holds_half_of_it() -> None:
    inside_large, inside_small, half, less_than_half = (
        (5, 5, 24, 24),
        (130, 5, 149, 24),
        (90, 60, 109, 79),
        (91, 60, 110, 79),
    )
    assert owners([inside_large, inside_small, half, less_than_half, (300, 300, 310, 310)]) == [0, 1, 0, -1, -1]


def test_in_two_boxes_it_goes_to_the_smaller_unless_that_person_is_faint() -> None:
    shared = [(70, 10, 89, 29)]
    assert owners(shared) == [1]
    assert owners(shared, (0.9, 0.3)) == [0]


def test_without_people_or_parts_nothing_is_given() -> None:
    nobody = single_stage.assign(np.zeros((0, 4), int), np.zeros(0, np.float32), np.array([LARGE]), containment=0.5)
    assert nobody.tolist() == [-1]
    assert owners([]) == []


def detect(monkeypatch: pytest.MonkeyPatch, path: Path, pictures: list[np.ndarray]) -> pd.DataFrame:
    """Detections by a network that finds people and parts by their colours."""
    knows = network([BODY, *COLORS], LABELS)

    def load(*_: object, **__: object) -> object:
        return knows

    monkeypatch.setattr(single_stage, "load_of", load)
    rows = [("v", 1 + 5 * i, jpeg(picture)) for i, picture in enumerate(pictures)]
    frames = FrameFile(write_frames(path / "frames.arrow", rows))
    found = single_stage.detect(frames, path, settings=recipe.SingleStage(threshold=0.1))
    assert found.schema == tables.DETECTIONS
    return found.to_pandas().astype({"part": str})


def test_everyone_s_parts_are_found_and_those_not_there_have_no_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, boxes = scene(40)
    headless = whole.copy()
    headless[13:22, 45:60] = BODY
    empty = np.full((HEIGHT, WIDTH, 3), 9, np.uint8)
    table = detect(monkeypatch, tmp_path, [whole, headless, empty])
    assert table.groupby("frame").part.apply(set).to_dict() == {1: set(PARTS), 6: set(PARTS[1:])}
    first = table[table.frame == 1].set_index("part")
    assert np.abs(first.loc[list(PARTS), [*tables.BOX]].to_numpy() - list(boxes.values())).max() <= 2
    assert np.allclose(table.part_score, table.person_score * 0.8 * 0.5)
    assert len(detect(monkeypatch, tmp_path, [empty])) == 0


def test_single_stage_from_training_to_detections(tmp_path: Path) -> None:
    pictures = [scene(left) for left in (4, 20, 40, 60, 70, 75)]
    frames, people, parts = [], [], []
    for i, (left, (_, boxes)) in enumerate(zip((4, 20, 40, 60, 70, 75), pictures, strict=True)):
        frames.append(("v", 1 + 5 * i, 1))
        people.append(("v", 1 + 5 * i, 0, left, 10, left + 49, 79))
        parts += [("v", 1 + 5 * i, 0, part, *box, "none") for part, box in boxes.items()]
    labelled, annotated, of_people = (
        tables.conform(pd.DataFrame(rows, columns=schema.names), schema)
        for rows, schema in ((frames, tables.LABELLED_FRAMES), (people, tables.PEOPLE), (parts, tables.PARTS))
    )
    rows = [("v", 1 + 5 * i, jpeg(picture)) for i, (picture, _) in enumerate(pictures)]
    file = FrameFile(write_frames(tmp_path / "frames.arrow", rows))
    samples = single_stage_samples(labelled, annotated, of_people, file.index)
    assert set(samples["label"].to_pylist()) == set(LABELS)
    train(
        detector_settings(64, 2), samples, [file], LABELS,
        val_samples=samples, val_frames=[file], folder=tmp_path / "network", seed=0,
    )  # fmt: skip
    settings = recipe.SingleStage(threshold=0.0)
    found = single_stage.detect(file, tmp_path / "network" / "model.safetensors", settings=settings).to_pandas()
    assert len(found)
    assert not found.duplicated(["video_id", "frame", "person", "part"]).any()
    with pytest.raises(WeightsError, match="no such weight file"):
        single_stage.detect(file, tmp_path / "none.safetensors", settings=settings)
