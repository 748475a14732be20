"""That the entry in force decides how a network is used, whatever its checkpoint was trained with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch

from tps_pipeline import recipe
from tps_pipeline.methods import build
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.reading import Reads
from tps_pipeline.training.checkpoint import WEIGHTS


def predictions(folder: Path, entries: Sequence[recipe.Method], source: Reads, **beside: float) -> list[pa.Table]:
    """What entries that differ in their `inference` part predict, each by the checkpoints of all of them.

    One more checkpoint is as version 0.1 left it: it says how it is to be used, in settings beside the others.
    """
    checkpoints = [folder / str(number) for number in range(len(entries))]
    for checkpoint, entry in zip(checkpoints, entries, strict=True):
        checkpoint.mkdir()
        build(entry).fit(source, source, checkpoint, seed=0)
    (state, said), *others = (load_checkpoint(checkpoint / WEIGHTS) for checkpoint in checkpoints)
    for other, said_too in others:
        assert said_too == said
        assert all(torch.equal(tensor, other[name]) for name, tensor in state.items())
    old = folder / "version_0_1"
    old.mkdir()
    settings = json.loads(said["settings"])
    assert not {"inference", *beside} & set(settings)
    save_checkpoint(old / WEIGHTS, state, metadata=said | {"settings": json.dumps(settings | beside)})
    found = []
    for entry in entries:
        one, *same = (build(entry).predict(source, checkpoint) for checkpoint in (*checkpoints, old))
        assert all(one.equals(each) for each in same)
        found.append(one)
    return found
