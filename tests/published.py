"""Our networks' weights under the names that their authors published them with, and as small as our networks are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from torch import Tensor, nn

PARITY = Path(__file__).parent / "golden" / "parity"
_LAYER = {"conv": "conv", "norm": "bn"}


def names(kind: str) -> set[str]:
    """The names in a published file, as the authors' own code gives them."""
    return {name for name, _ in json.loads((PARITY / f"{kind}_keys.json").read_text())["keys"]}


def video_swin(network: nn.Module) -> dict[str, Tensor]:
    """Video Swin, as its authors and MMAction2 name it."""
    return {_swin(name): tensor for name, tensor in network.state_dict().items()}


def ir_csn(network: nn.Module) -> dict[str, Tensor]:
    """ir-CSN, as MMAction2 names it."""
    return {_csn(name): tensor for name, tensor in network.state_dict().items()}


def _swin(name: str) -> str:
    name = re.sub(r"^features\.(\d)\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}.", name)
    name = re.sub(r"^features\.(\d)\.", lambda m: f"layers.{int(m[1]) // 2}.downsample.", name)
    name = name.replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
    return f"cls_head.fc_cls.{name[5:]}" if name.startswith("head.") else f"backbone.{name}"


def _csn(name: str) -> str:
    name = re.sub(r"^blocks\.0\.(conv|norm)", lambda m: f"conv1.{_LAYER[m[1]]}", name)
    name = re.sub(r"^blocks\.(\d)\.res_blocks\.(\d+)\.", r"layer\1.\2.", name)
    for number, letter in enumerate("abc", 1):
        inner = "0." if letter == "b" else ""
        convolution = f"conv{number}.{inner}"
        name = re.sub(rf"branch2\.(conv|norm)_{letter}", lambda m, c=convolution: c + _LAYER[m[1]], name)
    name = re.sub(r"branch1_(conv|norm)", lambda m: f"downsample.{_LAYER[m[1]]}", name)
    return name.replace("blocks.5.proj", "cls_head.fc_cls") if name.startswith("blocks.5") else f"backbone.{name}"
