"""The paper's recipe: it loads, says which weights it needs, and its detector takes a real optimiser step."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import timm
import torch
from typer.testing import CliRunner

from tests.models import published
from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.clips import networks
from tps_pipeline.detection import detector
from tps_pipeline.detection.datasets import person_samples
from tps_pipeline.detection.train import train
from tps_pipeline.labels import PERSON
from tps_pipeline.learners import pretrained
from tps_pipeline.models.weights import load_checkpoint, load_into, save_checkpoint
from tps_pipeline.models.yolov7 import YOLOv7, reference_names
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import FrameFile

Network = TypeVar("Network", recipe.VideoSwin, recipe.Csn, recipe.SlowFast)


def test_the_report_s_recipe_is_valid_and_names_what_to_fetch(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["recipe", "check", "paper", "--store", str(tmp_path)])
    assert refused.exit_code == 1
    assert refused.stdout == "paper: valid\n"
    assert len(refused.stderr) < 3000  # every file once, whatever number of networks begins with it
    detectors = ("person_detector", "part_detector", "single_stage_detector")
    clips = ("video_level", "segment_level", "segment_level_32_high_rate", "segment_level_16_high_rate")
    pcp = ("instance_pcp", "instance_pcp_sure", "instance_pcp_sure_again", "instance_pcp_16")
    pp = ("instance_pp", *(f"instance_pp_{epochs}_epochs" for epochs in (3, 4, 6)))
    methods = ("methods.part_state_detector.detector", *(f"methods.{name}" for name in (*clips, *pcp, *pp)))
    places = [f"{name}.network" for name in (*detectors, "video_action.members.swin", *methods)]
    lines = refused.stderr.splitlines()
    named = [line.removeprefix("    for ").split(", ") for line in lines if line.startswith("    for ")]
    assert sorted(place for line in named for place in line) == sorted(places)
    assert sum(line.startswith("    fetch ") for line in lines) == len(named) == 5
    assert sum(line.startswith("    run `tps weights import --as ") for line in lines) == 5


def test_the_report_s_segments_differ_in_length_and_learning_rate_only() -> None:
    methods = recipe.load("paper").methods
    segments = {name: entry for name, entry in methods.items() if isinstance(entry, recipe.SegmentLevel)}
    rows = {
        name: entry.model_dump(exclude={"frames": True, "training": {"learning_rate"}})
        for name, entry in segments.items()
    }
    table = {(entry.frames, entry.training.learning_rate) for entry in segments.values()}
    assert table == {(16, 5.12e-4), (32, 5.12e-4), (32, 2.56e-4)}
    assert len(rows) == 3
    assert all(row == rows["segment_level"] for row in rows.values())
    assert rows["segment_level"]["training"]["batch_size"] == 2


def test_the_report_s_instance_level_rows_are_its_second_table() -> None:
    methods = [entry for entry in recipe.load("paper").methods.values() if isinstance(entry, recipe.InstanceLevel)]
    table = sorted(
        (each.relation, each.frames, each.training.epochs or 0, each.inference.person_threshold) for each in methods
    )
    pcp, pp = "person_context_person", "person_person"
    assert table == [
        (pcp, 16, 6, 0.1), (pcp, 32, 6, 0.01), (pcp, 32, 6, 0.1), (pcp, 32, 6, 0.1),
        (pp, 16, 3, 0.1), (pp, 16, 4, 0.1), (pp, 16, 5, 0.1), (pp, 16, 6, 0.1),
    ]  # fmt: skip
    names = ("frames", "relation", "relation_blocks", "relation_width", "tracked", "clips_per_video", "training")
    changed = {**dict.fromkeys(names, True), "inference": {"person_threshold"}}
    assert len({each.model_dump_json(exclude=changed) for each in methods}) == 1
    assert all((each.training.epochs or 0) - each.training.steps[0] == pytest.approx(0.4) for each in methods)


def test_the_report_s_batch_is_128_images_however_many_fit() -> None:
    training = recipe.load("paper").trained_detectors[0].training
    assert training.global_batch == 128
    assert training.batch_size != "auto"
    assert training.global_batch % training.batch_size == 0


@pytest.mark.slow
def test_the_report_s_detector_takes_an_optimiser_step_at_full_size(tmp_path: Path) -> None:
    paper, _ = recipe.load("paper").trained_detectors
    # Without warm-up, whose first step leaves all but the biases alone.
    once = {"epochs": 1, "batch_size": 1, "global_batch": None, "warmup": 0, "precision": "32-true", "workers": 0}
    settings = paper.model_copy(update={"training": paper.training.model_copy(update=once)})
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[100:400, 200:350] = (30, 160, 220)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    columns = {"video_id": ["v"], "frame": [1], "width": [640], "height": [480], "jpeg": [jpeg]}
    with pa.ipc.new_file(str(tmp_path / "frames.arrow"), tables.FRAMES) as file:
        file.write_table(tables.conform(columns, tables.FRAMES))
    frames = FrameFile(tmp_path / "frames.arrow")
    labelled = tables.conform({"video_id": ["v"], "frame": [1], "n_people": [1]}, tables.LABELLED_FRAMES)
    person = pd.DataFrame([("v", 1, 0, 200, 100, 349, 399)], columns=tables.PEOPLE.names)
    known = labelled.append_column("width", [[640]]).append_column("height", [[480]])
    samples = person_samples(labelled, tables.conform(person, tables.PEOPLE), known, flip="none")
    torch.manual_seed(1)
    save_checkpoint(tmp_path / "coco.safetensors", YOLOv7("x").state_dict())

    metrics = train(
        settings, samples, [frames], [PERSON], val_samples=samples, val_frames=[frames],
        folder=tmp_path, seed=0, weights=tmp_path / "coco.safetensors",
    )  # fmt: skip

    assert np.isfinite(metrics["loss"])
    trained, began = load_checkpoint(tmp_path / WEIGHTS)[0], load_checkpoint(tmp_path / "coco.safetensors")[0]
    fresh = {name for name, tensor in trained.items() if tensor.shape != began[name].shape}
    assert all(name.startswith("head.") for name in fresh)
    moved = [name for name in trained.keys() - fresh if not torch.equal(trained[name], began[name])]
    kernels = [name for name in trained if name.endswith("conv.weight")]
    assert set(kernels) <= set(moved)
    assert detector.load(tmp_path / WEIGHTS, device="cpu").size == 640


def network_of(paper: recipe.Recipe, method: str, kind: type[Network]) -> Network:
    network = getattr(paper.methods[method], "network", None)
    assert isinstance(network, kind)
    return network


@pytest.mark.slow
def test_the_published_files_fit_the_networks_that_start_from_them(tmp_path: Path) -> None:
    network = YOLOv7("x")
    names, state = reference_names(network), network.state_dict()
    torch.save({"model": {theirs: state[ours].half() for theirs, ours in names.items()}}, tmp_path / "yolo.pt")
    swin = timm.create_model("swin_base_patch4_window7_224")
    save_checkpoint(tmp_path / "swin.safetensors", swin.state_dict())
    paper = recipe.load("paper")
    video_level = network_of(paper, "video_level", recipe.VideoSwin)
    segment_level = network_of(paper, "segment_level", recipe.Csn)
    instance_level = network_of(paper, "instance_pcp", recipe.SlowFast)
    torch.save(
        {"state_dict": published.video_swin(networks.video_swin(video_level, classes=174))}, tmp_path / "ssv2.pth"
    )
    torch.save({"state_dict": published.ir_csn(networks.csn(segment_level))}, tmp_path / "csn.pth")
    swin = paper.video_action.members.swin
    assert swin
    slowfast = {
        name: tensor.half() for name, tensor in published.slowfast_acar(networks.slowfast(instance_level)).items()
    }
    torch.save({"state_dict": slowfast}, tmp_path / "slowfast.pth.tar")
    store = Store(tmp_path / "store")
    for file, name, kind in (
        ("yolo.pt", "yolov7x_coco", "yolov7x"),
        ("swin.safetensors", "swin_base_imagenet", "swin_imagenet"),
        ("ssv2.pth", "video_swin_base_ssv2", "video_swin"),
        ("csn.pth", "ir_csn_152_ig65m", "ir_csn"),
        ("slowfast.pth.tar", "slowfast_101_ava", "slowfast_acar"),
    ):
        pretrained.import_weights(tmp_path / file, name, kind=kind, store=store)
    pretrained.check(paper.model_dump(mode="json"), store)
    for settings, network in (
        (swin.network, networks.video_swin(swin.network, classes=24)),
        (video_level, networks.video_swin(video_level, classes=108)),
        (segment_level, networks.csn(segment_level, classes=108)),
        (instance_level, networks.slowfast(instance_level)),
    ):
        assert settings.weights is not None
        weights, _ = load_checkpoint(store.local(pretrained.path_of(settings.weights)))
        fit = load_into(network, weights)
        fresh = {*fit.missing, *fit.reshaped}
        assert fresh == {name for name in network.state_dict() if name.startswith(("head.", "blocks.5."))}
