"""A stand-in of Kinetics-TPS's size: its data folder, and in its store what networks would make.

Some seventy videos are drawn; the others are copies under other names, each with a few bytes of its own behind the
picture, so that no two files are the same. What networks would find is made of the annotations, by the steps' own
machinery: the store's records are those of a finished run, and nothing is left to do.
"""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import yaml

from tps_pipeline import recipe, tables
from tps_pipeline.data.synthetic import generate
from tps_pipeline.graph import Reader, Run, Step
from tps_pipeline.outputs import ACTION_NAMES, ACTIONS, PARTS, PEOPLE

VIDEOS, TESTED, LABELLED, FRAMES = 4741, 932, 151, 252
"""Of Kinetics-TPS: videos, those of them that test, labelled frames a training video, and about how many it has."""
DRAWN = 71
"""So many videos are drawn, about three an action; the others are copies."""
METHODS = ("video_level", "segment_level")
"""Whose states are made up."""
MADE_UP = {"detections/two_stage", "video_actions/swin", *(f"predictions/{name}" for name in METHODS)}
"""What a network would make, beside every checkpoint of one."""
SIDE = 64
"""Of a picture, in pixels: the least that is drawn."""


def recipe_of(folder: Path) -> None:
    """The demo's recipe with two methods that need a network, and one that only counts."""
    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["methods"] = {name: settings["methods"][name] for name in ("video_category", *METHODS)}
    settings["shards"] = {"videos_per_shard": 50, "val_fraction": 0.1}
    settings["video_action"]["members"] = {"swin": settings["video_action"]["members"]["swin"]}
    settings["submission"] = "by_category"
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))


def data_of(data: Path, videos: int, drawn: Path) -> None:
    """Make a data folder with so many videos.

    Args:
        data: The folder.
        videos: How many.
        drawn: Where the drawn ones stay, for the next folder.
    """
    size: dict[str, Any] = {"width": SIDE, "height": SIDE, "frames": FRAMES, "test_fraction": TESTED / VIDEOS}
    if videos <= DRAWN:
        generate(data, videos=videos, seed=0, processes=2, **size)
        return
    if not drawn.exists():
        generate(drawn, videos=DRAWN, seed=0, processes=2, **size)
    shutil.copytree(drawn, data)
    _grow(data, videos - DRAWN)


def _grow(data: Path, more: int) -> None:
    """Add copies of a folder's videos, with their labels."""
    truth = {of: msgspec.json.decode((data / "gt" / f"gt_{of}_result.json").read_bytes()) for of in ("vid", "part")}
    lists = {split: data / "list" / f"video_{split}_flist.csv" for split in ("train", "test")}
    counts = {split: list(csv.reader(path.read_text().splitlines())) for split, path in lists.items()}
    lengths = {name: length for rows in counts.values() for name, length in rows}
    originals = sorted(data.glob("*_videos/*/*.mp4"))
    for original, name in itertools.islice(_copies(originals), more):
        split = original.parts[-3].removesuffix("_videos")
        copied = original.with_stem(name)
        copied.write_bytes(original.read_bytes() + _behind(name))
        labels = data / "train_annotations" / original.parent.name
        if split == "train":
            shutil.copytree(labels / original.stem, labels / name)
        else:
            for of_video in truth.values():
                of_video[name] = of_video[original.stem]
        counts[split].append([name, lengths[original.stem]])
    for of, of_video in truth.items():
        (data / "gt" / f"gt_{of}_result.json").write_bytes(msgspec.json.encode(of_video))
    for split, path in lists.items():
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(counts[split])


def one_more(data: Path) -> None:
    """Add a test video to a data folder."""
    original = min(data.glob("test_videos/*/*.mp4"))
    original.with_stem("one_more_000000_000010").write_bytes(original.read_bytes() + _behind("one_more"))


def _copies(originals: list[Path]) -> Iterator[tuple[Path, str]]:
    """Each video again and again, with a name like Kinetics' for every copy."""
    for number in itertools.count(1):
        yield from ((path, f"c{number:02}{path.stem[3:]}") for path in originals)


def _behind(name: str) -> bytes:
    """An MP4's box that players pass over."""
    content = name.encode()
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content


def made_up(step: Step) -> Step:
    """A step that reads, and is recorded, as the given one, but has no network: it makes it of the annotations."""
    return replace(step, make=_checkpoint if step.learner else partial(_table, step))


def _checkpoint(read: Reader) -> Path:
    (read.workspace / "learned.txt").write_text("nothing")
    return read.workspace


def _table(step: Step, read: Reader) -> pa.Table:
    schema = step.makes[0].schema
    assert schema is not None
    if schema == tables.VIDEO_ACTIONS:
        columns = _actions(read)
    else:
        columns = _boxes(read)
        if schema == tables.PREDICTIONS:
            columns |= _states(columns)
    return tables.conform(columns, schema) if len(columns["video_id"]) else tables.empty(schema)


def _actions(read: Reader) -> dict[str, Any]:
    store, shard = read.run.store, read.shard
    truth = store.read(ACTIONS.path(shard))
    known = store.read(ACTION_NAMES.path())["action"].to_pylist()
    said = truth["action"].to_pylist()
    left = 0.1 / (len(known) - 1)
    return {
        "video_id": truth["video_id"].to_pylist(),
        "action": said,
        "score": [0.9] * len(said),
        "probabilities": [{each: 0.9 if each == action else left for each in known} for action in said],
    }


def _boxes(read: Reader) -> dict[str, Any]:
    """The annotated boxes of the sampled frames, all a little beside."""
    store, shard, rng = read.run.store, read.shard, np.random.default_rng(0)
    stride = read.run.recipe.frames.sample_stride
    people, parts = (store.read(output.path(shard)).to_pandas() for output in (PEOPLE, PARTS))
    people = people.rename(columns={c: f"person_{c}" for c in tables.BOX})
    rows = parts[(parts["frame"] - 1) % stride == 0].merge(people, on=["video_id", "frame", "person"])
    moved = rng.integers(-1, 2, len(rows))  # all corners alike: a small box must not turn inside out
    for corner in (*tables.BOX, *tables.PERSON_BOX):
        rows[corner] = np.clip(rows[corner] + moved, 0, SIDE - 1)
    found = rng.random(len(rows))
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    return columns | {"person_score": 0.5 + found / 2, "part_score": found}


def _states(columns: dict[str, Any]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    states = columns["state"].astype(str)
    said = np.where(rng.random(len(states)) < 0.3, "none", states)
    return {"state": said, "state_score": columns["part_score"], "state_scores": [[(state, 0.9)] for state in said]}


def run_of(folder: Path) -> Run:
    """What steps work with."""
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    settings = recipe.load(str(folder / "recipe.yaml"))
    return Run(settings, folder / "data", Lineage(Store(folder / "store")), recipe_name=str(folder / "recipe.yaml"))
