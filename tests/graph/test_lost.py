"""A shard that loses its record or its table keeps its videos, or is said to be lost."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import definitions_of
from assets.resources import Pipeline
from assets.steps import SHARDS as PARTITIONS
from tests.data.layouts import add_videos
from tps_pipeline import recipe, tables
from tps_pipeline.graph import Run
from tps_pipeline.graph.ingestion import folders_of, look, put_back, remove, take_in
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import ACTIONS, FOLDERS, REMOVED, SHARDS, VIDEO_ACTIONS, VIDEOS, Output
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

ALL = ("train", "val", "test")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and the store that each test begins with."""
    folder = tmp_path_factory.mktemp("kept")
    add_videos(folder / "here" / "data", train=tuple(f"lunge/l{i}" for i in range(8)), test=("t1", "t2", "t3", "t4"))
    made = run_in(folder / "here")
    take_in(made)
    for shard in shards(made):
        probed(made, shard)
    shutil.copytree(folder / "here", folder / "as_it_was")
    return folder


@pytest.fixture
def run(kept: Path) -> Run:
    """A store of six shards of two videos: three to train, one to validate, two to test; each probed."""
    shutil.rmtree(kept / "here")
    shutil.copytree(kept / "as_it_was", kept / "here")
    return run_in(kept / "here")


def run_in(folder: Path) -> Run:
    settings = recipe.load("demo").model_copy(update={"shards": recipe.Shards(videos_per_shard=2, val_fraction=0.25)})
    return Run(settings, folder / "data", Lineage(Store(folder / "store")), store_name=str(folder / "store"))


def probed(run: Run, shard: str) -> None:
    """What is made of a shard, by its record and its table."""
    facts = {"n_frames": 1, "fps": 25.0, "width": 8, "height": 8, "rotation": 0, "status": "ok", "error": None}
    rows = [
        {name: row[name] for name in tables.VIDEOS.names if name in row} | facts
        for row in run.store.read(SHARDS.path(shard)).to_pylist()
    ]
    columns = {name: [row[name] for row in rows] for name in tables.VIDEOS.names}
    read = run.lineage.latest().inputs([SHARDS.at(shard)])
    written = run.store.write(VIDEOS.path(shard), tables.conform(columns, tables.VIDEOS))
    run.lineage.record(Work(VIDEOS.key, shard, read, (), ""), written, run_id="")


def shards(run: Run) -> dict[str, list[str]]:
    """The ids of each shard's videos."""
    names = run.lineage.latest().shards(*ALL)
    return {name: list(map(str, run.store.read(SHARDS.path(name))["video_id"].to_pylist())) for name in names}


def versions(run: Run) -> dict[str, str]:
    """The data version of each shard, which decides what is made again."""
    return {name: record.data_version for name, record in run.lineage.latest().of(SHARDS.key).items()}


def lose_record(run: Run, output: Output, name: str) -> None:
    for record in run.store.names("lineage"):
        if run.store.read(f"lineage/{record}").select(["asset", "partition"]).to_pylist() == [
            {"asset": output.key, "partition": name}
        ]:
            run.store.remove(f"lineage/{record}")


def lose_table(run: Run, output: Output, name: str) -> None:
    run.store.remove(output.path(name))


def lose_both(run: Run, output: Output, name: str) -> None:
    lose_record(run, output, name)
    lose_table(run, output, name)


def cut_table(run: Run, output: Output, name: str) -> None:
    path = run.store.local(output.path(name))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_table(run: Run, output: Output, name: str) -> None:
    run.store.local(output.path(name)).write_bytes(b"")


def swap_table(run: Run, output: Output, name: str) -> None:
    shutil.copy(run.store.local(output.path("train-000")), run.store.local(output.path(name)))


def swap_table_and_lose_record(run: Run, output: Output, name: str) -> None:
    swap_table(run, output, name)
    lose_record(run, output, name)


def newly(run: Run) -> Run:
    """The same store in another process, which has read nothing of it yet."""
    return replace(run, lineage=Lineage(Store(run.store.root)))


@pytest.mark.parametrize(
    "lose",
    [lose_record, lose_table, lose_both, cut_table, empty_table, swap_table, swap_table_and_lose_record],
)
@pytest.mark.parametrize("names", [("train-001",), ("val-000",), ("train-001", "test-000", "test-001")])
def test_a_shard_that_lost_what_says_who_is_in_it_has_the_same_videos_again(
    run: Run, lose: Callable[[Run, Output, str], None], names: tuple[str, ...]
) -> None:
    before, were = shards(run), versions(run)
    for name in names:
        lose(run, SHARDS, name)
    add_videos(run.data, train=(), test=("new",))
    after = newly(run)
    told = [str(problem) for problem in take_in(after).problems]
    again = "had lost its record or its table; it has 2 of its 2 videos again"
    assert told == [f"shards/{name}: {again}" for name in sorted(names)]
    assert shards(after) == before | {"test-002": ["new"]}
    assert versions(after).items() >= were.items()  # nothing that was made of it is made again
    quiet = take_in(after)
    assert (quiet.problems, quiet.shards) == ([], {})


def test_all_records_are_lost(run: Run) -> None:
    before, were = shards(run), versions(run)
    shutil.rmtree(Path(run.store.root) / "lineage")
    after = newly(run)
    assert len(take_in(after).problems) == len(before)
    assert (shards(after), versions(after)) == (before, were)


