"""YOLOv7 against the reference's numbers, and its own invariants."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tps_pipeline.errors import WeightsError
from tps_pipeline.models import from_reference
from tps_pipeline.models.yolov7 import YOLOv7, reference_names

PARITY = Path(__file__).parent.parent / "golden" / "parity"
SIZE = {"yolov7_tiny": 6_228_762, "yolov7x": 71_347_394}


def reference_tensor(name: str, shape: list[int], *, gain: float = 2.2) -> torch.Tensor:
    """What the golden outputs were computed with: numbers drawn from an entry's name and shape alone."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "implicit":
        values = (".im." in name) + 0.1 * random.standard_normal(shape)
    elif len(shape) >= 2:
        values = random.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:]))
    elif leaf in ("running_var", "weight"):
        values = 0.5 + random.random(shape)
    else:
        values = 0.1 * random.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def reference_weights(kind: str) -> dict[str, torch.Tensor]:
    keys = json.loads((PARITY / f"{kind}_keys.json").read_text())["keys"]
    return {name: reference_tensor(name, shape) for name, shape in keys}


def reference_image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, 96, 128), dtype=np.float32))


def assert_agrees(ours: torch.Tensor, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    assert np.abs(ours.numpy() - reference).max() <= 1e-4 * np.abs(reference).max()


def assert_is_reference(kind: str, decoded: torch.Tensor, raw: list[torch.Tensor]) -> None:
    golden = np.load(PARITY / f"{kind}_seed0_96x128.npz")
    for level, ours in enumerate(raw):
        assert_agrees(ours, golden[f"raw{level}"])
    assert_agrees(decoded[0, :64], golden["decoded_first64"])
    assert_agrees(decoded[0, -64:], golden["decoded_last64"])


@pytest.mark.parametrize("kind", SIZE)
@torch.no_grad()
def test_outputs_are_those_of_the_reference_fused_or_not(kind: str) -> None:
    model = from_reference(kind, reference_weights(kind))
    assert isinstance(model, YOLOv7)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == SIZE[kind]
    assert_is_reference(kind, *model(reference_image()))
    assert_is_reference(kind, *model.fuse()(reference_image()))


@torch.no_grad()
def test_deployed_checkpoint_has_its_implicit_knowledge_folded_in() -> None:
    weights = reference_weights("yolov7_tiny")
    for level in range(3):
        add = weights.pop(f"model.77.ia.{level}.implicit")
        multiply = weights.pop(f"model.77.im.{level}.implicit")
        weight, bias = weights[f"model.77.m.{level}.weight"], weights[f"model.77.m.{level}.bias"]
        bias += (weight * add).sum((1, 2, 3))
        bias *= multiply.flatten()
        weight *= multiply.view(-1, 1, 1, 1)
    assert_is_reference("yolov7_tiny", *from_reference("yolov7_tiny", weights)(reference_image()))


def test_class_count_and_anchors_come_from_the_checkpoint() -> None:
    small = YOLOv7("tiny", classes=3)
    state = small.state_dict()
    weights = {theirs: state[ours].half() for theirs, ours in reference_names(small).items() if "num_b" not in theirs}
    weights["model.77.anchors"] = torch.arange(18.0).view(3, 3, 2)
    weights["model.77.anchor_grid"] = torch.zeros(3, 1, 3, 1, 1, 2)
    model = from_reference("yolov7_tiny", weights)
    assert isinstance(model, YOLOv7)
    assert model.head.classes == 3
    assert model.head.anchors[2, 2].tolist() == [16 * 32, 17 * 32]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_ill_fitting_checkpoints_are_refused_by_name() -> None:
    weights = reference_weights("yolov7_tiny")
    with pytest.raises(WeightsError, match=r"unknown kind.*yolov9.*yolov7x, yolov7_tiny"):
        from_reference("yolov9", weights)
    with pytest.raises(WeightsError, match=r"head\.levels\.0\.bias: \(255,\) instead of \(36,\)"):
        from_reference("yolov7_tiny", weights, classes=7)
    weights["extra"] = weights.pop("model.9.bn.bias")
    with pytest.raises(WeightsError, match=r"1 missing \(model\.9\.bn\.bias\); 1 unexpected \(extra\)"):
        from_reference("yolov7_tiny", weights)
    with pytest.raises(WeightsError, match=r"missing .*unexpected"):
        from_reference("yolov7x", weights)


@pytest.mark.parametrize(("variant", "depth"), [("tiny", 1.0), ("x", 0.34)])
def test_narrow_members_keep_the_interface(variant: str, depth: float) -> None:
    anchors = np.arange(18).reshape(9, 2) + 4
    model = YOLOv7("tiny" if variant == "tiny" else "x", classes=4, width=0.125, depth=depth, anchors=anchors)
    images = torch.rand(2, 3, 64, 96)
    shapes = [(2, 3, 8, 12, 9), (2, 3, 4, 6, 9), (2, 3, 2, 3, 9)]
    assert [level.shape for level in model(images)] == shapes
    decoded, raw = model.eval()(images)
    assert [level.shape for level in raw] == shapes
    assert decoded.shape == (2, 3 * (96 + 24 + 6), 9)
    assert model.head.anchors.view(9, 2).tolist() == anchors.tolist()
    assert sum(p.numel() for p in model.parameters()) < 1.2e6


def test_decoding_puts_a_zero_map_at_cell_centres_with_anchor_sizes() -> None:
    model = YOLOv7("tiny", classes=1, width=0.125)
    raw = [torch.zeros(1, 3, 4 // n, 8 // n, 6) for n in (1, 2, 4)]
    decoded = model.head.decode(raw)
    assert decoded[0, 8 + 3].tolist() == pytest.approx([3.5 * 8, 1.5 * 8, 10, 13, 0.5, 0.5])
    assert decoded[0, -1].tolist() == pytest.approx([1.5 * 32, 0.5 * 32, 373, 326, 0.5, 0.5])


def test_a_seed_fixes_the_initial_weights_and_objects_start_rare() -> None:
    def build() -> YOLOv7:
        torch.manual_seed(5)
        return YOLOv7("tiny", classes=10, width=0.125)

    first, second = build(), build()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with torch.no_grad():
        decoded, _ = first.eval()(torch.rand(1, 3, 64, 64))
    assert decoded[..., 4].max() < 0.1
    assert float(decoded[..., 5:].mean()) == pytest.approx(0.06, abs=0.03)
