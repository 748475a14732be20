"""What a name of a store means as an ONNX file: a trained detector or clip network, or imported weights of one.

A file takes what the network takes (`normalisation` in its metadata), and gives what it gives: no box is suppressed,
and of the people's method it has the SlowFast alone, as what follows depends on who is in a clip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim

from tps_pipeline import outputs, recipe
from tps_pipeline.clips import networks
from tps_pipeline.detection import detector
from tps_pipeline.errors import WeightsError
from tps_pipeline.learners import pretrained
from tps_pipeline.lineage import Lineage, Record, Snapshot
from tps_pipeline.methods.clips import classifier
from tps_pipeline.methods.people import classifier as people
from tps_pipeline.models import onnx
from tps_pipeline.models.conversion import KINDS
from tps_pipeline.models.heat_maps import HeatMaps
from tps_pipeline.models.weights import load_checkpoint, load_strictly
from tps_pipeline.models.yolov7 import YOLOv7
from tps_pipeline.training.checkpoint import LOGS, WEIGHTS

PUBLISHED_CLIP = 32, 224
"""Frames, and rows and columns, of the clips that imported networks are exported for: what they were trained on."""


_Alone = TypeVar("_Alone", recipe.VideoLevel, recipe.SegmentLevel)
"""A method that sees a clip alone."""


@dataclass(frozen=True)
class Exportable:
    """A network and what its users have to know."""

    network: nn.Module
    """Takes one tensor."""
    example: Tensor
    """Of the shape that it takes."""
    about: Mapping[str, str]
    """Its labels, by what they are called in the recipe's terms; how its pixels are normalised."""
    gives: tuple[str, ...] = ("logits",)
    """What its outputs are called."""
    dynamic: Mapping[int, Any] = field(default_factory=lambda: {0: Dim("batch")})
    """Dimensions that may have another size."""


class _Boxes(nn.Module):
    """A detector that gives boxes x1 y1 x2 y2 (B, N, 4) and a score for each class (B, N, C)."""

    def __init__(self, network: YOLOv7 | HeatMaps) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        decoded, _ = self.network(images)
        assert isinstance(decoded, Tensor)
        return detector.boxes_and_scores(decoded)


def export(lineage: Lineage, name: str, out: Path) -> None:
    """Write a network of a store.

    Args:
        lineage: The store's records.
        name: A checkpoint (`person_detector`, `video_action`, a method), or else imported weights.
        out: The ONNX file; one that is there is replaced.

    Raises:
        WeightsError: There is no such network, it is none that can be exported, or the exporter is not installed.
        StoreError: It is not what was recorded.
    """
    onnx.must_be_installed()
    latest, store = lineage.latest(), lineage.store
    record = _record(latest, name)
    store.verify(record.path, record.data_version, unversioned=LOGS)
    folder = store.local(record.path)
    found = _imported(folder) if record.asset.startswith(outputs.WEIGHTS) else trained(folder, name)
    began = [i.asset.removeprefix(outputs.WEIGHTS) for i in record.inputs if i.asset.startswith(outputs.WEIGHTS)]
    licences = [known["licence"] for each in began if (known := pretrained.metadata_of(each, store))]
    licence = {"licence_of_what_it_began_with": ", ".join(licences)} if licences else {}
    onnx.write(
        found.network,
        found.example,
        out,
        takes="images" if found.example.ndim == 4 else "clips",
        gives=found.gives,
        dynamic=found.dynamic,
        about={"name": name, "version": record.data_version, **licence, **found.about},
    )


