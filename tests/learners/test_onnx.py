"""Networks of a store as ONNX files: what another runtime computes with them is what we compute."""

import importlib.util
import json
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from tps_pipeline import outputs, recipe
from tps_pipeline.cli.app import app
from tps_pipeline.clips import networks
from tps_pipeline.detection import detector
from tps_pipeline.learners import pretrained
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people import classifier as people
from tps_pipeline.models.video_swin import VideoSwin
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import LOGS, WEIGHTS

DEMO = recipe.load("demo")
SPACE = LabelSpace((("head", "none"), ("head", "turn"), ("hip", "none")))
Computed = Callable[[Tensor], tuple[Tensor, ...]]


def keep(folder: Path, name: str, tensors: dict[str, Tensor], **described: str) -> None:
    """Put a checkpoint into the folder's store."""
    lineage = Lineage(Store(folder / "store"))
    (folder / name).mkdir()
    save_checkpoint(folder / name / WEIGHTS, tensors, metadata=described)
    written = lineage.store.keep(folder / name, f"checkpoints/{name}/abc", unversioned=LOGS)
    lineage.record(Work(outputs.checkpoint(name).key, None, (), (), ""), written, run_id="test")


def lively(network: nn.Module) -> nn.Module:
    """In evaluation, with norms that have seen something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def person_detector(folder: Path) -> Computed:
    settings, _ = DEMO.trained_detectors
    settings = settings.model_copy(update={"network": recipe.Yolov7(variant="tiny", width=0.125, depth=0.5)})
    network = lively(detector.build(settings.network, classes=2))
    described = {"labels": json.dumps(["person", "dog"]), "settings": settings.model_dump_json(exclude={"inference"})}
    keep(folder, "person_detector", network.state_dict(), **described)
    return lambda images: detector.boxes_and_scores(network(images)[0])


def part_detector(folder: Path) -> Computed:
    settings = recipe.Detector.model_validate(
        {"network": {"kind": "heat_maps", "width": 0.125}, "image_size": 64}
        | {"training": DEMO.trained_detectors[1].training.model_dump()}
    )
    network = lively(detector.build(settings.network, classes=2, anchors=[[8, 9], [20, 10]]))
    described = {"labels": json.dumps(["head", "hip"]), "settings": settings.model_dump_json(exclude={"inference"})}
    keep(folder, "part_detector", network.state_dict(), **described)
    return lambda images: detector.boxes_and_scores(network(images)[0])


def video_action(folder: Path) -> Computed:
    settings = DEMO.video_action.members.swin
    assert settings
    network = lively(networks.video_swin(settings.network, 3))
    described = {"actions": json.dumps(["a", "b", "c"]), "settings": settings.model_dump_json()}
    keep(folder, "video_action", network.state_dict(), **described)
    return lambda clips: (network(clips),)


def segment_level(folder: Path) -> Computed:
    entry = DEMO.methods["segment_level"]
    assert isinstance(entry, recipe.SegmentLevel)
    network = lively(networks.csn(entry.network, len(SPACE)))
    keep(folder, "segment_level", network.state_dict(), **described(entry))
    return lambda clips: (network(clips),)


def instance_pcp(folder: Path) -> Computed:
    entry = DEMO.methods["instance_pcp"]
    assert isinstance(entry, recipe.InstanceLevel)
    special = {"non_local": (0,), "full_span": True, "lateral_norms": True}
    entry = entry.model_copy(
        update={"network": entry.network.model_copy(update=special), "image_size": 64, "frames": 8}
    )
    network = lively(people.build(entry, len(SPACE)))
    keep(folder, "instance_pcp", network.state_dict(), **described(entry))
    return network.get_submodule("backbone")


def described(entry: recipe.Method) -> dict[str, str]:
    often = " ".join(["0.5"] * len(SPACE))
    return {"labels": SPACE.to_json(), "frequencies": often, "settings": entry.model_dump_json(exclude={"inference"})}


def export(folder: Path, name: str) -> Result:
    return CliRunner().invoke(
        app, ["weights", "export", name, "--to", "onnx", "--store", str(folder / "store"), "--out", f"{folder}/n.onnx"]
    )


def same(folder: Path, ours: Computed, *examples: Tensor) -> dict[str, str]:
    """Run the file on other batches and sizes than it was made with; its metadata."""
    session = onnxruntime.InferenceSession(folder / "n.onnx", providers=["CPUExecutionProvider"])
    for example in examples:
        with torch.no_grad():
            wanted = ours(example)
        found: Any = session.run(None, {session.get_inputs()[0].name: example.numpy()})
        for theirs, want in zip(found, wanted, strict=True):
            assert theirs.shape == want.shape
            assert np.abs(theirs - want.numpy()).max() <= 1e-4 * want.abs().max()
            assert want.std() > 0
    return session.get_modelmeta().custom_metadata_map


@pytest.mark.whole
@pytest.mark.parametrize(
    ("make", "labels"), [(person_detector, ["person", "dog"]), (part_detector, ["head", "hip"])], ids=["yolo", "maps"]
)
def test_a_detector_takes_any_number_of_pictures_of_any_size(
    tmp_path: Path, make: Callable[[Path], Computed], labels: list[str]
) -> None:
    ours = make(tmp_path)
    assert export(tmp_path, make.__name__).exit_code == 0
    about = same(tmp_path, ours, torch.rand(1, 3, 32, 32), torch.rand(3, 3, 160, 96))
    assert (json.loads(about["labels"]), about["normalisation"]) == (labels, "RGB, 0..1")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("make", "shape"),
    [(video_action, (8, 96, 96)), (segment_level, (8, 64, 64)), (instance_pcp, (8, 64, 64))],
    ids=["swin", "csn", "slowfast"],
)
def test_a_clip_network_takes_any_number_of_clips(
    tmp_path: Path, make: Callable[[Path], Computed], shape: tuple[int, ...]
) -> None:
    ours = make(tmp_path)
    done = export(tmp_path, make.__name__)
    assert done.exit_code == 0, done.output
    about = same(tmp_path, ours, torch.randn(1, 3, *shape), torch.randn(3, 3, *shape))
    assert about["normalisation"].startswith("RGB, 0..255, minus (")
    assert str(Path(__file__).parents[2]).encode() not in (tmp_path / "n.onnx").read_bytes()


@pytest.mark.whole
def test_imported_weights_say_their_licence(tmp_path: Path) -> None:
    size: dict[str, Any] = {"patch": (2, 4, 4), "embed": 16, "depths": (1, 1), "heads": (2, 4), "window": (2, 7, 7)}
    network = VideoSwin(**size, classes=5).eval()
    metadata = {
        "name": "own", "kind": "video_swin", "licence": "MIT", "normalisation": "RGB", "sha256": "0" * 64,
        "classes": "5", "settings": json.dumps(size),
    }  # fmt: skip
    lineage = Lineage(Store(tmp_path / "store"))
    (tmp_path / "own").mkdir()
    save_checkpoint(tmp_path / "own" / WEIGHTS, network.state_dict(), metadata=metadata)
    written = lineage.store.keep(tmp_path / "own", outputs.weights("own").path())
    lineage.record(Work(outputs.weights("own").key, None, (), (), ""), written, run_id="test")
    assert pretrained.metadata_of("own", lineage.store) == metadata
    assert export(tmp_path, "own").exit_code == 0
    about = same(tmp_path, lambda clips: (network(clips),), torch.randn(1, 3, 32, 224, 224))
    assert (about["name"], about["licence"]) == ("own", "MIT")


def test_what_cannot_be_exported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, "part_trajectory", {"w": torch.zeros(1)}, settings='{"kind": "part_trajectory"}')
    unknown = export(tmp_path, "part_detector")
    assert unknown.stderr == f"tps: {tmp_path}/store has no network part_detector; it has part_trajectory\n"
    assert "part_trajectory sees neither pictures nor clips" in export(tmp_path, "part_trajectory").stderr
    there = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name == "onnxscript" else there(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    missing = export(tmp_path, "part_trajectory")
    assert missing.stderr == "tps: ONNX files are written with onnxscript: pip install 'tps-pipeline[onnx]'\n"
    assert missing.exit_code == 1
    assert not (tmp_path / "n.onnx").exists()