@pytest.mark.parametrize("output", [VIDEOS, ACTIONS, VIDEO_ACTIONS])
def test_each_table_with_a_row_a_video_tells_who_is_in_a_shard(run: Run, output: Output) -> None:
    before = shards(run)
    for name in ("val-000", "train-001"):
        known = run.store.read(VIDEOS.path(name)).select(["video_id", "action"])
        lose_both(run, SHARDS, name)
        lose_both(run, VIDEOS, name)
        run.store.write(output.path(name), known)
    after = newly(run)
    assert len(take_in(after).problems) == 2
    assert shards(after) == before


@pytest.mark.parametrize("lose", [lose_record, lose_table, lose_both])
def test_a_shard_of_which_nothing_tells_who_was_in_it_is_named_once_and_its_number_stays_taken(
    run: Run, lose: Callable[[Run, Output, str], None]
) -> None:
    before = shards(run)
    was = before.pop("test-000")
    lose(run, SHARDS, "test-000")
    run.store.write_bytes(SHARDS.path("test-000"), b"no table")
    run.store.write_bytes(VIDEOS.path("test-000"), b"nor this")
    after = newly(run)
    told = "shards/test-000: had lost its record or its table; nothing tells its videos: they are in new shards"
    assert [str(problem) for problem in take_in(after).problems] == [told]
    assert shards(after) == before | {"test-002": was}
    quiet = take_in(after)
    assert (quiet.problems, quiet.shards) == ([], {})


def test_a_lost_shard_waits_for_its_videos(run: Run) -> None:
    before = shards(run)
    lose_both(run, SHARDS, "test-000")
    for video in before["test-000"]:
        (run.data / "test_videos" / f"{video}.mp4").rename(run.data.parent / f"{video}.mp4")
    after = newly(run)
    assert "none of its videos is in this folder; put them back" in str(take_in(after).problems[0])
    for video in before["test-000"]:
        (run.data.parent / f"{video}.mp4").rename(run.data / "test_videos" / f"{video}.mp4")
    take_in(after)
    assert shards(after) == before


def test_a_lost_shard_comes_back_whole_while_only_one_video_is_taken_in(run: Run) -> None:
    before = shards(run)
    lose_both(run, SHARDS, "test-000")
    add_videos(run.data, train=(), test=("new",))
    after = newly(run)
    take_in(after, only=["test_videos/new.mp4"])
    assert shards(after) == before | {"test-002": ["new"]}


def test_a_copy_does_not_take_the_place_of_a_lost_video(run: Run) -> None:
    before = shards(run)
    first = before["test-000"][0]
    shutil.copy(run.data / "test_videos" / f"{first}.mp4", run.data / "test_videos" / "a_copy.mp4")
    lose_both(run, SHARDS, "test-000")
    after = newly(run)
    assert f"a_copy.mp4: has the same content as {first}" in str(take_in(after).problems[1])
    assert shards(after) == before


def test_to_look_says_the_same_and_writes_nothing(run: Run) -> None:
    lose_both(run, SHARDS, "test-000")
    after = newly(run)
    records = after.lineage.records()
    assert "it has 2 of its 2 videos again" in str(look(after).problems[0])
    assert after.lineage.records() == records


@pytest.mark.parametrize("lose", [lose_record, lose_both])
def test_shards_whose_data_folder_lost_its_record_stay(run: Run, lose: Callable[[Run, Output, str], None]) -> None:
    before, were = shards(run), versions(run)
    lose(run, FOLDERS, "folder-000")
    after = newly(run)
    assert take_in(after).shards == {}
    assert (shards(after), versions(after)) == (before, were)
    assert [folder.place for folder in folders_of(after.lineage.latest())] == [str(run.data)]


@pytest.mark.parametrize("shard_too", [False, True])
@pytest.mark.parametrize("name", ["test-000", "t1"])
def test_what_was_taken_out_stays_out_without_its_record(run: Run, name: str, shard_too: bool) -> None:
    where = next(shard for shard, videos in shards(run).items() if name in (shard, *videos))
    remove(run.lineage, name, "a cat")
    before = shards(run)
    lose_record(run, REMOVED, name)
    if shard_too:
        lose_record(run, SHARDS, where)
    after = newly(run)
    problems = take_in(after).problems
    assert "was taken out of the store" in str(problems[-1])
    assert shards(after) == before
    put_back(after.lineage, name)
    take_in(after)
    assert {video for videos in shards(after).values() for video in videos} >= {"t1", "t2", "t3", "t4"}


def test_partitions_of_shards_that_are_none_are_taken_away(run: Run, tmp_path: Path) -> None:
    text = (recipe.RECIPES / "demo.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    pipeline = Pipeline(data=str(run.data), recipe_name=str(tmp_path / "mine.yaml"), store_root=run.store.root)
    job = definitions_of(pipeline, dg.in_process_executor).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def ingested() -> list[str]:
            assert job.execute_in_process(asset_selection=[dg.AssetKey("shards")], instance=instance).success
            return [*instance.get_dynamic_partitions(str(PARTITIONS.name))]

        order = ingested()
        assert sorted(order) == sorted(shards(run))
        lose_both(run, SHARDS, "train-001")
        assert ingested() == order  # nothing but its record had gone
        lose_both(run, SHARDS, "train-001")
        run.store.write_bytes(VIDEOS.path("train-001"), b"no table")
        assert sorted(ingested()) == sorted({*order, "train-003"} - {"train-001"})
        shutil.rmtree(run.store.root)  # all of it
        (run.data / "test_videos" / "t1.mp4").unlink()
        (run.data / "test_videos" / "t2.mp4").unlink()
        left = ingested()
        assert "test-001" not in left
        assert sorted(left) == Lineage(Store(run.store.root)).latest().shards("test", "train", "val")
