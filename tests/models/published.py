"""Our networks' weights under the names that their authors published them with, and as small as our networks are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from torch import Tensor, nn

PARITY = Path(__file__).parent.parent / "golden" / "parity"
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


def slowfast_acar(network: nn.Module) -> dict[str, Tensor]:
    """SlowFast, as ACAR-Net names it: the 101-layer network has no lateral norms."""
    normed = any("_fusion.norm." in name for name in network.state_dict())
    return {_acar(name, normed): tensor for name, tensor in network.state_dict().items()}


def slowfast_pyslowfast(network: nn.Module) -> dict[str, Tensor]:
    """SlowFast, as PySlowFast names it."""
    return {_pyslowfast(name): tensor for name, tensor in network.state_dict().items()}


def slowfast_caffe2(network: nn.Module) -> dict[str, Tensor]:
    """SlowFast, as the Caffe2 files of PySlowFast's model zoo name it."""
    counted = {name: t for name, t in slowfast_pyslowfast(network).items() if not name.endswith("num_batches_tracked")}
    last = {m[1]: m[2] for name in counted if (m := re.match(r"s(\d)\.pathway1_res(\d+)\.", name))}
    return {_caffe2(name, last): tensor for name, tensor in counted.items()}


def _caffe2(name: str, last: dict[str, str]) -> str:
    base, _, kind = name.rpartition(".")
    norm = base.endswith("bn")
    kinds = {"weight": "s" if norm else "w", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    fast = "t_" if "pathway1" in base or "_fuse" in base else ""
    base = re.sub(r"\.pathway[01]_", ".", base)
    base = re.sub(r"^s1\.stem\.conv", "conv1", base).replace("s1.stem.bn", "res_conv1_bn")
    base = base.replace("s1_fuse.", "pool1_subsample.")
    base = re.sub(r"^s(\d)_fuse\.", lambda m: f"res{m[1]}_{last[m[1]]}_branch2c_bn_subsample.", base)
    base = base.replace("subsample.conv_f2s", "subsample").replace("subsample.bn", "subsample_bn")
    base = re.sub(r"^s(\d)\.res(\d+)\.branch", r"res\1_\2_branch", base).replace("branch2.", "branch2")
    base = re.sub(r"^s(\d)\.nonlocal(\d+)\.(?:conv_)?", r"nonlocal_conv\1_\2_", base)
    return f"{fast}{base}_{kinds[kind]}"


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


def _acar(name: str, normed: bool) -> str:
    stage, rest = int(name.split(".")[1]), name.split(".", 2)[2]
    if rest.startswith("multipathway_fusion"):
        place = {"conv_fast_to_slow": "0." * normed, "norm": "1."}[rest.split(".")[1]]
        return f"backbone.Tconv{stage + 1}.{place}{rest.split('.')[2]}"
    pathway, rest = ("slow", "fast")[int(rest.split(".")[1])], rest.split(".", 2)[2]
    if stage == 0:
        return f"backbone.{pathway}_{rest.replace('conv.', 'conv1.').replace('norm.', 'bn1.')}"
    rest = re.sub(r"branch2\.(conv|norm)_([abc])", lambda m: f"{_LAYER[m[1]]}{' abc'.index(m[2])}", rest)
    rest = rest.replace("branch1_conv", "downsample.0").replace("branch1_norm", "downsample_bn")
    return f"backbone.{pathway}_res{stage}.{rest.removeprefix('res_blocks.')}"


def _pyslowfast(name: str) -> str:
    name = re.sub(r"^blocks\.(\d)\.", lambda m: f"s{int(m[1]) + 1}.", name)
    name = name.replace(".multipathway_fusion.conv_fast_to_slow", "_fuse.conv_f2s")
    name = name.replace(".multipathway_fusion.norm", "_fuse.bn")
    name = re.sub(r"multipathway_blocks\.(\d)\.(conv|norm)", lambda m: f"pathway{m[1]}_stem.{_LAYER[m[2]]}", name)
    name = re.sub(r"multipathway_blocks\.(\d)\.res_blocks\.(\d+)", r"pathway\1_res\2", name)
    name = re.sub(r"res(\d+)\.activation\.1\.", r"nonlocal\1.", name).replace(".norm.", ".bn.")
    name = re.sub(r"branch2\.(conv|norm)_([abc])", lambda m: f"branch2.{m[2]}{'_bn' * (m[1] == 'norm')}", name)
    return name.replace("branch1_conv", "branch1").replace("branch1_norm", "branch1_bn")


def official_model(classes: dict[str, type[nn.Module]], tensors: dict[str, Tensor]) -> nn.Module:
    """A pickled model as the reference writes it: its classes and their tensors, in half precision."""
    model = classes["Model"]()
    layers = nn.Sequential()
    model.add_module("model", layers)
    vars(model).update(names=["person"], save={1})
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")[1:]
        parent: nn.Module = layers
        for i, part in enumerate(path):
            if part not in parent._modules:
                kind = {"conv": nn.Conv2d(1, 1, 1, bias=False), "bn": nn.BatchNorm2d(1), "m": nn.ModuleList()}.get(part)
                parent.add_module(part, kind or classes["Conv" if i == 0 else "ImplicitA"]())
            parent = parent.get_submodule(part)
        if leaf in ("anchors", "anchor_grid", "num_batches_tracked") or leaf.startswith("running"):
            parent._buffers[leaf] = tensor
        else:
            parent._parameters[leaf] = nn.Parameter(tensor)
    return model.half()
