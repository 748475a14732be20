"""Weight files: what is read, what is refused, what is carried over."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.models.published import official_model
from tps_pipeline.errors import WeightsError
from tps_pipeline.models import from_reference
from tps_pipeline.models.weights import load_checkpoint, load_into, load_strictly, read_weights, save_checkpoint
from tps_pipeline.models.yolov7 import YOLOv7, reference_names


def test_official_yolov7_file_is_read_without_its_classes(official: dict[str, type[nn.Module]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = YOLOv7("tiny", classes=1).eval()
    state = {name: tensor.half().float() for name, tensor in ours.state_dict().items()}
    ours.load_state_dict(state)
    tensors = {theirs: state[name] for theirs, name in reference_names(ours).items()}
    tensors["model.77.anchors"] = state["head.anchors"] / torch.tensor([8, 16, 32]).view(3, 1, 1)
    content = {
        "epoch": -1,
        "best_fitness": np.array([0.5]),
        "mean": np.float64(0.5),
        "model": official_model(official, tensors),
        "ema": None,
        "optimizer": None,
        "training_results": "text",
    }
    torch.save(content, tmp_path / "yolov7-tiny.pt")
    for name in ("models.yolo", "models.common", "models"):
        del sys.modules[name]
    read = read_weights(tmp_path / "yolov7-tiny.pt")
    assert set(read) == set(tensors)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(from_reference("yolov7_tiny", read)(image)[0], ours(image)[0])


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_executed(tmp_path: Path, legacy: bool) -> None:
    bomb = {"weight": torch.zeros(2), "payload": Malicious(tmp_path / "executed")}
    torch.save(bomb, tmp_path / "bomb.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"bomb\.pt: .*PyTorch 1\.6" if legacy else r"not allowed to run: .*system"):
        read_weights(tmp_path / "bomb.pt")
    assert not (tmp_path / "executed").exists()


def test_state_dicts_are_found_where_training_scripts_put_them(tmp_path: Path) -> None:
    state = {"layer.weight": torch.arange(3.0)}
    wrapped = {"module.layer.weight": torch.arange(3.0)}
    for content in (
        state,
        wrapped,
        {"state_dict": wrapped, "epoch": 3, "optimizer": {"state": {0: torch.zeros(9)}}},
        {"meta": {"version": "1"}, "state_dict": state},
        {"model": wrapped, "ema": None},
        {"model": {"layer.weight": torch.zeros(3)}, "ema": state},
    ):
        for legacy in (False, True):  # PyTorch wrote no zip archives before 1.6
            torch.save(content, tmp_path / "weights.pth", _use_new_zipfile_serialization=not legacy)
            read = read_weights(tmp_path / "weights.pth")
            assert list(read) == ["layer.weight"]
            assert read["layer.weight"].tolist() == [0, 1, 2]
    save_file(state, tmp_path / "weights.safetensors")
    assert read_weights(tmp_path / "weights.safetensors")["layer.weight"].tolist() == [0, 1, 2]


def test_digest_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(1)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(read_weights(path, sha256=digest.upper())) == {"a"}
    with pytest.raises(WeightsError, match=f"SHA-256 is {digest}, not 00"):
        read_weights(path, sha256="00" * 32)


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weight file"):
        read_weights(tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(WeightsError, match="holds no tensors"):
        read_weights(tmp_path / "empty.pt")
    whole = (tmp_path / "empty.pt").read_bytes()
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "short.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "short.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    for name in ("text.pt", "pickle.pt", "short.pt", "short.safetensors"):
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)


def test_a_head_of_another_class_count_stays_as_initialised() -> None:
    torch.manual_seed(0)
    pretrained = YOLOv7("tiny", classes=80, width=0.125)
    model = YOLOv7("tiny", classes=11, width=0.125, anchors=np.full((9, 2), 7))
    head, stem = model.head.levels[0].get_parameter("weight").clone(), model.stem[0].get_parameter("conv.weight")
    fit = load_into(model, pretrained.state_dict() | {"other": torch.ones(1)}, keep={"head.anchors"})
    assert set(fit.reshaped) == {f"head.levels.{i}.{name}" for i in range(3) for name in ("weight", "bias", "multiply")}
    assert (fit.missing, fit.unexpected) == ((), ("other",))
    assert len(fit.loaded) == len(model.state_dict()) - len(fit.reshaped) - 1
    assert torch.equal(model.head.levels[0].get_parameter("weight"), head)
    assert torch.equal(stem, pretrained.stem[0].get_parameter("conv.weight"))
    assert model.head.anchors.eq(7).all()
    with pytest.raises(WeightsError, match=r"not the weights of YOLOv7: .*1 unexpected \(other\)"):
        load_into(model, {"other": torch.ones(1)})


def test_own_checkpoints_round_trip_with_their_metadata(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = YOLOv7("tiny", classes=2, width=0.125, anchors=np.arange(18).reshape(9, 2))
    save_checkpoint(tmp_path / "model.safetensors", model.state_dict(), metadata={"classes": "2"})
    state, metadata = load_checkpoint(tmp_path / "model.safetensors")
    assert metadata == {"classes": "2"}
    other = YOLOv7("tiny", classes=2, width=0.125)
    load_strictly(other, state)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(WeightsError, match="of another shape"):
        load_strictly(YOLOv7("tiny", classes=3, width=0.125), state)


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    strings = dict.fromkeys("abcdefgh", "x")
    for number in range(4):
        save_checkpoint(tmp_path / str(number), {"w": torch.ones(3)}, metadata=strings)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(4)}) == 1
    assert load_checkpoint(tmp_path / "0")[1] == strings
