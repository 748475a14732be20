"""What a store takes in, from which folder, and what is taken out of it: told, recorded, and never by accident."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.data.layouts import add_videos
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.data.layout import find_videos
from tps_pipeline.data.shards import copies
from tps_pipeline.errors import DataError, StoreError
from tps_pipeline.graph import Run, frozen
from tps_pipeline.graph.ingestion import folders_of, look, place_of, recognised, take_in
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import SHARDS
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

VIDEOS = {"train": tuple(f"lunge/l{i}" for i in range(4)), "test": ("t1", "t2")}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A store with a folder's videos: four to train and validate, two to test."""
    add_videos(tmp_path / "data", **VIDEOS)
    settings = recipe.load("demo").model_copy(update={"shards": recipe.Shards(videos_per_shard=8, val_fraction=0.25)})
    made = Run(settings, tmp_path / "data", Lineage(Store(tmp_path / "store")), store_name=str(tmp_path / "store"))
    frozen.freeze(made.store, (recipe.RECIPES / "demo.yaml").read_text(), "demo")
    take_in(made)
    return made


def ids(run: Run) -> set[str]:
    """The videos that the store has."""
    shards = run.lineage.latest().shards("train", "val", "test")
    return {str(video) for shard in shards for video in run.store.read(SHARDS.path(shard))["video_id"].to_pylist()}


def tps(run: Run, *words: str) -> Result:
    unset = dict.fromkeys(["TPS_DATA", "TPS_RECIPE"])
    return CliRunner().invoke(app, [*words, "--store", run.store_name], env={"COLUMNS": "500", **unset})


def test_a_folder_that_was_moved_is_the_same_folder(run: Run, tmp_path: Path):
    before = ids(run)
    moved = replace(run, data=run.data.rename(tmp_path / "moved"))
    found = take_in(moved)
    assert (found.shards, found.problems, found.missing) == ({}, [], [])
    assert ids(moved) == before
    assert place_of(run.lineage) == str(tmp_path / "moved")
    assert len(folders_of(run.lineage.latest())) == 1


def test_a_copy_with_other_times_and_some_videos_more_and_less_is_the_same_folder(run: Run, tmp_path: Path):
    shutil.copytree(run.data, tmp_path / "copy", copy_function=shutil.copyfile)
    add_videos(tmp_path / "copy", train=(), test=("t3",))
    (tmp_path / "copy" / "test_videos" / "t2.mp4").unlink()
    found = take_in(replace(run, data=tmp_path / "copy"))
    assert found.changed == ["test_videos/t3.mp4"]
    assert [problem.path for problem in found.missing] == ["test_videos/t2.mp4"]


def test_a_folder_whose_videos_were_all_made_anew_in_place_is_the_same_folder(run: Run):
    for video in run.data.rglob("*.mp4"):
        video.write_bytes(b"encoded again " + video.read_bytes())
    assert len(take_in(run).changed) == 6


@pytest.mark.parametrize("there", [("a", "b"), ("t1", "b"), tuple("abcdefgh")])
def test_another_folder_is_refused_by_name_and_nothing_is_written(run: Run, tmp_path: Path, there: tuple[str, ...]):
    add_videos(tmp_path / "other", train=(), test=there)
    before = run.lineage.records()
    with pytest.raises(StoreError, match=r"other is not the data folder of .*store: it has \d of the store's 6 videos"):
        take_in(replace(run, data=tmp_path / "other"))
    assert run.lineage.records() == before


def test_no_folder_and_an_empty_one_are_told_in_a_sentence(run: Run, tmp_path: Path):
    (tmp_path / "empty" / "train_videos" / "lunge").mkdir(parents=True)
    for folder, words in (("empty", "empty has no videos; put them"), ("nowhere", "nowhere: no such folder; give")):
        with pytest.raises(DataError, match=words):
            recognised(replace(run, data=tmp_path / folder))


def test_another_folder_is_let_in_by_name(run: Run, tmp_path: Path):
    other = replace(run, data=add_videos(tmp_path / "other", train=(), test=("a", "t1")))
    (other.data / "test_videos" / "t1.mp4").write_bytes(b"another video of the same name")
    assert tps(run, "store", "accept", str(other.data)).exit_code == 0
    before = ids(run)
    found = take_in(other)
    assert ids(run) == before | {"a"}
    assert found.missing == []
    assert "is called like test_videos/t1.mp4, which the store has from another data folder" in found.problems[0].what
    (other.data / "test_videos" / "a.mp4").write_bytes(b"b")
    (other.data / "test_videos" / "a.mp4").rename(other.data / "test_videos" / "b.mp4")
    with pytest.raises(StoreError, match="0 of the store's 7 videos"):  # as if another disk were mounted there
        look(other)
    assert tps(run, "store", "accept", str(other.data)).exit_code == 0
    assert "is in test-001 and no longer in the folder" in look(other).missing[0].what
    assert look(run).missing == []
    assert take_in(run).shards == {}
    assert place_of(run.lineage) == str(run.data)


def test_a_store_of_before_knows_its_folder_by_its_videos(run: Run, tmp_path: Path):
    old = replace(run, lineage=Lineage(Store(tmp_path / "old")), store_name="old")
    for shard in run.lineage.latest().shards("train", "val", "test"):
        written = old.store.write(SHARDS.path(shard), run.store.read(SHARDS.path(shard)))
        old.lineage.record(Work(SHARDS.key, shard, (), (), ""), written, run_id="")
    with pytest.raises(StoreError, match="which came from another folder"):
        look(replace(old, data=add_videos(tmp_path / "other", train=(), test=("a",))))
    before = {record.record for record in old.lineage.records()}
    found = take_in(old)
    assert (found.shards, found.missing) == ({}, [])
    assert [r.asset for r in old.lineage.records() if r.record not in before] == ["data"]


