"""Landmarks as a further input, from a video to states: by itself, in the graph, and in the sliding form."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import yaml

import tps_pipeline
from tests.models.tiny_tflite import tiny
from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline import recipe
from tps_pipeline.errors import RecipeError
from tps_pipeline.graph import Run, frozen, ingestion, make
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.models.blazepose import LANDMARKER
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.outputs import LABELLED_FRAMES, POSES, predictions, weights
from tps_pipeline.predict import memory
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

METHODS = ["instance_pcp", "instance_pp"]


MEAN = 0.048
"""The colours' sum of the squares that are looked at: the untrained detector's boxes are larger than the picture."""


def landmark_network() -> bytes:
    """A network that sees somebody everywhere: points on a slope that go along with the colours, all surely seen."""
    rows = np.zeros((39, 5))
    rows[:, 0], rows[:, 1] = np.linspace(125, 165, 39), np.linspace(155, 130, 39)
    rows[:, 3:] = 9
    rows[33, :2], rows[34, :2] = 128, (128, 26)  # the next square is the same
    return tiny(256, [np.tile(numbers[:, None] / MEAN, (1, 3)) for numbers in (rows.reshape(195), np.full(1, 0.6))])


def with_keypoints(name: str) -> dict[str, Any]:
    entry = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())["methods"][name]
    return entry | {"keypoints": True, **({"tracked": True, "clips_per_video": 2} if name == "instance_pp" else {})}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    entries = {name: with_keypoints(name) for name in METHODS}
    people = {"person_threshold": 0.0, "people_per_frame": 3}
    pose = {"own_detector": None, "tiles": False, "presence": 0.3}
    sections: dict[str, Any] = {"two_stage": people, "detections": "pose", "pose": pose}
    root = make_store(folder / "store", methods=METHODS, entries=entries, **sections)
    (folder / "networks").mkdir()
    file = {LANDMARKER: torch.frombuffer(bytearray(landmark_network()), dtype=torch.uint8)}
    save_checkpoint(folder / "networks" / WEIGHTS, file, metadata={"kind": "blazepose"})
    kept, output = Store(root), weights("blazepose")
    work = Work(output.key, None, (), (), "")
    Lineage(kept).record(work, kept.keep(folder / "networks", output.path()), run_id="test")
    return root


def test_the_graph_predicts_what_a_video_by_itself_gets(store: Path, tmp_path: Path) -> None:
    for name, frames in {"a": 13, "b": 7}.items():
        write_clip(tmp_path / f"{name}.mp4", frames)
    lineage = Lineage(Store(store))
    run = Run(frozen.of_predictions(lineage), tmp_path, lineage)
    graph = graph_of(run.recipe)
    ingestion.take_in(run)
    for step in [graph.maker[LABELLED_FRAMES], *memory.steps_for(graph, map(predictions, METHODS))]:
        make(run, step, ["test-000"])
    assert Store(store).read(POSES.path("test-000")).num_rows >= 33
    for method in METHODS:
        of_graph = Store(store).read(predictions(method).path("test-000"))
        for name in ("a", "b"):
            there = of_graph.filter(pc.field("video_id").cast(pa.string()) == name)
            found = tps_pipeline.load(store, method=method)(tmp_path / f"{name}.mp4")
            assert len(there) > 0
            assert found.predictions.to_pylist() == there.to_pylist()


@pytest.mark.parametrize("method", METHODS)
def test_in_one_window_a_stream_says_what_is_said_of_the_whole_file(method: str, store: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 20)
    parser = tps_pipeline.load(store, method=method)
    whole, frames = parser(clip).to_pandas(), list(parser.stream(clip, window=40))
    told = pd.concat([frame.people for frame in frames])
    assert len(whole) > 0
    assert len(told) == len(whole)
    # The pixels are others by a little: another state may be named only where the whole file has it as likely.
    for said, now in zip(whole.to_dict("records"), told.to_dict("records"), strict=True):
        assert dict(said["state_scores"])[now["state"]] == pytest.approx(said["state_score"], abs=0.02)
    assert told.state_score.to_numpy() == pytest.approx(whole.state_score.to_numpy(), abs=0.02)
    windows = pd.concat([frame.people for frame in parser.stream(clip, window=10)])
    assert np.isfinite(windows.state_score).all()


def test_landmarks_have_to_come_from_somewhere() -> None:
    demo = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    demo["methods"]["instance_pcp"]["keypoints"] = True
    with pytest.raises(
        RecipeError, match=r"instance_pcp.keypoints needs landmarks, which pose finds: add `pose: \{\}`"
    ):
        recipe.parse(yaml.safe_dump(demo), Path("mine.yaml"))
    demo["pose"] = {}  # the boxes may be those of the two stages
    recipe.parse(yaml.safe_dump(demo), Path("mine.yaml"))
