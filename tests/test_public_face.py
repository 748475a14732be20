"""What others may import from `tps_pipeline`, that importing it costs nothing, and one version everywhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tps_pipeline
from tps_pipeline.errors import TpsError

ROOT = Path(tps_pipeline.__file__).parent.parent

FACE = [
    "Evaluation", "Graph", "InMemory", "Lineage", "Method", "Parser", "Plan", "Reads", "Recipe", "Record", "Result",
    "Run", "Store", "TpsError", "__version__", "build_method", "draw", "errors", "evaluate", "from_reference",
    "graph_of", "labels", "load", "load_recipe", "make", "outputs", "plan", "tables",
]  # fmt: skip


def test_what_others_may_import_is_this_and_all_of_it_is_there():
    assert tps_pipeline.__all__ == FACE
    assert set(FACE) <= set(dir(tps_pipeline))
    assert all(getattr(tps_pipeline, name) is not None for name in FACE)
    assert tps_pipeline.TpsError is TpsError
    assert tps_pipeline.load_recipe("demo").submission == "by_category"


def test_a_name_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(AttributeError, match="module 'tps_pipeline' has no attribute 'no_such_name'"):
        _ = tps_pipeline.no_such_name


def test_to_import_it_imports_nothing_else():
    heavy = "('torch', 'pandas', 'numpy', 'pyarrow', 'pydantic', 'dagster')"
    script = f"import tps_pipeline, sys; print([name for name in {heavy} if name in sys.modules], end='')"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]"


def test_types_are_for_others_too():
    assert (ROOT / "tps_pipeline" / "py.typed").read_bytes() == b""


def test_package_changelog_and_citation_are_of_one_version():
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] == tps_pipeline.__version__
    assert versions == sorted(versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == tps_pipeline.__version__


@pytest.mark.parametrize(
    ("given", "then"),
    [({}, ["2000", "0", "2000"]), ({"GOMP_SPINCOUNT": "7"}, ["7", "7", "7"]), ({"OMP_WAIT_POLICY": "active"}, [])],
)
def test_threads_do_not_wait_busily_unless_somebody_wants_them_to(given: dict[str, str], then: list[str]):
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    script = """
import os
import subprocess
from tps_pipeline.cpu import threads_that_sleep
subprocess.run("echo $GOMP_SPINCOUNT", shell=True, check=True)
with threads_that_sleep():  # of processes that share the cores
    subprocess.run("echo $GOMP_SPINCOUNT", shell=True, check=True)
subprocess.run("echo $GOMP_SPINCOUNT", shell=True, check=True)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], env=others | given, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == then
