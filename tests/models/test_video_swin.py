"""Video Swin against the reference's numbers, and what inflation promises."""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torchvision.models.video import swin3d_b, swin3d_s, swin3d_t

from tps_pipeline.errors import RecipeError, WeightsError
from tps_pipeline.models import from_reference
from tps_pipeline.models.video_swin import GradientPatches, VideoSwin, inflate
from tps_pipeline.models.weights import load_into

pytestmark = pytest.mark.whole

PARITY = Path(__file__).parent.parent / "golden" / "parity"
narrow = partial(VideoSwin, embed=16, depths=(1, 2), heads=(2, 4), window=(4, 4, 4))


def reference() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The reference's weights, drawn from each entry's name and shape alone, and its dimensions."""
    file = json.loads((PARITY / "video_swin_tiny_keys.json").read_text())
    weights = {}
    for name, shape in file["keys"]:
        random = np.random.default_rng(zlib.crc32(name.removeprefix("backbone.").encode()))
        if name.endswith("relative_position_bias_table"):
            values = 0.5 * random.standard_normal(shape)
        elif len(shape) >= 2:
            values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 0.5 + random.random(shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights, file["config"]


@torch.no_grad()
def test_features_are_the_references() -> None:
    weights, config = reference()
    golden = np.load(PARITY / "video_swin_tiny_seed0_8x64x64.npz")["features"]
    clip = 2 * np.random.default_rng(0).random((1, 3, 8, 64, 64), dtype=np.float32) - 1
    model = from_reference("video_swin", weights, **config)
    ours = model(torch.from_numpy(clip)).numpy()
    assert not model.training
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() <= 1e-4 * np.abs(golden).max()


@torch.no_grad()
def test_other_published_names_are_the_same_network() -> None:
    weights, config = reference()
    clip = torch.rand(1, 3, 4, 32, 32)
    features = from_reference("video_swin", weights, **config)(clip)
    renamed = {name.replace("backbone.norm.", "backbone.norm3."): tensor for name, tensor in weights.items()}
    head = {"cls_head.fc_cls.weight": torch.randn(5, 768), "cls_head.fc_cls.bias": torch.randn(5)}
    logits = from_reference("video_swin", renamed | head, **config)(clip)
    expected = features.mean((2, 3, 4)) @ head["cls_head.fc_cls.weight"].T + head["cls_head.fc_cls.bias"]
    torch.testing.assert_close(logits, expected)


def test_weights_of_another_size_are_refused() -> None:
    weights, config = reference()
    with pytest.raises(WeightsError, match="of another shape"):
        from_reference("video_swin", weights, **(config | {"window_size": [16, 7, 7]}))
    with pytest.raises(WeightsError, match="missing"):
        from_reference("video_swin", {"backbone.norm.weight": torch.ones(768)}, **config)


@torch.no_grad()
def test_inflated_image_network_gives_a_static_clip_the_pictures_features() -> None:
    image_network: Any = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=112, embed_dim=32, depths=(2, 2), num_heads=(2, 4), num_classes=0
    ).eval()
    model = VideoSwin(embed=32, depths=(2, 2), heads=(2, 4), window=(4, 7, 7)).eval()
    fit = load_into(model, inflate(image_network.state_dict(), patch_frames=2, window_frames=4))
    assert all(name.endswith("relative_position_index") for name in fit.missing)
    assert not fit.unexpected
    assert not fit.reshaped
    picture = torch.rand(1, 3, 112, 112)
    features = image_network.forward_features(picture).permute(0, 3, 1, 2)
    static = model(picture.unsqueeze(2).repeat(1, 1, 16, 1, 1))
    torch.testing.assert_close(static, features.unsqueeze(2).expand_as(static), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("published", "embed", "depth", "heads"), [(swin3d_t, 96, 6, 3), (swin3d_s, 96, 18, 3), (swin3d_b, 128, 18, 4)]
)
def test_published_sizes_are_torchvisions(published: Any, embed: int, depth: int, heads: int) -> None:
    size: dict[str, Any] = {
        "depths": (2, 2, depth, 2),
        "heads": (heads, 2 * heads, 4 * heads, 8 * heads),
        "window": (8, 7, 7),
    }
    with torch.device("meta"):
        ours, theirs = VideoSwin(embed=embed, **size, classes=400).state_dict(), published().state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}


@torch.no_grad()
def test_any_length_and_size_is_classified_alike_in_a_batch_or_alone() -> None:
    model = narrow(classes=6).eval()
    clips = torch.rand(2, 3, 5, 30, 45)
    assert model(clips).shape == (2, 6)
    torch.testing.assert_close(model(clips)[1:], model(clips[1:]), rtol=1e-4, atol=1e-5)


def stripes(angle: float, frames: int = 4) -> torch.Tensor:
    """A grating whose lines run at an angle, (1, 3, T, 32, 32)."""
    rows, columns = np.mgrid[:32, :32]
    wave = np.sin(0.8 * (columns * np.sin(angle) + rows * np.cos(angle)))
    return torch.from_numpy(wave.astype(np.float32)).expand(1, 3, frames, 32, 32)


def test_gradients_tell_orientation_and_neither_sign_nor_contrast() -> None:
    patches = GradientPatches((2, 8, 8), 16)
    for index in range(patches.ORIENTATIONS):
        picture = stripes(np.pi / 2 - np.pi * index / patches.ORIENTATIONS)[:, :, 0]
        found = patches.histograms(picture)
        assert found[0, :, 2, 2].argmax() == index
        torch.testing.assert_close(patches.histograms(-picture), found)
        torch.testing.assert_close(patches.histograms(3 * picture), found, rtol=0, atol=0.1)
    assert patches(stripes(0.3)).shape == (1, 2, 4, 4, 16)


def test_gradient_patches_must_be_whole_cells() -> None:
    with pytest.raises(RecipeError, match="multiples of 4"):
        narrow(gradients=True, patch=(2, 6, 6))
