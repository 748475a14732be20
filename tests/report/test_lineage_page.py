"""What the report says of where everything came from: the drawing, and what is mixed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tps_pipeline.lineage import Input, Record
from tps_pipeline.report import provenance
from tps_pipeline.report.lineage_graph import Graph, lay_out

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def record(
    asset: str, reads: Sequence[str] = (), *, partition: str | None = None, at: int = 0, **changes: Any
) -> Record:
    """A record of work of two seconds, on whole inputs of version `v`."""
    values: dict[str, Any] = {
        "record": f"{asset} {partition} {at}", "run_id": "run", "data_version": "v", "code_version": "1",
        "recipe_sections": ("frames",), "recipe_digest": "0123456789abcdef", "git_sha": "a" * 40, "path": asset,
        "rows": 5, "bytes": 10, "device": "cpu", "packages": {"numpy": "2.0"}, "metrics": {},
        "started_at": BEGIN + timedelta(seconds=at), "finished_at": BEGIN + timedelta(seconds=at + 2),
        "inputs": tuple(Input(name, None, "v", name) for name in reads),
    }  # fmt: skip
    return Record(asset=asset, partition=partition, **values | changes)


GRAPH = {
    "shards": [],
    "videos": ["shards"],
    "annotations/parts": ["shards"],
    "annotations/people": ["shards"],
    "frames": ["videos", "annotations/parts"],
    "checkpoints/detector": ["frames", "annotations/people"],
    "detections": ["frames", "checkpoints/detector"],
    "checkpoints/method": ["detections", "annotations/parts"],
    "checkpoints/other": ["annotations/parts"],
    "predictions/method": ["detections", "checkpoints/method"],
    "predictions/other": ["detections", "checkpoints/other"],
    "psc/method": ["predictions/method", "annotations/parts"],
    "psc/other": ["predictions/other", "annotations/parts"],
    "ensemble/ranking": ["psc/method", "psc/other"],
    "ensemble/voting": ["ensemble/ranking", "predictions/method", "predictions/other"],
    "psc/voting": ["ensemble/voting", "annotations/parts"],
    "leaderboard": ["psc/method", "psc/other", "psc/voting"],
    "submission": ["ensemble/voting", "frames"],
}

WIDE = {"shards": [], **{f"table_{i}": ["shards"] for i in range(30)}, "leaderboard": [f"table_{i}" for i in range(30)]}


def random_graph(seed: int) -> dict[str, list[str]]:
    """Forty assets of six kinds, each made from some before it."""
    chance = random.Random(seed)
    names = [f"kind_{chance.randrange(6)}/asset_{i}" for i in range(40)]
    return {name: chance.sample(names[:i], min(i, chance.randrange(5))) for i, name in enumerate(names)}


@pytest.mark.parametrize("reads", [GRAPH, WIDE, *map(random_graph, range(8))])
def test_the_drawing_is_of_the_records_and_runs_from_left_to_right(reads: dict[str, Any]):
    graph = lay_out(provenance.made(record(asset, inputs) for asset, inputs in reads.items()))
    box_of = {asset: number for number, box in enumerate(graph.boxes) for asset in box.assets}
    assert sorted(asset for box in graph.boxes for asset in box.assets) == sorted(reads)
    assert {(edge.source, edge.target) for edge in graph.edges} == {
        (box_of[i], box_of[asset]) for asset, inputs in reads.items() for i in inputs
    }
    assert len({(edge.source, edge.target) for edge in graph.edges}) == len(graph.edges)
    for edge in graph.edges:
        source, target = graph.boxes[edge.source], graph.boxes[edge.target]
        assert source.column < target.column
        assert source.x < target.x
        assert edge.target in range(edge.source + 1, len(graph.boxes))
    assert_no_edge_runs_through_a_box(graph)


def assert_no_edge_runs_through_a_box(graph: Graph) -> None:
    rows = [box.y for box in graph.boxes]
    assert rows == sorted(set(rows))
    for edge in graph.edges:
        source, target = graph.boxes[edge.source], graph.boxes[edge.target]
        x, y, end = map(float, re.findall(r"M(\S+) (\S+)V.*H(\S+)", edge.path)[0])
        assert source.x < x < source.x + source.width
        assert (y, end) == (source.y + source.height, target.x)
        between = graph.boxes[edge.source + 1 : edge.target]
        assert not any(box.x <= x <= box.x + box.width for box in between)
        assert x < target.x


def test_assets_of_a_kind_are_one_box_unless_one_rests_on_another():
    graph = lay_out(provenance.made(record(asset, inputs) for asset, inputs in GRAPH.items()))
    boxes = {box.name: box for box in graph.boxes}
    assert boxes["psc"].assets == ("psc/method", "psc/other")
    assert boxes["psc"].note == "2 assets, 2 outputs"
    assert {"psc/voting", "ensemble/ranking", "ensemble/voting", "checkpoints/method"} <= boxes.keys()
    assert boxes["checkpoints"].assets == ("checkpoints/detector", "checkpoints/other")
    assert graph.width <= 1062


def test_records_that_go_round_in_a_circle_are_drawn_all_the_same():
    graph = lay_out(provenance.made([record("a", ["b"]), record("b", ["a"])]))
    assert {box.name for box in graph.boxes} == {"a", "b"}


def shards(count: int, **changes: Any) -> list[Record]:
    return [record("frames", partition=f"train-{i:03}", at=i, **changes) for i in range(count)]


def test_outputs_that_were_made_in_different_ways_are_named():
    def doubts(*records: Record) -> dict[str, list[str]]:
        return provenance.doubts(provenance.made(records))

    alike = shards(12)
    assert doubts(*alike) == {}
    differ = {
        "by older code (version 0; the newest version 1)": {"code_version": "0"},
        "by an older recipe (frames ffff; the newest frames 01234567)": {"recipe_digest": "ffff"},
        "at an older commit (bbbbbbbb; the newest aaaaaaaa)": {"git_sha": "b" * 40},
        "on another device (cuda; the newest cpu)": {"device": "cuda"},
        "with another numpy (1.0; the newest 2.0)": {"packages": {"numpy": "1.0"}},
    }
    for how, change in differ.items():
        assert doubts(*shards(2, **change), *alike[2:]) == {f"2 of 12 outputs {how}": ["frames"]}
    (said,) = doubts(*shards(3, git_sha="a" * 40 + "+"), record("videos", git_sha="a" * 40 + "+")).items()
    assert said == ("all outputs by code that was not committed", ["frames", "videos"])
    assert doubts(record("videos", git_sha=None)) == {"all outputs at a commit that is not known": ["videos"]}
    assert doubts(record("frames", ["videos"])) == {"no record is left": ["videos"]}


def test_results_on_two_versions_of_one_output_are_named():
    old, new = record("videos"), record("videos", at=5, data_version="w")
    inputs = (new.as_input,)
    assets = provenance.made([old, new, record("leaderboard", ["videos"]), record("submission", inputs=inputs)])
    assert provenance.doubts(assets) == {"results rest on several versions of videos": ["videos"]}
    again = [record("videos"), record("videos", at=5)]
    assert [made.outputs for made in provenance.made(again).values()] == [(again[1],)]  # written twice, the same


def test_an_asset_s_figures_are_those_of_its_outputs():
    frames = provenance.made([*shards(2), record("frames", partition="val-000", rows=None, at=9)])["frames"]
    assert (len(frames.outputs), frames.rows, frames.seconds) == (3, 10, 6)
    assert frames.last_made == BEGIN + timedelta(seconds=11)
    assert provenance.made([record("checkpoints/a", rows=None)])["checkpoints/a"].rows is None


def test_what_a_network_was_made_from_and_what_rests_on_it():
    read = [Input("frames", shard, "v", "") for shard in ("train-000", "train-001", "val-000")]
    network = record("checkpoints/a", inputs=(*read, Input("weights/coco", None, "0123456789abcdef", "")))
    newer = record("checkpoints/a", at=9, data_version="w", packages={"numpy": "2.1"})
    ends = [record("leaderboard", inputs=(newer.as_input,)), record("submission", ["checkpoints/a"])]
    delivered, networks = provenance.files(provenance.made([network, newer, *ends]))
    assert [file.record.name for file in delivered] == ["leaderboard", "submission"]
    old, new = sorted(networks, key=lambda file: file.record.finished_at)
    assert old.made_from == {"frames": "2 train, 1 val shards", "weights/coco": "version 0123456789ab"}
    assert (old.used_for, new.used_for) == (("submission",), ("leaderboard",))
    assert (old.packages, new.packages) == ({"numpy": "2.0"}, {"numpy": "2.1"})
