"""Copies of a workplace that something happens to, and what must be as if nothing had: versions, files, leftovers."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from assets.executors import GPU
from tests.workplace import ROOT, environment
from tps_pipeline.lineage import Lineage
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import LOGS

ABOUT = {"lineage", "recipes", "data", "report.html"}
"""What is in a store beside results."""


def copy(workplace: Path, folder: Path) -> Path:
    """The same data and recipe with nothing made yet."""
    shutil.copytree(workplace, folder, ignore=shutil.ignore_patterns("store", "home"))
    (folder / "home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "home")
    return folder


def unrestricted(folder: Path) -> dict[str, str]:
    """The environment of a run that nobody has told how many threads to take: it must come to the same by itself."""
    return {name: value for name, value in environment(folder).items() if name != "OMP_NUM_THREADS"}


def stored(folder: Path, pattern: str) -> list[Path]:
    """The store's files and folders that are called so."""
    try:
        return list((folder / "store").glob(pattern))
    except FileNotFoundError:  # a scratch folder has gone meanwhile
        return []


def versions(folder: Path) -> dict[str, str]:
    """What there is, by content; the report page holds times."""
    latest = Lineage(Store(folder / "store")).latest().records.values()
    return {record.name: record.data_version for record in latest if record.asset != "report"}


def contents(folder: Path) -> dict[str, str]:
    """The digest of each result; not of records and figures about them, which hold times and places."""
    store = folder / "store"
    files = (path.relative_to(store) for path in store.rglob("*") if path.is_file())
    results = (path for path in files if not path.parts[0].startswith(".") and path.parts[0] not in ABOUT)
    return {
        path.as_posix(): hashlib.sha256((store / path).read_bytes()).hexdigest()
        for path in sorted(results)
        if not LOGS.intersection(path.parts)
    }


def different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """What is only in one of two, or other in it."""
    return sorted({name for name, _ in one.items() ^ other.items()})


def nothing_is_left(folder: Path) -> None:
    """No run that seems to go on, no place taken in a pool, no half-written file."""
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        statuses = {record.dagster_run.status for record in instance.get_run_records()}
        assert statuses <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
        assert instance.event_log_storage.get_concurrency_info(GPU).active_slot_count == 0
        assert not instance.event_log_storage.get_concurrency_run_ids()
    hidden = [path for path in stored(folder, "**/.*") if path.is_file() and not path.name.endswith(".lock")]
    assert not hidden
    assert not [path for path in stored(folder, ".scratch/*") if path.is_dir()]
    assert not [path for path in stored(folder, ".work/checkpoints/**/*") if path.is_file()]
