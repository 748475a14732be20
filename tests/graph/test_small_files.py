"""Every small file that a store keeps beside tables, lost or damaged one by one: a line or a repair, never a lie."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data.layouts import add_videos
from tps_pipeline import recipe, tables
from tps_pipeline.cli.plan import planned
from tps_pipeline.errors import StoreError, TpsError
from tps_pipeline.graph import Run, frozen
from tps_pipeline.graph.checking import allow
from tps_pipeline.graph.ingestion import folders_of, look, place_of, put_back, remove, take_in
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import SHARDS, SPLITS, VIDEOS, Output, verdict
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

FAILED = verdict(VIDEOS, "not_bad")
TEXT = (recipe.RECIPES / "demo.yaml").read_text()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store from which a video, a shard and a shard's last video were taken out, and one was put in again."""
    folder = tmp_path_factory.mktemp("kept") / "here"
    add_videos(folder / "data", train=tuple(f"lunge/l{i}" for i in range(8)), test=tuple(f"t{i}" for i in range(7)))
    run = run_in(folder)
    take_in(run)
    sizes = {name: len(videos) for name, videos in shards(run).items()}
    (last,) = shards(run)[next(name for name, size in sizes.items() if size == 1)]
    whole = next(name for name, size in sizes.items() if size == 2 and name.startswith("test-"))
    others = [video for name, videos in shards(run).items() if name.startswith("train-") for video in videos]
    for name in (last, whole, others[0], others[3]):
        remove(run.lineage, name, "a cat")
    put_back(run.lineage, others[3])
    take_in(run)
    for text in (f"{TEXT}\nseed: 1\n", TEXT):
        frozen.freeze(run.store, text, "demo")
    for name in shards(run):
        record(run, VIDEOS, run.store.read(SHARDS.path(name)).select(["video_id"]), name)
    for number in range(2):
        record(run, verdict(VIDEOS, f"not_bad_{number}"), problem(f"it is bad {number}"))
    allow(run.lineage, "videos/val-000", "it is fine")
    record(run, FAILED, problem("it is worse"))
    shutil.copytree(folder, folder.with_name("not_merged"))
    run.lineage.compact()  # one file is read quickly
    return folder


def problem(said: str) -> pa.Table:
    return pa.table({"problem": [said]}).cast(tables.PROBLEMS)


def record(run: Run, output: Output, table: pa.Table, name: str = "val-000") -> None:
    about = run.lineage.latest().inputs([(SHARDS if output == VIDEOS else VIDEOS).at(name)])
    written = run.store.write(output.path(name), table)
    metrics = {} if output == VIDEOS else {"blocking": 1.0}
    run.lineage.record(Work(output.key, name, about, (), ""), written, run_id="", metrics=metrics)


def run_in(folder: Path) -> Run:
    settings = recipe.load("demo").model_copy(update={"shards": recipe.Shards(videos_per_shard=2, val_fraction=0.25)})
    return Run(settings, folder / "data", Lineage(Store(folder / "store")), store_name=str(folder / "store"))


def shards(run: Run) -> dict[str, list[str]]:
    """The ids of each shard's videos."""
    names = run.lineage.latest().shards(*SPLITS)
    return {name: list(map(str, run.store.read(SHARDS.path(name))["video_id"].to_pylist())) for name in names}


def deleted(file: Path, other: Path) -> None:
    file.unlink()


