from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.methods import build
from tps_pipeline.reading import InMemory


def parts(rows: Sequence[tuple[str, str, str]]) -> pa.Table:
    video_id, part, state = zip(*rows, strict=True)
    zeros = [0] * len(rows)
    frame = list(range(1, len(rows) + 1))
    columns = {"video_id": video_id, "frame": frame, "person": zeros, "part": part, "state": state}
    return tables.conform({**columns, **dict.fromkeys(tables.BOX, zeros)}, tables.PARTS)


def detections(rows: Sequence[tuple[str, str]]) -> pa.Table:
    video_id, part = zip(*rows, strict=True)
    zeros, ones = [0] * len(rows), [1.0] * len(rows)
    columns = {"video_id": video_id, "frame": [1] * len(rows), "person": zeros, "part": part}
    boxes = dict.fromkeys((*tables.BOX, *tables.PERSON_BOX), zeros)
    return tables.conform({**columns, **boxes, "person_score": ones, "part_score": ones}, tables.DETECTIONS)


def test_each_part_gets_its_most_frequent_state_in_the_predicted_action(tmp_path: Path):
    method = build(recipe.VideoCategory(kind="video_category"))
    train = parts(
        [("a", "head", "none")] * 2 + [("a", "head", "raise")] * 3 + [("b", "head", "turn")] * 9
        + [("b", "hip", "sit"), ("b", "hip", "stoop")]
    )  # fmt: skip
    actions = tables.conform({"video_id": ["a", "b"], "action": ["lunge", "push_up"]}, tables.ACTIONS)
    method.fit(InMemory({outputs.ACTIONS: actions, outputs.PARTS: train}), InMemory({}), tmp_path, seed=0)

    found = detections([("x", "head"), ("x", "hip"), ("x", "left_leg"), ("y", "head"), ("y", "hip")])
    predicted = tables.conform(
        {"video_id": ["x", "y"], "action": ["lunge", "push_up"], "score": [1.0, 1.0], "probabilities": [{}, {}]},
        tables.VIDEO_ACTIONS,
    )
    shard = InMemory({outputs.DETECTIONS: found, outputs.VIDEO_ACTIONS: predicted})
    result = method.predict(shard, tmp_path).to_pandas()
    states = {(row["video_id"], row["part"]): row for row in result.to_dict("records")}
    assert states["x", "head"]["state"] == "raise"
    assert round(states["x", "head"]["state_score"], 6) == 0.6
    assert [name for name, _ in states["x", "head"]["state_scores"]] == ["raise", "none"]
    assert states["y", "head"]["state"] == "turn"
    assert states["y", "hip"]["state"] == "sit"  # a tie, broken by name
    assert states["x", "hip"]["state"] == "sit"  # never annotated in lunges: the overall choice
    assert states["x", "left_leg"]["state"] == "none"  # annotated nowhere
    assert len(result) == found.num_rows
