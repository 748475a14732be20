import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline.errors import StoreError
from tps_pipeline.outputs import psc
from tps_pipeline.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "store" if request.param == "local" else f"memory://{tmp_path.name}")


def test_a_table_comes_back_and_equal_content_has_an_equal_version(store: Store):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    first = store.write("some/asset/train-000.parquet", table)
    assert store.read(first.path).equals(table)
    assert store.read(first.path, columns=["a"]).column_names == ["a"]
    assert store.write("elsewhere.parquet", table).data_version == first.data_version
    assert store.write("elsewhere.parquet", table.slice(1)).data_version != first.data_version


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux lists them")
def test_no_thread_is_left_of_reading_that_could_abort_the_process_at_its_end(tmp_path: Path):
    Store(tmp_path).write("a.parquet", pa.table({"a": range(1000), "b": ["x"] * 1000}))
    program = f"""
import os, pyarrow.parquet
from tps_pipeline.store import Store
store = Store({str(tmp_path)!r})
before = set(os.listdir("/proc/self/task"))
assert (store.read("a.parquet").num_rows, store.head("a.parquet", 3).num_rows) == (1000, 3)
print(len(set(os.listdir("/proc/self/task")) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_pandas_alone_reads_the_store(tmp_path: Path):
    Store(tmp_path).write(psc("voting").path("val-000"), pa.table({"psc": [0.5]}))
    assert pd.read_parquet(tmp_path / "psc" / "voting" / "val-000.parquet").psc.tolist() == [0.5]


def test_writes_leave_nothing_but_the_file(tmp_path: Path):
    store = Store(tmp_path)
    store.write("x/a.parquet", pa.table({"a": [1]}))
    store.write("x/a.parquet", pa.table({"a": [2]}))
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["a.parquet"]


def test_keep_moves_files_and_replaces_folders_whole(store: Store):
    sizes: list[int] = []
    for content in ("one", "two"):
        with store.scratch() as scratch:
            folder = scratch / "checkpoint"
            folder.mkdir()
            (folder / "model.bin").write_text(content)
            if content == "one":
                (folder / "only_in_the_first").write_text("")
            sizes.append(store.keep(folder, "checkpoints/person/abc").bytes)
    kept = store.local("checkpoints/person/abc")
    assert (kept / "model.bin").exists()
    assert {p.name for p in kept.iterdir()} == {"model.bin"}
    assert sizes == [3, 3]


def test_a_folders_version_covers_names_and_content(store: Store):
    versions = []
    for name, content in (("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")):
        with store.scratch() as scratch:
            folder = scratch / "f"
            folder.mkdir()
            (folder / name).write_text(content)
            versions.append(store.keep(folder, f"folders/{len(versions)}").data_version)
    assert versions[0] == versions[3]
    assert len(set(versions)) == 3


def test_logs_do_not_change_a_folders_version(store: Store):
    versions = set()
    for log in ("quick", "slow"):
        with store.scratch() as scratch:
            (scratch / "f" / "tensorboard").mkdir(parents=True)
            (scratch / "f" / "tensorboard" / "events").write_text(log)
            (scratch / "f" / "model").write_text("weights")
            versions.add(store.keep(scratch / "f", "checkpoint", unversioned={"tensorboard"}).data_version)
    assert len(versions) == 1
    assert store.exists("checkpoint/tensorboard/events")


def test_what_is_missing_or_damaged_is_named(tmp_path: Path):
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="materialize it first"):
        store.read("people/train-000.parquet")
    Path(tmp_path, "bad.parquet").write_text("no table")
    with pytest.raises(StoreError, match=r"bad\.parquet is damaged"):
        store.read("bad.parquet")