def test_what_was_deleted_from_the_folder_is_named_until_it_is_taken_out(run: Run):
    for video in ("t1", "t2"):  # all of a shard's
        (run.data / "test_videos" / f"{video}.mp4").unlink()
    for _ in range(2):
        assert {str(problem) for problem in take_in(run).missing} == {
            f"test_videos/{video}.mp4: is in test-000 and no longer in the folder; put it back, or "
            f"`tps store remove {video}`"
            for video in ("t1", "t2")
        }
    assert tps(run, "store", "remove", "t1", "--because", "lost").exit_code == 0
    assert [problem.path for problem in take_in(run).missing] == ["test_videos/t2.mp4"]
    assert tps(run, "store", "remove", "t2").exit_code == 0
    assert take_in(run).missing == []
    assert run.lineage.latest().shards("test") == []


def test_a_video_that_was_taken_out_stays_out_and_lineage_knows_why(run: Run):
    assert tps(run, "store", "remove", "t1", "--because", "a cat").exit_code == 0
    found = take_in(run)
    assert "t1" not in ids(run)
    assert [str(problem) for problem in found.problems] == [
        "test_videos/t1.mp4: was taken out of the store; delete it, or put it in again: `tps store remove t1 --undo`"
    ]
    traced = [record for _, record in run.lineage.trace(SHARDS.at("test-000"))]
    (why,) = [record for record in traced if record.asset == "removed"]
    assert '"because": "a cat"' in run.store.local(why.path).read_text()
    (run.data / "test_videos" / "t1.mp4").write_bytes(b"mended")
    assert take_in(run).problems == []
    assert "t1" in ids(run)


@pytest.mark.parametrize("name", ["test-000", "t1"])
def test_what_was_taken_out_can_be_put_in_again(run: Run, name: str):
    before = ids(run)
    tps(run, "store", "remove", name)
    assert take_in(run).shards == {}
    assert ids(run) < before
    assert tps(run, "store", "remove", name, "--undo").exit_code == 0
    assert take_in(run).problems == []
    assert ids(run) == before


def test_a_number_is_not_given_twice(run: Run):
    tps(run, "store", "remove", "test-000")
    add_videos(run.data, train=(), test=("t3",))
    assert list(take_in(run).shards) == ["test-001"]


@pytest.mark.parametrize("words", [("remove", "nobody"), ("remove", "test-007"), ("remove", "t1", "--undo")])
def test_what_is_not_there_cannot_be_taken_out(run: Run, words: tuple[str, ...]):
    done = tps(run, "store", *words)
    assert (done.exit_code, done.stderr.startswith("tps: ")) == (1, True)


def test_a_store_that_is_none_is_not_made_by_a_question(tmp_path: Path):
    for words in (("lineage", "stale"), ("store", "remove", "a"), ("store", "allow", "a")):
        done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "nowhere")])
        assert (done.exit_code, "nowhere is no store" in done.stderr) == (1, True)
    assert not (tmp_path / "nowhere").exists()


def _add(data: Path) -> None:
    add_videos(data, train=(), test=("new",))


def _change(data: Path) -> None:
    (data / "test_videos" / "t1.mp4").write_bytes(b"other")


def _delete(data: Path) -> None:
    (data / "test_videos" / "t1.mp4").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_add, "new or changed: test_videos/new.mp4"),
        (_change, "new or changed: test_videos/t1.mp4"),
        (_delete, "t1.mp4: is in test-000 and no longer in the folder"),
    ],
)
def test_stale_and_plan_see_what_became_of_the_folder_without_being_told_where_it_is(
    run: Run, change: Callable[[Path], None], words: str
):
    assert "shards: " not in tps(run, "lineage", "stale").stdout
    change(run.data)
    stale, planned = tps(run, "lineage", "stale"), tps(run, "recipe", "plan", "demo")
    assert stale.exit_code == 1
    assert words in stale.stdout
    assert words.rpartition(": ")[2] in planned.stdout


def test_stale_compares_with_the_recipe_as_it_is_now(run: Run, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    text = (recipe.RECIPES / "demo.yaml").read_text()
    mine.write_text(text)
    frozen.freeze(run.store, text, str(mine))
    assert "checkpoints/added" not in tps(run, "lineage", "stale").stdout
    mine.write_text(text.replace("methods:\n", "methods:\n  added: {kind: video_category}\n", 1))
    stale = tps(run, "lineage", "stale")
    assert (stale.exit_code, "checkpoints/added: never made" in stale.stdout) == (1, True)
    mine.unlink()
    assert "checkpoints/added" not in tps(run, "lineage", "stale").stdout


@pytest.mark.parametrize("copy", ["test_videos/copy.mp4", "train_videos/lunge/copy.mp4", "copy.mp4"])
def test_validate_leaves_out_for_its_content_what_ingestion_leaves_out(tmp_path: Path, copy: str):
    data = add_videos(tmp_path / "data", **VIDEOS)
    shutil.copy(data / "train_videos" / "lunge" / "l3.mp4", data / copy)
    made = Run(recipe.load("demo"), data, Lineage(Store(tmp_path / "store")))
    named = copies(data, find_videos(data)[0])
    assert named == take_in(made).problems
    assert ("out of the submission" in named[0].fix) == (not copy.startswith("train"))
