"""The member that sees how people move: it learns, it has no side, and a box that is not there says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.actions.acting import ACTIONS, STEPS, seen, videos
from tps_pipeline import recipe, tables
from tps_pipeline.actions import trajectory
from tps_pipeline.actions.people import People, people_of
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.trajectories.sequences import Boxes
from tps_pipeline.models.skeleton import Block, SkeletonNet

pytestmark = pytest.mark.whole


def settings(**changes: Any) -> recipe.TrajectoryAction:
    training = {"epochs": 6, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.01, "clip_norm": 1.0}
    plain = {"network": {"width": 16, "blocks": 2}, "training": training, "sequences_per_video": 16}
    return recipe.TrajectoryAction.model_validate(plain | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("trajectory")
    known, held_out = (
        (table, people_of(table, *seen(table), settings())) for table in (videos(8), videos(4, start=20))
    )
    return folder, trajectory.train(known, held_out, ACTIONS, settings(), folder=folder, seed=0)


def test_learns_a_motion_from_a_few_videos(trained: tuple[Path, dict[str, float]]):
    folder, metrics = trained
    assert metrics["accuracy"] == 1.0
    table = videos(10, start=40)
    found = trajectory.predict(folder, table, *seen(table))
    assert found.schema == tables.VIDEO_ACTIONS
    assert found["action"].to_pylist() == table["action"].to_pylist()


def test_a_video_in_which_nobody_is_detected_gets_the_frequencies(trained: tuple[Path, dict[str, float]]):
    folder, _ = trained
    table = videos(2, start=40)
    detections, tracks = seen(table)
    mine = [video == "v40" for video in detections["video_id"].to_pylist()]
    there = [video == "v40" for video in tracks["video_id"].to_pylist()]
    found = trajectory.predict(folder, table, detections.filter(pa.array(mine)), tracks.filter(pa.array(there)))
    assert dict(found.to_pylist()[1]["probabilities"]) == {"nodding": 0.5, "waving": 0.5}
    assert found["score"][0].as_py() > 0.7
    empty = tables.empty(tables.DETECTIONS), tables.empty(tables.TRACKS)
    assert trajectory.predict(folder, table, *empty)["score"].to_pylist() == [0.5, 0.5]
    assert trajectory.predict(folder, tables.empty(tables.VIDEOS), *empty).num_rows == 0


def test_without_anybody_to_learn_from_there_is_a_network_all_the_same(tmp_path: Path):
    held_out = tables.empty(tables.VIDEOS), {}
    assert trajectory.train((videos(3), {}), held_out, ACTIONS, settings(), folder=tmp_path, seed=0) == {}
    found = trajectory.predict(tmp_path, videos(1), tables.empty(tables.DETECTIONS), tables.empty(tables.TRACKS))
    assert found["action"].to_pylist() == ["nodding"]  # two of three


def test_an_action_that_is_not_to_be_learned_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"videos show waving, the actions to learn are nodding"):
        trajectory.train((videos(2), {}), (videos(2), {}), ["nodding"], settings(), folder=tmp_path, seed=0)


def boxes(rng: np.random.Generator) -> Boxes:
    corners = rng.uniform(0, 50, (STEPS, 11, 4)).astype(np.float32)
    corners[..., 2:] += corners[..., :2]
    return Boxes(corners, rng.uniform(0.2, 1, (STEPS, 11)).astype(np.float32))


def network() -> SkeletonNet:
    torch.manual_seed(0)
    net = SkeletonNet(PARTS, width=16, blocks=2, heads=4, dropout=0.2, classes=2).eval()
    for block in net.blocks:
        assert isinstance(block, Block)
        torch.nn.init.normal_(block.adapts)  # what a sequence asks for counts as well
    return net


def test_an_action_has_no_side():
    one = boxes(np.random.default_rng(0))
    sides = [People([each], np.ones(1), 0.2) for each in (one, one.mirrored(PARTS))]
    found = [trajectory.probabilities(network(), people) for people in sides]
    assert np.allclose(found[0], found[1], atol=1e-6)
    assert not np.allclose(found[0], 0.5, atol=1e-3)


@torch.inference_mode()
def test_a_box_that_is_not_there_says_nothing_nor_does_what_follows_the_end():
    one = boxes(np.random.default_rng(0))
    one.confidences[:, 3] = 0
    plain = [torch.from_numpy(each)[None] for each in one]
    elsewhere = plain[0].clone()
    elsewhere[:, :, 3] = 1000
    longer = [torch.cat((each, torch.zeros_like(each)), 1) for each in plain]
    expected = network()(*plain)
    assert torch.equal(network()(elsewhere, plain[1]), expected)
    assert torch.allclose(network()(*longer), expected, atol=1e-5)
    assert not torch.allclose(network()(plain[0] + torch.eye(4)[0] * 20, plain[1]), expected, atol=1e-3)


def test_who_is_doubtful_or_far_away_hardly_counts():
    table = videos(1)
    detections, tracks = seen(table)
    (people,) = people_of(table, detections, tracks, settings()).values()
    assert sorted(people.weights / people.weights.sum())[0] < 0.01
    rows = detections.to_pandas()
    far = rows.person == 0  # the sure one, a fifth as tall and wide
    rows.loc[far, "person_x2"] = rows.person_x1 + 20
    rows.loc[far, "person_y2"] = rows.person_y1 + 20
    farther = tables.conform(rows, tables.DETECTIONS)
    (shrunk,) = people_of(table, farther, tracks, settings()).values()
    assert shrunk.weights[0] / people.weights[0] == pytest.approx((21 / 101) ** 2)
    assert shrunk.weights[1] == people.weights[1]


def test_learns_a_batch_by_heart():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    net = SkeletonNet(PARTS, width=32, blocks=2, heads=4, dropout=0.0, classes=2)
    batch = trajectory.collate([{**boxes(rng)._asdict(), "action": i % 2} for i in range(8)])
    optimizer = torch.optim.AdamW(net.parameters(), 0.01)
    for _ in range(40):
        loss, _ = trajectory._loss(net, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (net(batch["corners"], batch["confidences"]).argmax(1) == batch["action"]).all()
