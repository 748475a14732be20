"""What several steps read is understood once; what follows from the same is not made again."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tps_pipeline import recipe, tables
from tps_pipeline.graph import Run
from tps_pipeline.graph.reader import KEPT, Reader
from tps_pipeline.graph.recent import Recent
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import ACTIONS
from tps_pipeline.store import Store


@pytest.fixture
def reads(tmp_path: Path) -> Callable[..., Reader]:
    """Gives a reader of a store whose one video has an action, in a run of its own."""

    def made(action: str) -> Reader:
        lineage = Lineage(Store(tmp_path / "store"))
        rows = tables.conform(pa.Table.from_pylist([{"video_id": "v1", "action": action}]), tables.ACTIONS)
        written = lineage.store.write(ACTIONS.path("train-000"), rows)
        lineage.record(Work(ACTIONS.key, "train-000", (), (), "r"), written, run_id="run")
        run = Run(recipe.load("demo"), tmp_path, lineage)
        return Reader(run, "report", (ACTIONS,), (), lineage.latest().inputs([ACTIONS.at("train-000")]), "train-000")

    return made


def test_the_same_is_made_once_and_what_comes_of_something_else_anew(reads: Callable[..., Reader]):
    made: list[str] = []

    def ask(action: str, version: str = "1") -> bytes:
        def make() -> bytes:
            made.append(action + version)
            return f"a video of {action}".encode()

        return reads(action).as_before((ACTIONS,), [version], make)

    assert [ask("lunge"), ask("lunge"), ask("squat"), ask("lunge")] == [
        f"a video of {action}".encode() for action in ("lunge", "lunge", "squat", "lunge")
    ]
    assert made == ["lunge1", "squat1"]
    ask("lunge", "2")
    assert made[2:] == ["lunge2"]


def test_what_was_kept_and_is_damaged_is_made_anew_and_the_oldest_goes(reads: Callable[..., Reader], tmp_path: Path):
    reader = reads("lunge")
    assert reader.as_before((ACTIONS,), ["0"], lambda: b"first") == b"first"
    (kept,) = (tmp_path / "store" / ".work" / "kept" / "report").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert reader.as_before((ACTIONS,), ["0"], lambda: b"again") == b"again"
    for number in range(1, KEPT + 1):
        reader.as_before((ACTIONS,), [str(number)], lambda: b"more")
    assert len([*kept.parent.iterdir()]) == KEPT
    assert not kept.exists()


def test_tables_read_lately_are_not_read_again_as_long_as_they_fit(reads: Callable[..., Reader]):
    (version,) = reads("lunge").inputs
    asked: list[str] = []
    table = tables.conform(pa.Table.from_pylist([{"video_id": "v1", "action": "lunge"}]), tables.ACTIONS)

    def read(path: str) -> pa.Table:
        asked.append(path)
        return table

    roomy, full = Recent(1 << 20), Recent(0)
    for _ in range(2):
        assert roomy.table(version, tables.ACTIONS, read).equals(table)
    assert asked == [version.path]
    for _ in range(2):
        assert full.table(version, tables.ACTIONS, read).equals(table)
    assert len(asked) == 3


def test_a_new_version_is_read_though_it_has_the_old_ones_path(reads: Callable[..., Reader]):
    assert reads("lunge")(ACTIONS)["action"].to_pylist() == ["lunge"]
    assert reads("squat")(ACTIONS)["action"].to_pylist() == ["squat"]
