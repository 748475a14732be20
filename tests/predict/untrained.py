"""A store of networks that have learned nothing: quick to make, and what they say is as exact as anything."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from torch import Tensor

from tps_pipeline import recipe, tables
from tps_pipeline.actions import trajectory as actions
from tps_pipeline.clips.networks import video_swin
from tps_pipeline.detection import detector
from tps_pipeline.ensemble.stacking import LOG_ODDS
from tps_pipeline.graph import frozen
from tps_pipeline.labels import PARTS, PERSON
from tps_pipeline.learners.video_action import members_of
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.methods.clips import classifier as clips
from tps_pipeline.methods.end_to_end import classifier as end_to_end
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people import classifier as people
from tps_pipeline.methods.trajectories.classifier import build
from tps_pipeline.methods.video_category import FILE
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.outputs import (
    METHOD_BY_CATEGORY,
    RANKING,
    STACKING,
    STACKING_GAIN,
    STATE_COUNTS,
    Output,
    checkpoint,
)
from tps_pipeline.recipe import Recipe
from tps_pipeline.recipe.section import Section
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

ACTIONS = ["pull_ups", "push_up"]
STATES = [(part, state) for part in PARTS for state in ("bend", "none")]


def make_store(
    root: Path,
    *,
    methods: Sequence[str] = ("video_category", "part_trajectory"),
    entries: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A store with what some methods need, of the demo or else of `bench`, or the entries given.

    Others than these arguments replace recipe sections.
    """
    settings, bench = (yaml.safe_load((recipe.RECIPES / f"{name}.yaml").read_text()) for name in ("demo", "bench"))
    known = bench["methods"] | settings["methods"]
    settings["methods"] = {name: known[name] for name in methods} | dict(entries or {})
    for entry in settings["methods"].values():
        if entry.get("kind") == "end_to_end":
            entry["inference"] = {"person_threshold": 0.0}  # who has learned nothing is sure of nobody
    settings["ensemble"] = {"by_category": {"candidates": ["voting", *settings["methods"]]}}
    settings["submission"] = "voting"
    swin = settings["video_action"]["members"]["swin"]
    for section in (settings["person_detector"], settings["part_detector"], swin):
        section["image_size"] = 64
    settings |= changes
    store = Store(root)
    frozen.freeze(store, yaml.safe_dump(settings), "recipe.yaml")
    lineage, made = Lineage(store), Recipe.model_validate(settings)
    torch.manual_seed(0)
    members = [learner.name for learner in members_of(made.video_action).values()]
    for name in ("person_detector", "part_detector", *members, *made.methods):
        folder = root / "making"
        folder.mkdir()
        _save(name, folder, made)
        output = checkpoint(name)
        _record(lineage, output, store.keep(folder, f"{output.key}/untrained"))
    _record(lineage, RANKING, store.write(RANKING.path(), _ranking(made)))
    _record(lineage, METHOD_BY_CATEGORY, store.write(METHOD_BY_CATEGORY.path(), _choice(*made.methods)))
    for output, rows in ((STACKING, _weights(made)), (STACKING_GAIN, _gain(made)), (STATE_COUNTS, _counts())):
        assert output.schema
        table = tables.conform(pa.Table.from_pylist(rows), output.schema)
        _record(lineage, output, store.write(output.path(), table))
    return root


def _record(lineage: Lineage, output: Output, written: Any) -> None:
    lineage.record(Work(output.key, None, (), (), ""), written, run_id="test")


def _save_action(folder: Path, settings: Section, weights: Mapping[str, Tensor]) -> None:
    about = {"frequencies": "[0.5, 0.5]", "settings": settings.model_dump_json(), "actions": json.dumps(ACTIONS)}
    save_checkpoint(folder / WEIGHTS, weights, metadata=about)


def _save(name: str, folder: Path, made: Recipe) -> None:
    match name:
        case "person_detector" | "part_detector":
            settings, labels = made.setting(name), [PERSON] if name == "person_detector" else list(PARTS)
            network = detector.build(settings.network, classes=len(labels))
            detector.save(folder / WEIGHTS, network.state_dict(), settings, labels)
        case "video_action":
            swin = made.video_action.members.swin
            assert swin
            _save_action(folder, swin, video_swin(swin.network, len(ACTIONS)).state_dict())
        case "video_action_trajectory":
            trajectory = made.video_action.members.trajectory
            assert trajectory
            _save_action(folder, trajectory, actions.build(trajectory.network, PARTS, len(ACTIONS)).state_dict())
        case "video_action_statistics":
            statistics = made.video_action.members.statistics
            assert statistics
            _save_action(folder, statistics, {})  # as if there had been nobody to learn from
        case "video_category":
            pq.write_table(tables.conform(pa.Table.from_pylist(_counts()), tables.STATE_COUNTS), folder / FILE)
        case _:
            _save_method(folder, made.methods[name])


def _save_method(folder: Path, entry: recipe.Method) -> None:
    space = LabelSpace(tuple(sorted(STATES)))
    names = ACTIONS if isinstance(entry, recipe.PartTrajectory) and entry.action else []
    match entry:
        case recipe.PartTrajectory():
            network = build(entry.network, space, len(names))
        case recipe.InstanceLevel():
            network = people.build(entry, len(space))
        case recipe.EndToEnd():
            network = end_to_end.build(entry, space)
        case recipe.VideoLevel() | recipe.SegmentLevel():
            network = clips.build_for(entry, len(space))
        case recipe.PartStateDetector():
            labels = sorted("_".join(pair) for pair in STATES)
            of_states = detector.build(entry.detector.network, classes=len(labels))
            return detector.save(folder / WEIGHTS, of_states.state_dict(), entry.detector, labels)
        case _:
            raise TypeError(entry)
    about = {"labels": space.to_json(), "settings": entry.model_dump_json(exclude={"inference"})}
    often = " ".join(["0.5"] * len(space))
    save_checkpoint(
        folder / WEIGHTS, network.state_dict(), metadata={**about, "actions": json.dumps(names), "frequencies": often}
    )
    return None


def _ranking(made: Recipe) -> pa.Table:
    rows = [{"method": name, "split": "val", "videos": 1, "score": 0.5, "mean_psc": 0.5} for name in made.voters]
    return tables.conform(pa.Table.from_pylist(rows), tables.RANKING)


def _counts() -> list[dict[str, Any]]:
    return [
        {"action": action, "part": part, "state": state, "boxes": 1 + (state == "bend")}
        for action in ACTIONS
        for part, state in STATES
    ]


def _weights(made: Recipe) -> list[dict[str, Any]]:
    return [
        {"fold": None, "part": part, "member": name, "feature": LOG_ODDS, "weight": 1.0 + at}
        for part in PARTS
        for at, name in enumerate(made.voters)
    ]


def _gain(made: Recipe) -> list[dict[str, Any]]:
    row = {"split": "val", "parts": 9, "method": made.voters[0], "right_of_method": 0.5, "right": 0.6, "used": True}
    return [row | {"strength": 1.0, "step": 1.0}]


def _choice(*methods: str) -> pa.Table:
    rows = [
        {
            "action": action, "method": method, "split": "val", "n_videos": 1, "psc": 0.5, "chosen": method == chosen,
            "gain": None, "gain_error": None,
        }
        for action, chosen in zip(ACTIONS, (methods[0], methods[-1]), strict=True)
        for method in methods
    ]  # fmt: skip
    return tables.conform(pa.Table.from_pylist(rows), tables.METHOD_BY_CATEGORY)
