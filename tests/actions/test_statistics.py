"""The member that counts how people move: it learns, it has no side, and is the trees that scikit-learn has grown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from tests.actions.acting import ACTIONS, STEPS, seen, videos
from tps_pipeline import recipe, tables
from tps_pipeline.actions import statistics
from tps_pipeline.actions.motion import described, smoothed
from tps_pipeline.actions.people import People, people_of
from tps_pipeline.errors import DataError, WeightsError
from tps_pipeline.methods.trajectories.sequences import Boxes
from tps_pipeline.models.forest import Forest
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS

SETTINGS = recipe.StatisticsAction(trees=40)


def known(count: int, *, start: int = 0) -> tuple[pa.Table, dict[str, People]]:
    table = videos(count, start=start)
    return table, people_of(table, *seen(table), SETTINGS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("statistics")
    return folder, statistics.train(known(8), known(4, start=20), ACTIONS, SETTINGS, folder=folder, seed=0)


def test_learns_a_motion_from_a_few_videos(trained: tuple[Path, dict[str, float]]):
    folder, metrics = trained
    assert metrics == {"accuracy": 1.0}
    table = videos(10, start=40)
    found = statistics.predict(folder, table, *seen(table))
    assert found.schema == tables.VIDEO_ACTIONS
    assert found["action"].to_pylist() == table["action"].to_pylist()
    alone = statistics.predict(folder, table.slice(3, 1), *seen(table.slice(3, 1)))
    assert alone.to_pylist() == found.slice(3, 1).to_pylist()  # what else is in the shard does not matter


def test_the_same_seed_grows_the_same_file(trained: tuple[Path, dict[str, float]], tmp_path: Path):
    folder, _ = trained
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        statistics.train(known(8), known(4, start=20), ACTIONS, SETTINGS, folder=tmp_path / str(seed), seed=seed)
    kept, again, another = ((each / WEIGHTS).read_bytes() for each in (folder, tmp_path / "0", tmp_path / "1"))
    assert again == kept != another


def test_a_video_in_which_nobody_is_detected_gets_the_frequencies(trained: tuple[Path, dict[str, float]]):
    folder, _ = trained
    table = videos(2, start=40)
    found = statistics.predict(folder, table, *seen(table.slice(0, 1)))
    assert dict(found.to_pylist()[1]["probabilities"]) == {"nodding": 0.5, "waving": 0.5}
    assert found["score"][0].as_py() > 0.7
    empty = tables.empty(tables.DETECTIONS), tables.empty(tables.TRACKS)
    assert statistics.predict(folder, tables.empty(tables.VIDEOS), *empty).num_rows == 0


def test_without_anybody_to_learn_from_the_most_frequent_action_is_named(tmp_path: Path):
    held_out = tables.empty(tables.VIDEOS), {}
    assert statistics.train((videos(3), {}), held_out, ACTIONS, SETTINGS, folder=tmp_path, seed=0) == {}
    table = videos(2, start=41)
    found = statistics.predict(tmp_path, table, *seen(table))
    assert found["action"].to_pylist() == ["nodding", "nodding"]  # two of three


def test_an_action_that_is_not_to_be_learned_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"videos show waving, the actions to learn are nodding"):
        statistics.train((videos(2), {}), (videos(2), {}), ["nodding"], SETTINGS, folder=tmp_path, seed=0)


def test_an_action_has_no_side(trained: tuple[Path, dict[str, float]]):
    forest, _ = statistics.load(trained[0])
    assert forest
    (one,) = known(1, start=40)[1].values()
    mirrored = replace(one, sequences=[boxes.mirrored(one.parts) for boxes in one.sequences])
    found = [statistics.probabilities(forest, people) for people in (one, mirrored)]
    assert np.allclose(*found, rtol=0, atol=1e-12)


def boxes(rng: np.random.Generator) -> Boxes:
    corners = rng.uniform(0, 50, (STEPS, 11, 4)).round().astype(np.float32)
    corners[..., 2:] += corners[..., :2] + 1
    return Boxes(corners, rng.uniform(0.2, 1, (STEPS, 11)).astype(np.float32))


def test_neither_place_nor_size_in_the_picture_nor_what_is_not_seen_changes_a_number():
    one = boxes(np.random.default_rng(0))
    one.confidences[2, 0], one.confidences[:, 3], one.confidences[3:, 5] = 0, 0, 0
    plain = described(one, 0.2)
    assert np.isfinite(plain).all()
    assert np.allclose(described(Boxes(one.corners * 4 + 300, one.confidences), 0.2), plain, atol=1e-5)
    there = (one.confidences > 0) & (one.confidences[:, :1] > 0)  # without a person there are no parts
    elsewhere = np.where(there[..., None], one.corners, 1000).astype(np.float32)
    assert np.array_equal(described(Boxes(elsewhere, one.confidences), 0.2), plain)
    nearer = one.corners.copy()
    nearer[:, 7] += 20
    assert not np.allclose(described(Boxes(nearer, one.confidences), 0.2), plain, atol=1e-2)


def test_trembling_is_smoothed_and_nobody_who_walks_lags_behind():
    still = boxes(np.random.default_rng(0))
    walk = 40 * np.arange(STEPS, dtype=np.float32)[:, None, None] * np.array((1, 0, 1, 0), np.float32)
    walking = Boxes((still.corners[:1] + walk).astype(np.float32), still.confidences)
    assert np.allclose(smoothed(walking), walking.corners, atol=1e-3)
    trembling = Boxes(walking.corners.copy(), np.full_like(still.confidences, 0.5))
    trembling.corners[1::2, 4] += 8
    off = smoothed(trembling)[:, 4] - walking.corners[:, 4]
    assert np.ptp(off, axis=0).max() < 3
    doubtful = Boxes(trembling.corners, trembling.confidences.copy())
    doubtful.confidences[1::2, 4] = 1e-6
    assert np.allclose(smoothed(doubtful)[:, 4], walking.corners[:, 4], atol=1e-3)


def test_somebody_seen_once_alone_or_all_but_has_numbers_as_everybody():
    one = boxes(np.random.default_rng(0))
    alone = np.zeros_like(one.confidences)
    alone[1, 0] = 1
    for few in (Boxes(one.corners[:1], one.confidences[:1]), Boxes(one.corners, alone)):
        assert np.isfinite(described(few, 0.2)).all()
        assert described(few, 0.2).shape == described(one, 0.2).shape


def test_saved_trees_say_what_those_said_that_were_grown(tmp_path: Path):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(90, 7)).astype(np.float32), np.repeat((0, 2, 3), 30)  # nobody does 1
    features[:, 0] += labels
    trees = ExtraTreesClassifier(30, min_samples_leaf=2, random_state=0)
    trees.fit(features, labels, sample_weight=rng.uniform(0.1, 1, 90))
    save_checkpoint(tmp_path / WEIGHTS, Forest.grown(trees, 4).tensors())
    new = rng.normal(size=(50, 7)).astype(np.float32)
    found = Forest.of(load_checkpoint(tmp_path / WEIGHTS)[0], 4).probabilities(new)
    assert np.abs(found[:, [0, 2, 3]] - trees.predict_proba(new)).max() < 1e-12
    assert not found[:, 1].any()
    with pytest.raises(WeightsError, match="not the arrays of randomised trees: 'root'"):
        Forest.of({}, 4)
