"""All that a report shows, of two short videos that were parsed by two methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tests.video.clips import write_clip
from tps_pipeline import outputs, parsing, psc, tables
from tps_pipeline.labels import PARTS
from tps_pipeline.lineage import Lineage, Record, Work
from tps_pipeline.outputs import Key, Output
from tps_pipeline.report.breakdown import break_down
from tps_pipeline.report.clips import draw_clip
from tps_pipeline.store import Store
from tps_pipeline.video.frames import FrameFile, extract

HOSTILE = '<script>alert("x")</script> & $x_1$'
METHODS = {"video_category": 1.0, "voting": 0.5}
"""Share of each method's states that are right."""
VOTED = Output("predictions/voting", tables.PREDICTIONS, sharded=True)
"""An ensemble's predictions, under the key that a method's have."""


def boxes(names: tuple[str, ...], values: tuple[int, int, int, int]) -> dict[str, int]:
    return dict(zip(names, values, strict=True))


def parse_videos(folder: Path) -> dict[str, Any]:
    """Two videos with a person each, parsed by two methods, evaluated with the challenge's metric."""
    actions = {"a_1": "lunge", "b_2": HOSTILE}
    numbers = (1, 6, 11)
    clips = [(video, write_clip(folder / f"{video}.mp4", 12), numbers) for video in actions]
    assert extract(clips, folder / "frames.arrow") == []
    keys = [{"video_id": video, "frame": frame} for video in actions for frame in numbers]
    people = [key | {"person": 0} | boxes(tables.BOX, (5, 5, 80, 60)) for key in keys]
    parts = [
        key | {"person": 0, "part": part, "state": "bend"} | boxes(tables.BOX, (6 + 7 * i, 10, 16 + 7 * i, 40))
        for key in keys
        for i, part in enumerate(PARTS[:4])
    ]
    made: dict[str, Any] = {
        "actions": tables.conform({"video_id": list(actions), "action": list(actions.values())}, tables.ACTIONS),
        "labelled_frames": tables.conform(pd.DataFrame(keys).assign(n_people=1), tables.LABELLED_FRAMES),
        "people": tables.conform(pd.DataFrame(people), tables.PEOPLE),
        "parts": tables.conform(pd.DataFrame(parts), tables.PARTS),
    }
    guesses = {"video_id": list(actions), "action": ["lunge", "lunge"], "score": [0.9, 0.8], "probabilities": [{}, {}]}
    made["video_actions"] = tables.conform(guesses, tables.VIDEO_ACTIONS)
    truth = parsing.annotated(made["labelled_frames"], made["people"], made["parts"])
    scored = {"person_score": 0.9, "part_score": 0.9, "state_score": 0.9, "state_scores": {}}
    scored |= boxes(tables.PERSON_BOX, (5, 5, 80, 60))
    evaluated = []
    for method, share in METHODS.items():
        rows = [row | scored | ({"state": "none"} if i % 4 >= 4 * share else {}) for i, row in enumerate(parts)]
        made[method] = tables.conform(pd.DataFrame(rows), tables.PREDICTIONS)
        names: dict[str, Any] = {
            "actions": made["actions"],
            "video_actions": made["video_actions"],
            "method": method,
            "split": "val",
        }
        evaluated.append(psc.evaluate(truth, parsing.predicted(made[method], made["labelled_frames"]), **names))
    made["detections"] = tables.conform(pd.DataFrame([row | scored for row in parts]), tables.DETECTIONS)
    made["tracks"] = tables.conform(pd.DataFrame(people).assign(track_id=0), tables.TRACKS)
    made["truth"] = truth
    made["psc"] = pa.concat_tables(evaluated).unify_dictionaries()
    return made | {"frames": FrameFile(folder / "frames.arrow")}


MEMBERS = [
    {"member": member, "split": "val", "videos": 2, "accuracy": accuracy}
    for member, accuracy in (("swin", 0.2345), ("trajectory", 0.5678), ("together", 0.6789))
]
"""How often each member that names the action is right."""


def leaderboard(sample: Mapping[str, Any]) -> pa.Table:
    """The methods' scores."""
    rows = []
    for method, share in METHODS.items():
        mine = sample["psc"].to_pandas().query("method == @method")
        score = psc.score(mine["psc"].to_numpy(), mine["action_correct"].to_numpy())
        rows.append({"method": method, "split": "val", "videos": len(mine), "score": score, "mean_psc": share,
                     "action_accuracy": 0.5, "macro_recall": 0.4321, "person_ap50": 0.91234, "part_ap50": None,
                     "reported": {"voting": 0.6824}.get(method), "not_read": 1})  # fmt: skip
    return tables.conform(pd.DataFrame(rows), tables.LEADERBOARD)


