"""Calibrations in the user's cache folder: of one machine, with one version of the code, of one recipe and data set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tps_pipeline import device
from tps_pipeline.cpu import cores
from tps_pipeline.estimates.calibration import Calibration, Cost, calibrate, sample
from tps_pipeline.estimates.counts import Labels, amount
from tps_pipeline.graph import Graph, Run
from tps_pipeline.lineage.records import git_sha, packages
from tps_pipeline.recipe import WHOLE
from tps_pipeline.training.trial import Tried
from tps_pipeline.whole_file import whole_file


def calibrated(run: Run, graph: Graph, manifests: Mapping[str, pa.Table], labels: Labels) -> Calibration:
    """The calibration of a run on this machine: the one that is kept, or a new one, which then is.

    What was taken beside other work is not kept, and the run is told of it.

    Args:
        run: See `calibrate`.
        graph: The steps of its recipe.
        manifests: See `calibrate`.
        labels: See `calibrate`.
    """
    path = folder() / f"calibration-{_key(run, graph, manifests, labels)}.json"
    try:
        return _read(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        busy = os.getloadavg()[0]
        found = calibrate(run, manifests, labels)
    if busy > cores():
        run.warn(f"other programs were at work meanwhile (load {busy:.1f}): it may well take less time than this")
        return found
    with whole_file(path) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(found), indent=1))
    return found


def folder() -> Path:
    """Where calibrations are kept (the XDG base directories' cache folder)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tps"


def _key(run: Run, graph: Graph, manifests: Mapping[str, pa.Table], labels: Labels) -> str:
    """A hash of all that a calibration depends on."""
    import torch

    parts = {
        "recipe": run.recipe.digest_of([WHOLE]),
        "steps": [(step.name, step.version) for step in graph.steps],
        "code": (packages(), git_sha()),
        "machine": (device.CPU, cores(), os.environ.get("OMP_NUM_THREADS"), torch.cuda.device_count()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tried": [row["sha256"] for row in sample(manifests, labels)],
        "training": amount(manifests, labels, ["train"]),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(said: dict[str, Any]) -> Calibration:
    def cost(values: dict[str, Any]) -> Cost:
        return Cost(**values | {"tried": Tried(**values["tried"]) if values["tried"] else None})

    return Calibration(**said | {"costs": {name: cost(values) for name, values in said["costs"].items()}})
