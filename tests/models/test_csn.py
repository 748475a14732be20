"""ir-CSN against the reference's numbers, and what short and narrow ones promise."""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tps_pipeline.errors import WeightsError
from tps_pipeline.models import from_reference
from tps_pipeline.models.csn import DEPTHS, Csn

pytestmark = pytest.mark.whole

PARITY = Path(__file__).parent.parent / "golden" / "parity"
narrow = partial(Csn, depths=(1, 1, 1, 1), stem=8, classes=6)


def reference() -> dict[str, torch.Tensor]:
    """The reference's weights, drawn from each entry's name and shape alone."""
    weights = {}
    for name, shape in json.loads((PARITY / "ir_csn_50_mm_keys.json").read_text())["keys"]:
        random = np.random.default_rng(zlib.crc32(name.removeprefix("backbone.").encode()))
        if name.endswith("running_var"):
            values = 0.5 + random.random(shape)
        elif name.endswith("running_mean"):
            values = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 0.5 + random.random(shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


@torch.no_grad()
def test_features_are_the_references() -> None:
    golden = np.load(PARITY / "ir_csn_50_mm_seed0_8x64x64.npz")["features"]
    clip = 2 * np.random.default_rng(0).random((1, 3, 8, 64, 64), dtype=np.float32) - 1
    model = from_reference("ir_csn", reference(), depth=50)
    ours = model(torch.from_numpy(clip)).numpy()
    assert not model.training
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() <= 1e-4 * np.abs(golden).max()


@torch.no_grad()
def test_a_published_classifier_is_taken_over() -> None:
    head = {"cls_head.fc_cls.weight": torch.randn(5, 2048), "cls_head.fc_cls.bias": torch.randn(5)}
    clip = torch.rand(1, 3, 4, 32, 32)
    features = from_reference("ir_csn", reference())(clip)
    logits = from_reference("ir_csn", reference() | head)(clip)
    expected = features.mean((2, 3, 4)) @ head["cls_head.fc_cls.weight"].T + head["cls_head.fc_cls.bias"]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_another_depth_are_refused() -> None:
    with pytest.raises(WeightsError, match="missing"):
        from_reference("ir_csn", reference(), depth=152)


@pytest.mark.parametrize("depth", [50, 152])
def test_published_depths_are_pytorchvideos(depth: int) -> None:
    from pytorchvideo.models.csn import create_csn  # warns of TorchScript unless tps_pipeline imports it first

    with torch.device("meta"):
        ours = Csn(depths=DEPTHS[depth], classes=400).state_dict()
        theirs = create_csn(model_depth=depth, stem_pool=nn.MaxPool3d).state_dict()  # pyright: ignore[reportArgumentType]
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 32, 32), (5, 30, 45), (16, 64, 48)])
def test_any_length_and_size_is_classified_alike_in_a_batch_or_alone(shape: tuple[int, int, int]) -> None:
    model = narrow().eval()
    clips = torch.rand(2, 3, *shape)
    assert model(clips).shape == (2, 6)
    torch.testing.assert_close(model(clips)[1:], model(clips[1:]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_fused_network_sees_the_same() -> None:
    model, clips = from_reference("ir_csn", reference()), torch.rand(2, 3, 5, 48, 32)
    assert isinstance(model, Csn)
    before = model(clips)
    after = model.fuse()(clips)
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()
    assert not any(isinstance(module, nn.BatchNorm3d) for module in model.modules())


def test_frozen_norms_keep_their_statistics_while_the_rest_learns() -> None:
    clips = torch.rand(2, 3, 4, 32, 32)
    for frozen in (True, False):
        model = narrow(frozen_norms=frozen).train()
        before = model.blocks[0].norm.running_mean.clone()  # pyright: ignore
        model(clips).sum().backward()
        assert torch.equal(before, model.blocks[0].norm.running_mean) == frozen  # pyright: ignore
        assert model.blocks[0].conv.weight.grad is not None  # pyright: ignore