def emptied(file: Path, other: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path, other: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def swapped(file: Path, other: Path) -> None:
    shutil.copy(other, file)


def edited(file: Path, other: Path) -> None:
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def said(folder: Path) -> Iterator[str]:
    """What is told where all that reads the small files reads them in a new process."""
    run = run_in(folder)
    readers: list[Callable[[], object]] = [
        lambda: folders_of(run.lineage.latest()),
        lambda: place_of(run.lineage),
        lambda: run.lineage.latest().refusals(),
        lambda: frozen.last_name(run.store),
        lambda: frozen.last(run.store),
        lambda: frozen.of_predictions(run.lineage),
        lambda: planned(run.store.root, None, None),
        lambda: look(run),
    ]
    for reader in readers:
        yield from told_by(reader)


def told_by(ask: Callable[[], object]) -> list[str]:
    """The line with which something ends that cannot be done; none if it can."""
    try:
        ask()
    except TpsError as error:
        return [line_of(error)]
    return []


def line_of(error: TpsError) -> str:
    """A message that must be one line."""
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("damage", [deleted, emptied, truncated, swapped, edited])
@pytest.mark.parametrize("part", ["removed", "data", "recipes", "shards", "checks", "allowed", "lineage"])
def test_a_line_or_a_repair(kept: Path, tmp_path: Path, part: str, damage: Callable[[Path, Path], None]) -> None:
    before, tried = shards(run_in(kept)), 0
    kept = kept if part != "lineage" else kept.with_name("not_merged")
    files = sorted(path for path in (kept / "store" / part).rglob("*") if path.is_file())
    files = files if part != "lineage" else files[::6]
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(kept, folder)
        other = files[number - 1]
        if damage is swapped and other.read_bytes() == file.read_bytes():
            continue
        damage(folder / file.relative_to(kept), folder / other.relative_to(kept))
        told = list(said(folder))
        problems: list[object] = []
        if stopped := told_by(lambda: problems.extend(take_in(run_in(folder)).problems)):  # noqa: B023
            assert part == "lineage"
            assert str(folder / file.relative_to(kept)) in stopped[0]
            continue
        tried += 1
        told += map(str, problems)
        again = take_in(run_in(folder))
        assert not again.shards
        if part == "lineage":  # what was recorded is found again, or made again
            continue
        after = run_in(folder)
        assert shards(after) == before, file
        if file.name != "last.json":
            assert frozen.last_name(after.store) == "demo"
        place = str(folder / "data")
        assert [each.place for each in folders_of(after.lineage.latest())] == [place]
        if part == "removed" and "put in again" not in file.read_text():
            name = file.stem
            assert [line for line in told if line.startswith(f"removed/{name}.json: was lost or damaged")], told
            assert not [line for line in map(str, again.problems) if "was lost or damaged" in line]
    assert tried or part in ("lineage", "data", "allowed")


@pytest.mark.parametrize("damage", [deleted, emptied, truncated, swapped, edited])
def test_what_is_out_stays_out_and_comes_in_when_it_is_put_in_again(
    kept: Path, tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(kept, folder)
    files = sorted((folder / "store" / "removed").iterdir())
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents, strict=True):
        if b"put in again" not in content:
            damage(file, files[0] if file != files[0] else files[1])
    run = run_in(folder)
    take_in(run)
    before = shards(run)
    assert before == shards(run_in(kept))
    out = {video for video in ids(run.data) if not any(video in videos for videos in before.values())}
    assert len(out) == 4
    for name in sorted({file.stem for file in files}):
        assert all("was not taken out" in line for line in told_by(lambda: put_back(run.lineage, name)))  # noqa: B023
    take_in(run_in(folder))
    assert {video for videos in shards(run_in(folder)).values() for video in videos} == ids(run.data)


def ids(data: Path) -> set[str]:
    return {path.stem for path in data.rglob("*.mp4")}


@pytest.mark.parametrize("damage", [deleted, emptied, truncated, edited])
def test_a_recipe_that_is_not_what_its_name_says_is_not_read(
    kept: Path, tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(kept, folder)
    run = run_in(folder)
    digest = next(name for name in frozen.names(run.store) if frozen.last(run.store) == read(run, name))
    file = folder / "store" / frozen.path_of(digest)
    damage(file, file)
    for ask in (lambda: frozen.last(run.store), lambda: frozen.text_of(run.store.root, digest)):
        with pytest.raises(StoreError, match="the next run keeps its own anew") as error:
            ask()
        assert str(file) in str(error.value)
        assert "\n" not in str(error.value)
    assert frozen.freeze(run.store, TEXT, "demo") == digest
    assert frozen.last(run.store) == TEXT


def read(run: Run, digest: str) -> str:
    return (Path(run.store.root) / frozen.path_of(digest)).read_text()
