"""A check's verdict belongs to its output's version: what has failed is neither up to date nor read until it passes."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.errors import StoreError
from tps_pipeline.graph import Check, Graph, Reader, Run, judge, make, step
from tps_pipeline.graph.checking import allow
from tps_pipeline.graph.plan import plan
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import SHARDS, Output
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

NUMBERS = Output("numbers", tables.PROBLEMS, sharded=True)
SUMMARY = Output("summary", tables.PROBLEMS)
EVERYWHERE = ["test-000", "test-001"]
WRONG = {"test-001"}
"""What is wrong in the world; a table's content says so."""


@step(NUMBERS, reads=(SHARDS,))
def numbers(read: Reader) -> pa.Table:
    """One row a shard, which says what is wrong with it."""
    return read(SHARDS).select(["video_id"]).rename_columns(["problem"]).cast(tables.PROBLEMS)


@step(SUMMARY, reads=(NUMBERS,), splits=("test",))
def summary(read: Reader) -> pa.Table:
    """All of them."""
    return read(NUMBERS)


def find(output: Output, read: Reader) -> list[str]:
    """Videos are not called so."""
    return [f"{video}: is bad" for video in read(output)[0].to_pylist() if str(video).startswith("bad")]


CHECK = Check(NUMBERS, "not_bad", find)
GRAPH = Graph([numbers, summary], scored=("test",))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A store with two shards of one video each, one of which is bad."""
    made = Run(recipe.load("demo"), tmp_path, Lineage(Store(tmp_path)), store_name=str(tmp_path))
    put(made, "test-000", "good")
    put(made, "test-001", "bad")
    return made


def put(run: Run, shard: str, video: str) -> None:
    row = {"video_id": video, "split": "test", "action": None, "path": "", "sha256": "", "bytes": 0, "mtime_ns": 0}
    table = tables.conform({name: [value] for name, value in (row | {"annotations": None}).items()}, tables.SHARD)
    run.lineage.record(Work(SHARDS.key, shard, (), (), ""), run.store.write(SHARDS.path(shard), table), run_id="")


def made_and_judged(run: Run, *, check: Check = CHECK) -> tuple[list[str], list[str]]:
    """What a run makes, and what its check forbids."""
    made = make(run, numbers, EVERYWHERE)[NUMBERS].made
    return list(made), [verdict.refusal for s in EVERYWHERE if (verdict := judge(run, check, s)).refusal]


def test_the_same_command_fails_as_often_as_it_is_given(run: Run):
    made, (refusal,) = made_and_judged(run)
    assert made == EVERYWHERE
    assert refusal == (
        "numbers/test-001 failed not_bad: bad: is bad; mend what is named and run again, `tps store remove` its video, "
        "or `tps store allow numbers/test-001` as it is"
    )
    for _ in range(2):
        assert plan(run, GRAPH).due["numbers/test-001"] == refusal
        with pytest.raises(StoreError, match="numbers/test-001 failed not_bad: bad: is bad"):
            make(run, summary)
        assert made_and_judged(run) == (["test-001"], [refusal])  # it is not up to date, the other one is
    assert SUMMARY.at() not in run.lineage.latest().records


def test_what_is_mended_passes_and_all_goes_on(run: Run):
    made_and_judged(run)
    put(run, "test-001", "better")
    assert made_and_judged(run) == (["test-001"], [])
    assert make(run, summary)[SUMMARY].made
    assert plan(run, GRAPH).due == {}


def test_what_a_newer_check_finds_right_passes_without_being_made_again(run: Run):
    made_and_judged(run)

    def nothing(output: object, read: object) -> list[str]:
        return []

    lenient = replace(CHECK, find=nothing)
    assert judge(run, lenient, "test-001").refusal is None
    assert make(run, summary)[SUMMARY].made
    assert plan(run, GRAPH).due == {}


def test_what_is_allowed_by_name_is_read_until_it_is_another(run: Run):
    made_and_judged(run)
    done = CliRunner().invoke(
        app, ["store", "allow", "numbers/test-001", "--because", "known", "--store", run.store_name]
    )
    assert (done.exit_code, done.stderr.count("numbers/test-001 failed not_bad: bad: is bad")) == (0, 1)
    assert made_and_judged(run) == ([], [])
    assert make(run, summary)[SUMMARY].made
    assert plan(run, GRAPH).due == {}
    record = next(r for r in run.lineage.records() if r.asset == "allowed/numbers")
    assert {i.asset for i in record.inputs} == {"numbers", "checks/numbers/not_bad"}
    assert '"because": "known"' in run.store.local(record.path).read_text()
    put(run, "test-001", "bad too")
    assert len(made_and_judged(run)[1]) == 1


@pytest.mark.parametrize("name", ["numbers/test-000", "numbers/test-007", "nothing"])
def test_what_has_not_failed_cannot_be_allowed(run: Run, name: str):
    made_and_judged(run)
    done = CliRunner().invoke(app, ["store", "allow", name, "--store", run.store_name])
    assert (done.exit_code, done.stderr.startswith("tps: ")) == (1, True)


def test_a_store_without_verdicts_is_read_and_judged_when_a_run_comes_by(run: Run):
    """One of version 0.2: no table is made again."""
    make(run, numbers, EVERYWHERE)
    assert make(run, summary)[SUMMARY].made
    assert made_and_judged(run)[0] == []
    assert list(plan(run, GRAPH).due) == ["numbers/test-001", "summary"]


def test_a_check_that_does_not_block_holds_nothing_up(run: Run):
    _, refused = made_and_judged(run, check=replace(CHECK, blocking=False))
    assert refused == []
    assert judge(run, replace(CHECK, blocking=False), "test-001").problems == ["bad: is bad"]
    assert make(run, summary)[SUMMARY].made


def test_what_has_passed_is_looked_at_again_when_it_is_seen_from_something_else(run: Run):
    looked = []

    def note(output: Output, read: Reader) -> list[str]:
        looked.append(read.shard)
        return []

    check = Check(NUMBERS, "noted", note, reads=(SUMMARY,))
    put(run, "test-001", "better")
    make(run, numbers, EVERYWHERE)
    make(run, summary)
    for _ in range(2):
        assert judge(run, check, "test-000").problems == []
    assert looked == ["test-000"]
    put(run, "test-001", "best")
    make(run, numbers, EVERYWHERE)
    make(run, summary)
    judge(run, check, "test-000")
    assert looked == ["test-000", "test-000"]


def test_what_shards_have_failed_together_forbids_each(run: Run):
    check = Check(SHARDS, "not_bad", lambda output, read: [f"{len(read(output))} videos are too many"])
    assert "shards failed not_bad: 2 videos are too many" in str(judge(run, check).refusal)
    with pytest.raises(StoreError, match="shards failed not_bad"):
        make(run, numbers, ["test-000"])
    assert allow(run.lineage, "shards", "few enough") == ["shards failed not_bad: 2 videos are too many"]
    assert list(make(run, numbers, ["test-000"])[NUMBERS].made) == ["test-000"]


def test_verdicts_outlast_compaction(run: Run):
    made_and_judged(run)
    run.lineage.compact()
    assert len(Lineage(run.store).latest().refusals()) == 1
