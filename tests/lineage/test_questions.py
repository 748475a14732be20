"""What people ask of a store's lineage: why do two results differ, and what is known of a person."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.errors import StoreError
from tps_pipeline.graph import frozen
from tps_pipeline.lineage import Lineage, Record, Work, differences, find
from tps_pipeline.outputs import Key
from tps_pipeline.store import Store

PERSON = (10, 10, 49, 89)


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(Store(tmp_path))


def make(
    lineage: Lineage,
    asset: str,
    partition: str | None = None,
    reads: Sequence[Key] = (),
    table: pa.Table | None = None,
    content: int = 0,
    digest: str = "r",
    version: str = "1",
):
    work = Work(asset, partition, lineage.latest().inputs(reads), ("two_stage",), digest, version)
    path = f"{asset}/{partition}.parquet" if partition else f"{asset}.parquet"
    written = lineage.store.write(path, table or pa.table({"content": [content]}))
    return lineage.record(work, written, run_id="run")


def result(lineage: Lineage, *, video: int = 0, digest: str = "r", version: str = "1"):
    """A submission from one shard; its content follows from its shard's and the recipe."""
    make(lineage, "shards", "test-000", content=video)
    content = hash((video, digest))
    make(lineage, "detections/two_stage", "test-000", [("shards", "test-000")], content=content, digest=digest,
         version=version)  # fmt: skip
    return make(lineage, "submission", None, [("detections/two_stage", "test-000")], content=content, digest="s")


def compared(lineage: Lineage, before: Record, after: Record):
    old, new = ([r for _, r in lineage.trace(("submission", None), v.data_version)] for v in (before, after))
    return [(d.kind, d.name, d.what) for d in differences(old, new)]


def test_equal_results_do_not_differ(lineage: Lineage):
    same = result(lineage)
    assert compared(lineage, same, same) == []


def test_the_cause_of_a_difference_comes_before_what_follows(lineage: Lineage):
    first, second = result(lineage), result(lineage, video=1)
    assert compared(lineage, first, second) == [
        ("input", "shards/test-000", ""),
        ("result", "detections/two_stage/test-000", ""),
        ("result", "submission", ""),
    ]
    third = result(lineage, video=1, digest="other")
    causes = [found for found in compared(lineage, second, third) if found[0] != "result"]
    assert causes == [("recipe", "detections/two_stage/test-000", "two_stage")]
    fourth = result(lineage, video=2, digest="other", version="2")
    causes = [found for found in compared(lineage, third, fourth) if found[0] != "result"]
    assert causes == [("code", "detections/two_stage/test-000", "code version"), ("input", "shards/test-000", "")]


