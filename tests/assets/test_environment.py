"""Variables that are empty, or say what cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

from assets import environment
from assets.resources import Pipeline
from tps_pipeline.errors import StoreError
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_as_none_and_never_the_working_folder(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TPS_STORE", "TPS_DATA", "TPS_RECIPE"):
        monkeypatch.setenv(name, value)
    pipeline = Pipeline.from_environment()
    assert (pipeline.data, pipeline.recipe_name, pipeline.store_root) == ("demo/data", "demo", "demo/store")
    with pytest.raises(StoreError, match="the store's name is empty"):
        Store(value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["two", "0", "-1", "1.5", "nan", "inf", "1e999"])
def test_a_number_that_cannot_be_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPS_PROCESSES", value)
    with pytest.raises(SystemExit, match=f"TPS_PROCESSES={value}: expected a whole number, 1 or more"):
        environment.number("TPS_PROCESSES", 1, least=1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TPS_PROCESSES", "two", "TPS_PROCESSES=two: expected a whole number, 1 or more"),
        ("TPS_GPUS", "-1", "TPS_GPUS=-1: expected a number, 0 or more"),
        ("TPS_EXECUTOR", "rya", "TPS_EXECUTOR=rya: expected in_process, multiprocess, ray or k8s"),
        ("TPS_BACKFILL_SHARDS_PER_RUN", "few", "TPS_BACKFILL_SHARDS_PER_RUN=few: expected a whole number, 0 or more"),
    ],
)
def test_the_code_location_says_so_in_one_line(name: str, value: str, said: str) -> None:
    script = "import assets.executors, assets.steps; assets.executors.executor()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={name: value, "PATH": ""}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"{said}\n")


@pytest.mark.parametrize("given", [[], ["STORE=", "DATA="], ["STORE= ", "DAGSTER_HOME="]])
def test_make_takes_an_empty_variable_as_none(given: list[str]) -> None:
    script = ["make", "-pn", "help", *given]
    empty = {"PATH": "/usr/bin:/bin", "STORE": "", "DAGSTER_HOME": ""}
    printed = subprocess.run(script, cwd=ROOT, env=empty, capture_output=True, text=True).stdout.splitlines()
    assert "STORE := demo/store" in printed
    assert "DATA := demo/data" in printed
    assert f"DAGSTER_HOME := {ROOT}/demo/store/.dagster" in printed
