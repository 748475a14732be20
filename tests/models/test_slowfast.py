"""SlowFast against the references' numbers and names, and what short and narrow ones promise."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.models import published
from tps_pipeline.errors import WeightsError
from tps_pipeline.models import from_reference
from tps_pipeline.models.slowfast import SlowFast
from tps_pipeline.models.weights import read_weights

pytestmark = pytest.mark.whole

PARITY = Path(__file__).parent.parent / "golden" / "parity"
narrow = partial(SlowFast, depths=(1, 1, 1, 1), stem=16)
ava = partial(SlowFast, lateral_norms=True, temporal_blocks=6, non_local=(6, 13, 20), full_span=True)
"""As PySlowFast's AVA networks of 101 layers."""
narrow_ava = partial(ava, stem=8, depths=(1, 1, 21, 1))


def reference() -> dict[str, torch.Tensor]:
    """The reference's weights, drawn from each entry's name and shape alone."""
    weights = {}
    for name, shape in json.loads((PARITY / "slowfast_r101_acar_keys.json").read_text())["keys"]:
        random = np.random.default_rng(zlib.crc32(name.encode()))
        if name.endswith("running_var"):
            values = 0.5 + random.random(shape)
        elif name.endswith("running_mean"):
            values = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            values = random.standard_normal(shape) * np.sqrt(0.8 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 0.5 + random.random(shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def shuffled(network: nn.Module) -> nn.Module:
    """The network with statistics and weights that tell its layers apart, norms that begin with nothing included."""
    torch.manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return network.eval()


@torch.no_grad()
def test_features_of_both_pathways_are_the_references() -> None:
    golden = np.load(PARITY / "slowfast_r101_acar_seed0_16x64x64.npz")
    clip = 2 * np.random.default_rng(0).random((1, 3, 16, 64, 64), dtype=np.float32) - 1
    weights = reference()
    model = from_reference("slowfast_acar", weights, alpha=4, beta=0.125)
    assert not model.training
    for prefix in ("", "backbone."):
        named = {f"{prefix}{name}": tensor for name, tensor in weights.items()} | {"head.fc2.weight": torch.ones(1)}
        ours = from_reference("slowfast_acar", named)(torch.from_numpy(clip))
        for features, pathway in zip(ours, ("slow", "fast"), strict=True):
            assert features.shape == golden[pathway].shape
            assert np.abs(features.numpy() - golden[pathway]).max() <= 1e-4 * np.abs(golden[pathway]).max()


def test_weights_with_a_block_too_few_or_of_another_width_are_refused() -> None:
    weights = reference()
    del weights["slow_res3.22.conv1.weight"]
    with pytest.raises(WeightsError, match=r"1 missing \(blocks\.3\.multipathway_blocks\.0\.res_blocks\.22\.branch2"):
        from_reference("slowfast_acar", weights)
    with pytest.raises(WeightsError, match=r"not the weights of a SlowFast whose beta is 0\.25"):
        from_reference("slowfast_acar", reference(), beta=0.25)
    with pytest.raises(WeightsError, match="first layers are not there"):
        from_reference("slowfast_pyslowfast", reference())


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("slowfast_acar", narrow),
        ("slowfast_acar", partial(narrow, lateral_norms=True, lateral_kernel=7)),
        ("slowfast_pyslowfast", narrow_ava),
    ],
)
def test_published_tensors_tell_the_network_s_dimensions(kind: str, network: Callable[[], SlowFast]) -> None:
    ours = shuffled(network())
    theirs = from_reference(kind, getattr(published, kind)(ours))
    assert isinstance(theirs, SlowFast)
    assert str(theirs) == str(ours)
    assert (theirs.alpha, theirs.beta, theirs.full_span) == (4, 0.125, kind == "slowfast_pyslowfast")
    clip = torch.rand(1, 3, 8, 32, 32)
    for one, other in zip(ours(clip), theirs(clip), strict=True):
        torch.testing.assert_close(one, other)


class Malicious:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch stolen",)


@torch.no_grad()
@pytest.mark.parametrize("protocol", [2, 4])
def test_caffe2_files_of_the_model_zoo_are_read_and_only_their_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    ours = shuffled(narrow_ava())
    blobs = {name: tensor.numpy() for name, tensor in published.slowfast_caffe2(ours).items()}
    assert {
        "conv1_w", "res_conv1_bn_s", "t_res_conv1_bn_riv", "t_pool1_subsample_bn_rm", "res2_0_branch1_w",
        "t_res4_20_branch2c_bn_subsample_w", "t_res4_20_branch2c_bn_subsample_bn_s", "res4_5_branch2b_bn_b",
        "nonlocal_conv4_6_theta_w", "nonlocal_conv4_13_out_b", "nonlocal_conv4_20_bn_riv",
    } <= blobs.keys()  # fmt: skip
    training = {"conv1_w_momentum": np.ones(3, np.float32), "lr": np.ones(1, np.float32), "model_iter": np.ones(1, int)}
    head = {"pred_w": np.ones((80, 288), np.float32), "pred_b": np.ones(80, np.float32)}
    file = tmp_path / "zoo.pkl"
    file.write_bytes(pickle.dumps({"blobs": blobs | training | head}, protocol=protocol))
    theirs = from_reference("slowfast_pyslowfast", read_weights(file))
    clip = torch.rand(1, 3, 8, 32, 32)
    for one, other in zip(ours(clip), theirs(clip), strict=True):
        torch.testing.assert_close(one, other)
    monkeypatch.chdir(tmp_path)
    file.write_bytes(pickle.dumps({"blobs": blobs, "more": Malicious()}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"zoo\.pkl: .* not allowed to run: (posix|os)\.system"):
        read_weights(file)
    assert not (tmp_path / "stolen").exists()
    for content in (b"no pickle", pickle.dumps([1]), pickle.dumps({"blobs": 3})):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"zoo\.pkl: "):
            read_weights(file)