def test_two_stores_are_compared_on_the_command_line(lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = Lineage(Store(tmp_path / "other"))
    result(lineage)
    monkeypatch.setattr("tps_pipeline.lineage.ledger.packages", lambda: {"torch": "0.1"})
    result(other)
    command = ["lineage", "diff", "submission", "--store", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--with", str(tmp_path / "other"), "--json"])
    found = {d["name"]: d for d in json.loads(done.stdout)}
    assert found["torch"]["after"] == "0.1"
    assert {d["kind"] for d in found.values()} == {"package"}
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "has one version only" in done.output


TEXT = recipe.read_text("demo")


def run_with(store: Store, text: str, *, keep: bool = True) -> None:
    """A network and a report as a run with a recipe would make them."""
    settings = recipe.parse(text, Path("test"))
    if keep:
        frozen.freeze(store, text, "demo")
    lineage = Lineage(store)
    for asset, sections in (("checkpoints/part_detector", ("part_detector", "seed")), ("report", ("*",))):
        reads = (
            () if asset.startswith("checkpoints") else lineage.latest().inputs([("checkpoints/part_detector", None)])
        )
        work = Work(asset, None, reads, sections, settings.digest_of(sections))
        written = store.write(f"{asset}.parquet", pa.table({"content": [text]}))
        lineage.record(work, written, run_id="run")


def differing(store: Store, output: str, *options: str) -> list[str]:
    done = CliRunner().invoke(app, ["lineage", "diff", output, "--store", str(store.root), *options])
    assert done.exit_code == 0, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines() if line.startswith("recipe")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image_size: 160\n  training: {epochs: 4", "image_size: 160\n  training: {epochs: 2",
         ["part_detector.training.epochs: 4 -> 2"]),
        ("augment: {scale: 0.15, translate: 0.08, value: 0.2}\ntwo_stage",
         "augment: {scale: 0.3, value: 0.2}\ntwo_stage",
         ["part_detector.augment.translate: 0.08 -> 0.0", "part_detector.augment.scale: 0.15 -> 0.3"]),
        ("seed: 0", "seed: 7", ["seed: 0 -> 7"]),
        ("submission: by_category", "submission: voting", []),
    ],
)  # fmt: skip
def test_settings_are_told_by_their_values_and_only_those_that_differ(
    tmp_path: Path, old: str, new: str, said: list[str]
):
    store = Store(tmp_path)
    assert TEXT.count(old) == 1
    run_with(store, TEXT)
    run_with(store, TEXT.replace(old, new))
    assert differing(store, "checkpoints/part_detector") == [
        f"recipe checkpoints/part_detector {line}" for line in said
    ]
    if not said:
        assert differing(store, "report") == ["recipe report submission: by_category -> voting"]


def test_a_change_of_several_outputs_is_told_once(tmp_path: Path):
    store = Store(tmp_path)
    run_with(store, TEXT)
    run_with(store, TEXT.replace("seed: 0", "seed: 7"))
    assert differing(store, "report") == ["recipe checkpoints/part_detector and 1 more seed: 0 -> 7"]


def test_settings_of_two_stores_are_looked_up_in_both(tmp_path: Path):
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    run_with(here, TEXT)
    run_with(there, TEXT.replace("seed: 0", "seed: 7"))
    assert differing(here, "report", "--with", str(there.root)) == [
        "recipe checkpoints/part_detector and 1 more seed: 0 -> 7"
    ]


@pytest.mark.parametrize(("kept", "missing"), [((False, True), "first"), ((True, False), "second")])
def test_where_no_recipe_was_kept_that_is_said(tmp_path: Path, kept: tuple[bool, bool], missing: str):
    store = Store(tmp_path)
    for text, keep in zip((TEXT, TEXT.replace("seed: 0", "seed: 7")), kept, strict=True):
        run_with(store, text, keep=keep)
    unknown = f"differs, but the values are not known: no recipe of the {missing} one was kept"
    assert differing(store, "checkpoints/part_detector") == [
        f"recipe checkpoints/part_detector part_detector, seed: {unknown}"
    ]
    assert differing(store, "report")[1] == f"recipe report the whole recipe: {unknown}"


def test_a_recipe_that_is_no_longer_valid_is_passed_over(tmp_path: Path):
    store = Store(tmp_path)
    frozen.freeze(store, "methods: nonsense", "demo")
    run_with(store, TEXT)
    run_with(store, TEXT.replace("seed: 0", "seed: 7"))
    assert differing(store, "report") == ["recipe checkpoints/part_detector and 1 more seed: 0 -> 7"]


def people(rows: Sequence[tuple[int, tuple[int, ...]]], schema: pa.Schema) -> pa.Table:
    columns = tables.PERSON_BOX if "part_score" in schema.names else tables.BOX
    common = {"part": "head", "person_score": 1.0, "part_score": 1.0, "state": "bend", "state_score": 1.0}
    common |= {"state_scores": {"bend": 1.0}} | dict.fromkeys(tables.BOX, 20)
    return tables.conform(
        pd.DataFrame([common | {"video_id": "a", "frame": 6, "person": n} | dict(zip(columns, box, strict=True))
                      for n, box in rows]), schema,
    )  # fmt: skip


@pytest.fixture
def one_person(lineage: Lineage) -> Lineage:
    """A shard with a person whom everybody numbers differently, beside another."""
    shard, elsewhere = "test-000", (60, 0, 90, 90)
    near = (12, 10, 49, 89)
    make(lineage, "shards", shard, table=pa.table({"video_id": ["a"]}))
    annotated = people([(0, elsewhere), (1, near)], tables.PEOPLE)
    make(lineage, "annotations/people", shard, table=annotated)
    make(lineage, "annotations/parts", shard, table=people([(0, elsewhere), (1, near)], tables.PARTS))
    make(lineage, "checkpoints/person_detector")
    detections = people([(0, PERSON), (1, elsewhere)], tables.DETECTIONS)
    make(lineage, "detections/two_stage", shard, [("checkpoints/person_detector", None)], table=detections)
    tracks = pa.table({"video_id": ["a", "a"], "frame": [6, 6], "person": [0, 1], "track_id": [7, 8]})
    make(lineage, "tracks", shard, table=tables.conform(tracks, tables.TRACKS))
    own = people([(0, elsewhere), (3, near)], tables.PREDICTIONS)
    make(lineage, "predictions/part_state_detector", shard, table=own)
    return lineage


def test_a_person_is_followed_through_every_table_by_their_box(one_person: Lineage):
    found = {f.record.asset: f for f in find(one_person, "a", 6, 0)}
    numbers = {asset: f.rows["person"].to_pylist() for asset, f in found.items() if asset != "shards"}
    assert numbers == {
        "annotations/people": [1],
        "annotations/parts": [1],
        "detections/two_stage": [0],
        "tracks": [0],
        "predictions/part_state_detector": [3],
    }
    assert found["tracks"].rows["track_id"].to_pylist() == [7]
    assert [i.asset for i in found["detections/two_stage"].networks] == ["checkpoints/person_detector"]
    assert found["annotations/people"].overlap == pytest.approx(38 / 40)


def test_what_is_not_there_is_said(one_person: Lineage):
    with pytest.raises(StoreError, match="no shard holds the video b"):
        list(find(one_person, "b"))
    with pytest.raises(StoreError, match="no person 2 in frame 6 of a; people there: 0, 1"):
        list(find(one_person, "a", 6, 2))
    assert [f.record.asset for f in find(one_person, "a", 11)] == ["shards"]


def test_a_person_on_the_command_line(one_person: Lineage):
    command = ["lineage", "trace", "--store", str(one_person.store.root)]
    done = CliRunner().invoke(app, [*command, "--video", "a", "--frame", "6", "--person", "0", "--json"])
    by_output = {f["output"]: f for f in json.loads(done.stdout)}
    assert by_output["predictions/part_state_detector/test-000"]["rows"][0]["state"] == "bend"
    assert by_output["detections/two_stage/test-000"]["networks"][0]["asset"] == "checkpoints/person_detector"
    assert CliRunner().invoke(app, [*command, "--video", "a", "--person", "0"]).exit_code == 2
    assert CliRunner().invoke(app, command).exit_code == 2