def lineage(records: Lineage, table: pa.Table) -> list[Record]:
    """Records of a leaderboard over a network's predictions on two shards; the older shard was made by older code."""
    shards = ("val-000", "val-001")

    def make(output: Output, shard: str | None = None, reads: Sequence[Key] = ()) -> None:
        work = Work(output.key, shard, records.latest().inputs(reads), ("evaluation",), "0123456789abcdef")
        records.record(work, records.store.write(output.path(shard), table), run_id="run")

    for shard in shards:
        make(outputs.SHARDS, shard)
        for output in (outputs.PARTS, outputs.PEOPLE):
            make(output, shard, [outputs.SHARDS.at(shard)])
    network, scored = outputs.checkpoint("part_detector"), outputs.psc("voting")
    make(network, reads=[outputs.PARTS.at(shard) for shard in shards])
    for shard in shards:
        make(VOTED, shard, [network.at()])
        make(scored, shard, [VOTED.at(shard), outputs.PARTS.at(shard)])
    make(outputs.LEADERBOARD, None, [scored.at(shard) for shard in shards])
    return [
        replace(record, code_version="0") if record.name == "psc/voting/val-000" else record
        for record in records.records()
    ]


def content(sample: Mapping[str, Any], store: Path) -> dict[str, Any]:
    """What `page.write` takes."""
    ap = {"split": ["val"] * 3, "label": ("right_arm", "person", "left_arm"), "ap": [0.2, 0.3, -1.0],
          "ap50": [0.51239, 0.8, -1.0], "boxes": [7, 8, 0]}  # fmt: skip
    confused = {"split": ["val"], "sided_parts": [40], "sides_confused": [0.125], "parts": [50], "wrong_person": [None]}
    chosen = {"action": ["lunge"] * 2, "method": list(METHODS), "split": ["val"] * 2, "n_videos": [1, 1],
              "psc": [1.0, 0.5], "chosen": [True, False], "gain": [0.0, None], "gain_error": [None, None]}  # fmt: skip
    members = {"member": ["some_method", "video's action"], "share": [0.75, 0.25]}
    members |= {"right": [0.125, -0.0625], "loss": [0.5, 0.03125]}
    gain = {"split": ["val"], "parts": [16], "method": ["video_category"], "right_of_method": [0.5], "right": [0.75],
            "used": [True], "strength": [10.0], "step": [1.0]}  # fmt: skip
    parsed = ((name, parsing.predicted(sample[name], sample["labelled_frames"])) for name in METHODS)
    return {
        "title": f"Report of {HOSTILE}",
        "method": "voting",
        "leaderboard": leaderboard(sample),
        "actions": tables.conform(pd.DataFrame(MEMBERS), tables.ACTION_ACCURACY),
        "psc": sample["psc"],
        "chosen": tables.conform(chosen, tables.METHOD_BY_CATEGORY),
        "members": tables.conform(members, tables.STACKING_MEMBERS),
        "gain": tables.conform(gain, tables.STACKING_GAIN),
        "split": "val",
        "breakdown": break_down(sample["truth"], parsed),
        "typical": clip(sample, "a_1"),
        "worst": [clip(sample, "b_2")],
        "best": [clip(sample, "a_1")],
        "average_precision": {
            "two_stage": tables.conform(ap, tables.AVERAGE_PRECISION),
            "part_state_detector": tables.conform(ap | {"ap50": [0.41239, 0.8, -1.0]}, tables.AVERAGE_PRECISION),
        },
        "confusion": {"two_stage": tables.conform(confused, tables.DETECTOR_CONFUSION)},
        "unreadable": tables.conform(unreadable(), tables.UNREADABLE),
        "logs": {"part_detector": log(store, "part_detector", AP_LOG), HOSTILE: log(store, "other", LOSS_LOG)},
        "recipe_yaml": f"name: {HOSTILE}\n",
        "recipe": "demo",
        "store": str(store),
        "lineage": lineage(Lineage(Store(store)), sample["psc"]),
    }


def unreadable() -> pd.DataFrame:
    """A validation video, and of forty test videos four that could not be read and one that was read in part."""
    lost = [("c_3", "val", "unreadable", "c_3.mp4: no video stream", 3)]
    lost += [(f"t_{i}", "test", "unreadable", f"t_{i}.mp4: {HOSTILE}", 40) for i in range(4)]
    lost += [("t_9", "test", "ok", "t_9.mp4: breaks off after 18 of 50 frames", 40)]
    rows = pd.DataFrame(lost, columns=["video_id", "split", "status", "error", "videos"])
    return rows.assign(path=rows.video_id + ".mp4", n_frames=0)


AP_LOG = "epoch,loss,ap,ap50,seconds\n1,2.0,0.1,0.25,60\n2,1.5,,,60\n3,1.0,0.3,0.75,61\n"
LOSS_LOG = "epoch,loss,seconds\n1,0.5,30\n"


def log(folder: Path, name: str, text: str) -> Path:
    """What a training has left."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text(text)
    return folder / f"{name}.csv"


def clip(sample: Mapping[str, Any], video_id: str, **options: Any):
    """A video of the sample with the states of `voting`."""
    row = next(r for r in sample["psc"].to_pylist() if (r["video_id"], r["method"]) == (video_id, "voting"))
    shard = {name: sample[name] for name in ("people", "parts", "video_actions", "detections", "tracks")}
    return draw_clip(sample["frames"], row, predictions=sample["voting"], **shard, **options)