def test_pyslowfast_s_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = ava(depths=(3, 4, 23, 3))
    names = published.slowfast_pyslowfast(network).keys()
    assert {
        "s1.pathway0_stem.conv.weight", "s1.pathway1_stem.bn.running_var", "s1_fuse.conv_f2s.weight", "s4_fuse.bn.bias",
        "s2.pathway0_res0.branch1.weight", "s2.pathway0_res0.branch1_bn.weight", "s4.pathway1_res22.branch2.a.weight",
        "s5.pathway0_res2.branch2.c_bn.running_mean", "s4.pathway0_nonlocal6.conv_theta.bias",
        "s4.pathway0_nonlocal20.conv_out.weight", "s4.pathway0_nonlocal13.bn.weight",
    } <= names  # fmt: skip
    head = 80 * (2304 + 1)  # AVA's classes on both pathways' channels
    assert sum(parameter.numel() for parameter in network.parameters()) + head == pytest.approx(59.34e6, abs=5e3)


def test_depth_50_is_pytorchvideos_as_it_detects() -> None:
    from pytorchvideo.models.slowfast import create_slowfast  # after ours, see test_csn

    dilated = ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 2, 2))
    # Each takes more values than its annotation says.
    more: dict[str, Any] = {
        "stem_dim_outs": (16, 2),
        "stage_conv_b_dilations": (dilated, dilated),
        "stage_spatial_strides": ((1, 2, 2, 1), (1, 2, 2, 1)),
        "slowfast_fusion_conv_kernel_size": (5, 1, 1),
    }
    theirs = create_slowfast(model_depth=50, **more)
    stages = shuffled(nn.Sequential(*list(theirs.blocks)[:5]))  # pyright: ignore
    ours = SlowFast(depths=(3, 4, 6, 3), stem=16, lateral_norms=True).eval()
    ours.blocks.load_state_dict(stages.state_dict())
    clip = torch.rand(2, 3, 8, 40, 32)
    with torch.no_grad():
        for one, other in zip(ours(clip), stages([clip[:, :, ::4], clip]), strict=True):
            torch.testing.assert_close(one, other)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(4, 32, 32), (8, 50, 70)])
def test_a_place_is_16_pixels_wide_and_a_clip_is_described_alike_in_a_batch_or_alone(
    shape: tuple[int, int, int],
) -> None:
    model = narrow().eval()
    clips = torch.rand(2, 3, *shape)
    kept = clips.clone()
    slow, fast = model(clips)
    frames, height, width = shape[0], -(-shape[1] // 16), -(-shape[2] // 16)
    assert slow.shape == (2, model.channels[0], frames // 4, height, width)
    assert fast.shape == (2, model.channels[1], frames, height, width)
    assert torch.equal(clips, kept)
    torch.testing.assert_close(model(clips[1:])[0], slow[1:], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no multiple of alpha, 4"):
        model(clips[:, :, :3])


@pytest.mark.parametrize(("full_span", "expected"), [(False, [0, 4, 8, 12]), (True, [0, 5, 10, 15])])
def test_the_slow_pathway_s_frames(full_span: bool, expected: list[int]) -> None:
    model = narrow(full_span=full_span).eval()
    seen = []

    def see(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen.extend(given[0][0, 0, :, 0, 0].tolist())

    model.blocks[0].get_submodule("multipathway_blocks.0").register_forward_pre_hook(see)
    model(torch.arange(16.0).view(1, 1, 16, 1, 1).expand(1, 3, 16, 32, 32))
    assert seen == expected


def test_frozen_norms_keep_their_statistics_while_the_rest_learns() -> None:
    clips = torch.rand(2, 3, 4, 32, 32)
    for frozen in (True, False):
        model = narrow(frozen_norms=frozen).train()
        stem: Any = model.blocks[0].get_submodule("multipathway_blocks.0")
        before = stem.norm.running_mean.clone()
        sum(features.sum() for features in model(clips)).backward()  # pyright: ignore
        assert torch.equal(before, stem.norm.running_mean) == frozen
        assert stem.conv.weight.grad is not None


def test_acar_s_names_are_the_published_ones() -> None:
    with torch.device("meta"):
        tensors = published.slowfast_acar(SlowFast(depths=(3, 4, 23, 3)))
    names = {name.removeprefix("backbone.") for name in tensors if not name.endswith("num_batches_tracked")}
    assert names == published.names("slowfast_r101_acar")
