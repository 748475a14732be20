"""What is declared is what can be read, and what is read is what is declared."""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.errors import UndeclaredError
from tps_pipeline.graph import Graph, Reader, Run, make, step
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import ACTION_NAMES, ACTIONS, LEADERBOARD, PARTS, RANKING, TRACKS, VIDEO_ACTIONS
from tps_pipeline.reading import InMemory
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on a store with two training shards and one of validation, an action in each."""
    lineage = Lineage(Store(tmp_path))
    for shard in ("train-000", "train-001", "val-000"):
        for output, table in ((outputs.SHARDS, pa.table({"x": [0]})), (ACTIONS, action(shard))):
            written = lineage.store.write(output.path(shard), table)
            lineage.record(Work(output.key, shard, (), (), ""), written, run_id="first")
    return Run(recipe.load("demo"), tmp_path / "data", lineage)


def action(name: str) -> pa.Table:
    return tables.conform({"video_id": [name], "action": [name]}, tables.ACTIONS)


def test_a_step_reads_its_shard_or_all_shards_of_its_splits(run: Run):
    @step(ACTION_NAMES, reads=(ACTIONS,), splits=("train",))
    def names(read: Reader) -> pa.Table:
        assert read.shards() == ["train-000", "train-001"]
        assert read.at("train-001")(ACTIONS)["action"].to_pylist() == ["train-001"]
        assert read.of("val")(ACTIONS).num_rows == 0
        return tables.conform({"action": read(ACTIONS)["action"].to_pylist()}, tables.ACTION_NAMES)

    make(run, names)
    record = run.lineage.latest().records[ACTION_NAMES.at()]
    assert [i.key for i in record.inputs] == [ACTIONS.at("train-000"), ACTIONS.at("train-001")]
    assert run.store.read(record.path)["action"].to_pylist() == ["train-000", "train-001"]

    @step(VIDEO_ACTIONS, reads=(ACTIONS, ACTION_NAMES))
    def one(read: Reader) -> bytes:
        assert (read.shard, read(ACTIONS)["action"].to_pylist()) == ("val-000", ["val-000"])
        assert read(ACTION_NAMES).num_rows == 2
        return b""

    make(run, one, ["val-000"])
    assert run.lineage.latest().records[VIDEO_ACTIONS.at("val-000")].inputs[0].key == ACTIONS.at("val-000")


@pytest.mark.parametrize("there", [True, False])
def test_reading_what_was_not_declared_names_both(run: Run, there: bool):
    read_too = ACTIONS if there else PARTS  # in the store, or never made

    @step(ACTION_NAMES, reads=(RANKING,) if there else (ACTIONS,), splits=("train",))
    def names(read: Reader) -> pa.Table:
        return read(read_too)

    if there:
        written = run.store.write(RANKING.path(), pa.table({"x": [0]}))
        run.lineage.record(Work(RANKING.key, None, (), (), ""), written, run_id="")
    with pytest.raises(UndeclaredError, match=f"vocabulary/actions reads {read_too.key} without having declared it"):
        make(run, names)
    assert ACTION_NAMES.at() not in run.lineage.latest().records


def test_a_part_of_the_recipe_that_was_not_declared_cannot_be_read(run: Run):
    @step(ACTION_NAMES, sections=("two_stage.crop_margin", "person_detector"))
    def names(read: Reader) -> pa.Table:
        assert read.setting("two_stage.crop_margin") == 0.1
        return read.setting("two_stage.person_iou")

    with pytest.raises(UndeclaredError, match=r"vocabulary/actions reads two_stage\.person_iou of the recipe"):
        make(run, names)


def test_who_trains_cannot_see_what_inference_is_set_to(run: Run):
    changed = recipe.DetectorInference(canvas="rectangle")
    detector = run.recipe.trained_detectors[0].model_copy(update={"inference": changed})
    other = Run(run.recipe.model_copy(update={"person_detector": detector}), run.data, run.lineage)

    @step(ACTION_NAMES, sections=("person_detector",))
    def trains(read: Reader) -> bytes:
        assert read.setting("person_detector").inference == recipe.DetectorInference()
        return b""

    @step(LEADERBOARD, sections=("person_detector.inference",))
    def infers(read: Reader) -> bytes:
        assert read.setting("person_detector.inference") == changed
        return b""

    assert make(other, trains)[ACTION_NAMES].made
    assert make(other, infers)[LEADERBOARD].made


def test_tables_at_hand_are_no_way_round_it():
    read = InMemory({ACTIONS: action("a")}, reader="the method x")
    assert read(ACTIONS).num_rows == 1
    with pytest.raises(UndeclaredError, match="the method x reads tracks without having declared it"):
        read(TRACKS)


@pytest.mark.parametrize("name", ["demo", "paper", "bench", "small"])
def test_a_graph_is_whole(name: Literal["demo", "paper", "bench", "small"]):
    """All that is read is made by a step, but for shards and imported weights; a whole run is about every step."""
    graph = graph_of(recipe.load(name))
    made = {output for step in graph.steps for output in step.makes}
    read = {output for step in graph.steps for output in step.reads}
    assert {output.key.partition("/")[0] for output in read - made} <= {"shards", "weights"}
    assert all(graph.splits[step.name] for step in graph.steps if step.sharded)
    position = {step.name: at for at, step in enumerate(graph.steps)}
    assert all(position[before.name] < position[step.name] for step in graph.steps for before in graph.before(step))
    assert sorted(step.name for stage in graph.stages for step in stage) == sorted(position)
    for stage in graph.stages:
        assert len({(step.sharded, step.learner is not None) for step in stage}) == 1


def test_a_step_is_staged_after_what_it_reads_however_it_is_declared():
    @step(TRACKS, reads=(VIDEO_ACTIONS,))
    def second(read: Reader) -> bytes: ...

    @step(VIDEO_ACTIONS, reads=(outputs.SHARDS,))
    def first(read: Reader) -> bytes: ...

    @step(LEADERBOARD, reads=(TRACKS,), splits=("val",))
    def last(read: Reader) -> bytes: ...

    @step(outputs.TWO_STAGE, reads=(VIDEO_ACTIONS,))
    def unread(read: Reader) -> bytes: ...

    graph = Graph([last, unread, second, first], scored=("val", "test"))
    assert graph.stages == [[first, unread], [second], [last]]
    assert graph.splits == {
        "video_actions": ("val", "test"),
        "tracks": ("val",),
        "leaderboard": (),
        "detections/two_stage": ("val", "test"),
    }


def test_no_key_is_written_out_beside_its_constant():
    """Keys are strings in `outputs.py` alone; elsewhere a name would be read that nobody has declared."""
    package, keys = Path(outputs.__file__).parent, set()
    for name in ("demo", "paper"):
        keys |= {output.key for step in graph_of(recipe.load(name)).steps for output in step.makes if "/" in output.key}
    for path in [*package.rglob("*.py"), *(package.parent / "assets").glob("*.py")]:
        if path.name != "outputs.py":
            found = [key for key in keys if f'"{key}"' in path.read_text()]
            assert not found, f"{path}: {found}"