def trained(checkpoint: Path, name: str) -> Exportable:
    """A network that was trained.

    Args:
        checkpoint: Its folder.
        name: What it is called, for messages.

    Raises:
        WeightsError: It is a method that sees neither pictures nor clips.
    """
    _, described = load_checkpoint(checkpoint / WEIGHTS) if (checkpoint / WEIGHTS).is_file() else ({}, {})
    settings = json.loads(described.get("settings", "{}"))
    match settings.get("kind"):
        case "video_level":
            return _states(checkpoint, recipe.VideoLevel.model_validate_json(described["settings"]), described)
        case "segment_level":
            return _states(checkpoint, recipe.SegmentLevel.model_validate_json(described["settings"]), described)
        case "instance_level":
            entry = recipe.InstanceLevel.model_validate_json(described["settings"])
            backbone = people.load(checkpoint, entry).model.get_submodule("backbone").cpu()
            about = {"normalisation": _normalisation(entry.network)}
            return Exportable(backbone, _clip(entry.frames, entry.image_size), about, ("slow", "fast"))
        case None if "actions" in described and "image_size" in settings:
            return _action(checkpoint, described)
        case None if "labels" in described:
            found = detector.load(checkpoint / WEIGHTS, device="cpu")
            assert isinstance(found.network, YOLOv7 | HeatMaps)
            return _detector(found.network, {"labels": described["labels"], "image_size": str(found.size)})
        case _:
            what = "sees neither pictures nor clips: it has no ONNX file; name a detector, video_action or a method"
            raise WeightsError(f"{name} {what} of clips")


def _record(latest: Snapshot, name: str) -> Record:
    """The checkpoint or the imported weights of a name."""
    for output in (outputs.checkpoint(name), outputs.weights(name)):
        if output.at() in latest.records:
            return latest.records[output.at()]
    known = sorted(
        asset.removeprefix(prefix)
        for asset, _ in latest.records
        for prefix in (outputs.CHECKPOINTS, outputs.WEIGHTS)
        if asset.startswith(prefix)
    )
    raise WeightsError(f"{latest.store.root} has no network {name}; it has {', '.join(known) or 'none'}")


def _states(checkpoint: Path, entry: _Alone, described: Mapping[str, str]) -> Exportable:
    """The network of a method that sees a clip alone."""
    about = {"labels": described["labels"], "normalisation": _normalisation(entry.network)}
    network = classifier.load(checkpoint, entry).model.cpu()
    return Exportable(network, _clip(entry.frames, entry.image_size), about)


def _action(checkpoint: Path, described: Mapping[str, str]) -> Exportable:
    settings = recipe.SwinAction.model_validate_json(described["settings"])
    network = networks.video_swin(settings.network, len(json.loads(described["actions"])))
    load_strictly(network, load_checkpoint(checkpoint / WEIGHTS)[0])
    about = {"labels": described["actions"], "normalisation": _normalisation(settings.network)}
    return Exportable(network, _clip(settings.frames, settings.image_size), about)


def _imported(folder: Path) -> Exportable:
    """The network of imported weights."""
    tensors, described = load_checkpoint(folder / WEIGHTS)
    settings, classes = json.loads(described["settings"]), json.loads(described["classes"])
    kind = described["kind"]
    about = {key: described[key] for key in ("licence", "normalisation", "sha256")}
    if kind.startswith("yolov7"):
        network = detector.build(recipe.Yolov7(**settings), classes=classes)
        load_strictly(network, tensors)
        return _detector(network.fuse(), about)
    clip, gives = _clip(*PUBLISHED_CLIP), ("features",) if classes is None else ("logits",)
    if kind.startswith("slowfast"):
        network, gives = networks.slowfast(recipe.SlowFast(**settings)), ("slow", "fast")
    elif kind == "ir_csn":
        network = networks.csn(recipe.Csn(**settings), classes)
    else:
        network = networks.video_swin(recipe.VideoSwin(**settings), classes)
    load_strictly(network, tensors)
    return Exportable(network, clip, about, gives)


def _detector(network: YOLOv7 | HeatMaps, about: Mapping[str, str]) -> Exportable:
    """Of any number of pictures and any size that its strides divide."""
    example, dynamic = detector.exported_with()
    normalisation = {"normalisation": KINDS["yolov7x"].normalisation}
    return Exportable(_Boxes(network), example, {**normalisation, **about}, ("boxes", "scores"), dynamic)


def _clip(frames: int, size: int) -> Tensor:
    return torch.zeros(2, 3, frames, size, size)


def _normalisation(settings: recipe.VideoSwin | recipe.Csn | recipe.SlowFast) -> str:
    pixels = classifier.pixels_of(settings)
    return f"RGB, 0..255, minus {pixels.mean}, over {pixels.std}"
