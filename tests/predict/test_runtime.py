"""ONNX Runtime in PyTorch's place finds the same, but for the last digits."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import picture, write_clip
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.detection import detector
from tps_pipeline.models import onnx
from tps_pipeline.models.kept import Networks, keeping, kept

PERSON, _ = recipe.load("demo").trained_detectors
METHODS = ["segment_level", "instance_pcp", "part_state_detector", "video_category"]
KEYS = ["frame", "person", "part", "state"]
SCORES = ["person_score", "part_score", "state_score"]
CORNERS = ["x1", "y1", "x2", "y2", "person_x1", "person_y1", "person_x2", "person_y2"]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "tps_pipeline" / "onnx"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crowded = {"person_threshold": 0.0, "people_per_frame": 2}
    return make_store(tmp_path_factory.mktemp("store"), methods=METHODS, two_stage=crowded)


@pytest.fixture(scope="module")
def shared() -> Networks:
    return Networks("onnx")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[:-1])
def test_the_same_is_found(method: str, store: Path, shared: Networks, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 7)
    other = tps_pipeline.load(store, method=method, runtime="onnx")
    other._networks = shared
    ours, theirs = tps_pipeline.load(store, method=method)(clip), other(clip)
    assert repr(shared.loaded).count("_OnnxRuntime") >= 4
    assert theirs.video_actions["score"].to_pylist() == pytest.approx(ours.video_actions["score"].to_pylist(), abs=1e-4)
    table, rows = ours.to_pandas(), theirs.to_pandas()
    assert len(table) == 2 * 2 * 10
    assert (table[KEYS].astype(str) == rows[KEYS].astype(str)).to_numpy().mean() > 0.95  # states may be as likely
    np.testing.assert_allclose(rows[SCORES], table[SCORES], atol=1e-4)
    assert (rows[CORNERS] - table[CORNERS]).abs().to_numpy().max() <= 1


def test_a_network_is_run_by_it_where_that_is_asked():
    network = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Dropout(), nn.Flatten(2)).eval()
    clips = torch.randn(5, 3, 4, 6, 6)
    with keeping(Networks("torch")):
        assert onnx.as_asked(network, clips[:2]) is network
    with keeping(Networks("onnx")), torch.inference_mode():
        run = onnx.as_asked(network, clips[:2])
        assert run is not network
        torch.testing.assert_close(run(clips), network(clips), rtol=1e-4, atol=1e-4)
    assert next(run.parameters()).device.type == "cpu"


@kept
def load(path: Path, *, strides: int = 1) -> nn.Module:
    network = nn.Conv2d(3, 2, 1, stride=strides)
    network.load_state_dict(load_file(path))
    return onnx.as_asked(network, torch.zeros(2, 3, 4, 4))


def test_an_export_is_kept_by_what_it_is_made_from_and_made_again_where_it_is_damaged(cache: Path, tmp_path: Path):
    def run(path: Path, strides: int = 1) -> Tensor:
        with keeping(Networks("onnx")), torch.inference_mode():
            return load(path, strides=strides)(pictures)

    def there() -> dict[str, int]:
        return {file.name: file.stat().st_ino for file in cache.iterdir()} if cache.exists() else {}

    pictures, before = torch.randn(3, 3, 4, 4), there()
    save_file(nn.Conv2d(3, 2, 1).state_dict(), tmp_path / "a.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    found = run(tmp_path / "a.safetensors")
    ((name, inode),) = there().items() - before.items()
    assert torch.equal(run(tmp_path / "b.safetensors"), found)
    assert run(tmp_path / "a.safetensors", strides=2).shape != found.shape
    assert there()[name] == inode
    assert len(there()) == len(before) + 2
    (cache / name).write_bytes((cache / name).read_bytes()[:-1])
    assert torch.equal(run(tmp_path / "a.safetensors"), found)
    assert there()[name] != inode
    os.utime(cache / name, (0, 0))
    save_file(nn.Conv2d(3, 2, 1).state_dict(), tmp_path / "b.safetensors")
    assert not torch.equal(run(tmp_path / "b.safetensors"), found)
    assert name not in there()  # nobody has asked for it for long


@pytest.mark.slow
def test_a_detector_is_run_by_it_and_sees_pictures_of_any_shape(tmp_path: Path):
    settings = PERSON.model_copy(update={"network": recipe.Yolov7(variant="tiny", width=0.125, depth=0.5)})
    network = detector.build(settings.network, classes=1)
    detector.save(tmp_path / "n.safetensors", network.state_dict(), settings, ["person"])
    pictures = [picture(0), picture(1), picture(2, 64, 160)]
    inference = recipe.DetectorInference(canvas="rectangle")
    ours = detector.load(tmp_path / "n.safetensors", inference=inference)
    with keeping(networks := Networks("onnx")):
        theirs = detector.load(tmp_path / "n.safetensors", inference=inference)
        assert detector.load(tmp_path / "n.safetensors", inference=inference) is theirs
    assert len(networks.loaded) == 1
    assert type(theirs.network) is not type(ours.network)
    for found, wanted in zip(theirs(theirs.prepare(pictures)), ours(ours.prepare(pictures)), strict=True):
        for value, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-4)


def test_where_it_is_not_installed_that_is_one_line(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    there = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name == "onnxruntime" else there(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    clip, fixed = str(write_clip(tmp_path / "a.mp4", 2)), ["--store", str(store), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["predict", clip, "--runtime", "onnx", "--method", "video_category", *fixed])
    assert done.exit_code == 1
    assert done.stderr == "tps: ONNX files are written and run with onnxruntime: pip install 'tps-pipeline[onnx]'\n"
