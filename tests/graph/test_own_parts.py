"""`docs/own_data.md`, from a CVAT file with twelve parts, none of them of the ten, to a scored store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tests.data.formats.sources import FRAMES, box, cvat, track
from tests.data.layouts import write_video
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.data.lists import BODY_PARTS
from tps_pipeline.graph import Run, ingestion, make
from tps_pipeline.lineage import Lineage
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.outputs import LEADERBOARD, SUBMISSION, TWO_STAGE, average_precision, checkpoint, predictions
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

HORSE = ("croup", "muzzle", *(f"{side}_{part}" for side in ("left", "right")
                              for part in ("ear", "fore_hoof", "fore_knee", "hind_hoof", "hind_hock")))  # fmt: skip
TRAINING = {"epochs": 1, "batch_size": 2, "optimizer": "adamw", "learning_rate": 0.001, "workers": 0}
DETECTOR = {
    "network": {"variant": "tiny", "width": 0.125}, "image_size": 64, "training": TRAINING, "gains": {"objectness": 1.0}
}  # fmt: skip
RECIPE = {
    "seed": 0,
    "shards": {"videos_per_shard": 8, "val_fraction": 0.4},
    "frames": {"sample_stride": 5, "train_stride": 5},
    "person_detector": DETECTOR,
    "part_detector": DETECTOR,
    "two_stage": {"person_threshold": 0.0, "people_per_frame": 2},
    "video_action": {"members": {"trajectory": {"network": {"width": 8, "blocks": 1, "heads": 1},
                                                "training": TRAINING}}},
    "methods": {
        "video_category": {"kind": "video_category"},
        "part_trajectory": {"kind": "part_trajectory", "network": {"width": 8, "blocks": 1}, "training": TRAINING},
    },
    "submission": "part_trajectory",
}  # fmt: skip


def horse(video: str, action: str) -> str:
    """A horse of twelve parts that crosses the picture, as CVAT exports it."""
    whole: dict[str, Any] = {"xtl": 4, "ytl": 30, "xbr": 114, "ybr": 200}
    body = track(0, "person", box(0, said=f"person=bella,action={action}", **whole), box(FRAMES - 1, **whole), group=1)
    parts = [
        track(at, part, box(0, left=5 + 6 * at, state="up"), box(3, left=8 + 6 * at, state="down"), group=1)
        for at, part in enumerate(HORSE, 1)
    ]
    return cvat(body, *parts, source=f"{video}.mp4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six imported videos, and one more to predict."""
    folder = tmp_path_factory.mktemp("horses")
    (folder / "labels").mkdir()
    for at, name in enumerate(("bay", "dun", "grey", "roan", "black", "white")):
        write_video(folder / "clips" / f"{name}.mp4", frames=FRAMES)
        (folder / "labels" / f"{name}.xml").write_text(horse(name, ("canter", "rear")[at % 2]))
    words = ["data", "import", folder / "labels", folder / "data", "--from", "cvat", "--videos", folder / "clips"]
    said = CliRunner().invoke(app, [*map(str, words)])
    assert said.exit_code == 0, said.output
    assert "of 12 kind(s) of parts" in said.output
    said = CliRunner().invoke(app, ["data", "validate", str(folder / "data")])
    assert said.exit_code == 0, said.output
    (folder / "data" / "test_videos").mkdir()
    write_video(folder / "elsewhere" / "foal.mp4", frames=FRAMES)
    shutil.copy(folder / "elsewhere" / "foal.mp4", folder / "data" / "test_videos")
    return folder / "data"


def test_twelve_parts_of_a_horse_from_cvat_to_a_scored_store(data: Path, tmp_path: Path) -> None:
    assert (data / BODY_PARTS).read_text().split() == sorted(HORSE)
    text, lines = yaml.safe_dump(RECIPE), list[str]()
    lineage = Lineage(Store(tmp_path / "store"))
    run = Run(recipe.parse(text, Path("horse.yaml")), data, lineage, warn=lines.append)
    ingestion.take_in(run)
    graph = graph_of(run.recipe)
    for step in graph.steps:
        shards = lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ()
        make(run, step, shards)

    store, latest = lineage.store, lineage.latest()
    labels = json.loads(
        load_checkpoint(store.local(latest.records[checkpoint("part_detector").at()].path) / WEIGHTS)[1]["labels"]
    )
    assert labels == sorted(HORSE)
    (shard,) = latest.shards("test")
    for output in (TWO_STAGE, predictions("part_trajectory"), predictions("video_category")):
        assert {*store.read(output.path(shard))["part"].to_pylist()} == {*HORSE}
    ranked = store.read(LEADERBOARD.path()).to_pandas().set_index("method")
    assert {"part_trajectory", "video_category", "voting"} <= {*ranked.index}
    assert np.isfinite(ranked.mean_psc).all()
    assert {*HORSE, "person", "parts"} == {*store.read(average_precision("two_stage").path())["label"].to_pylist()}
    (note,) = (store.local(latest.records[SUBMISSION.at()].path) / "not_the_challenge.txt").read_text().splitlines()
    assert note.startswith("not a submission to the Kinetics-TPS challenge")
    assert note in lines
    again = [make(run, step, lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ())
             for step in graph.steps]  # fmt: skip
    assert not [name for outcomes in again for outcome in outcomes.values() for name in outcome.made]
