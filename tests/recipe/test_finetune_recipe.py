"""The recipe for data of one's own: what is published fits it, and all of it runs at its full size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from typer.testing import CliRunner

from tests import workplace
from tests.models import published
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.data.synthetic import generate
from tps_pipeline.lineage import Lineage
from tps_pipeline.models.csn import DEPTHS, Csn
from tps_pipeline.models.slowfast import SlowFast
from tps_pipeline.models.video_swin import VideoSwin
from tps_pipeline.models.yolov7 import YOLOv7, reference_names
from tps_pipeline.outputs import CHECKPOINTS, SUBMISSION
from tps_pipeline.store import Store

WEIGHTS = {
    "yolov7_tiny_coco": "yolov7_tiny",
    "video_swin_tiny_k400": "video_swin",
    "ir_csn_50_k400": "ir_csn",
    "slowfast_50_k400": "slowfast_pyslowfast",
}
"""What the recipe starts from, and what kind of file each is."""


def test_every_published_network_is_named_with_what_to_fetch_and_how_to_import_it(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["recipe", "check", "finetune", "--store", str(tmp_path)])
    assert (refused.exit_code, refused.stdout) == (1, "finetune: valid\n")
    commands = [line.split("`")[1].split() for line in refused.stderr.splitlines() if line.startswith("    run `")]
    assert {command[6]: command[4] for command in commands} == WEIGHTS
    assert refused.stderr.count("    fetch ") == len(WEIGHTS)


@pytest.mark.slow
def test_all_networks_take_a_step_at_full_size_and_predict(tmp_path: Path) -> None:
    """Published files with random weights are imported, every network is trained for an epoch, a submission made."""
    store = Store(tmp_path / "store")
    for name, tensors in _published().items():
        torch.save({"state_dict": tensors}, tmp_path / f"{name}.pth")
        arguments = ["weights", "import", "--as", WEIGHTS[name], str(tmp_path / f"{name}.pth"), name]
        done = CliRunner().invoke(app, [*arguments, "--store", str(store.root)])
        assert done.exit_code == 0, done.stderr
    content = _shortened(yaml.safe_load((recipe.RECIPES / "finetune.yaml").read_text()))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text((workplace.ROOT / "dagster.yaml").read_text())
    generate(tmp_path / "data", videos=6, seed=3, width=128, height=96, frames=6, classes=2, test_fraction=0.3)

    environment = workplace.environment(tmp_path)
    subprocess.run([sys.executable, "-m", "assets.run"], check=True, cwd=workplace.ROOT, env=environment)

    records = Lineage(store).latest().records
    learned = {key.removeprefix(CHECKPOINTS) for key, _ in records if key.startswith(CHECKPOINTS)}
    assert {"person_detector", "part_detector", *content["methods"]} <= learned
    assert (SUBMISSION.key, None) in records


def _published() -> dict[str, dict[str, Tensor]]:
    """The recipe's networks, under the names that their authors gave them, with random weights."""
    torch.manual_seed(0)
    detector = YOLOv7("tiny")
    state = detector.state_dict()
    swin = VideoSwin(
        patch=(2, 4, 4), embed=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=(8, 7, 7), classes=400
    )
    slowfast = SlowFast(depths=(3, 4, 6, 3), lateral_kernel=7, lateral_norms=True, full_span=True)
    return {
        "yolov7_tiny_coco": {theirs: state[ours] for theirs, ours in reference_names(detector).items()},
        "video_swin_tiny_k400": published.video_swin(swin),
        "ir_csn_50_k400": published.ir_csn(Csn(depths=DEPTHS[50], classes=400)),
        "slowfast_50_k400": published.slowfast_pyslowfast(slowfast),
    }


def _shortened(settings: Any) -> Any:
    """A recipe whose every training is an epoch of single samples; networks and clips stay as they are."""
    if isinstance(settings, list):
        return [_shortened(value) for value in settings]
    if not isinstance(settings, dict):
        return settings
    short = {"epochs": 1, "batch_size": 1, "global_batch": None, "precision": "32-true", "workers": 0, "warmup": 0}
    inside = {name: _shortened(value) for name, value in settings.items()}
    if "training" in inside:
        inside["training"] |= short
    return inside | {"clips_per_video": 1} if "clips_per_video" in inside else inside
