"""The job of steps in processes of their own: whoever is told whose has it before any of them is forked."""

import subprocess
import sys
from pathlib import Path

from assets.in_processes import wanted
from assets.resources import Pipeline
from tests.workplace import ROOT

HAS = "import assets.in_processes as m; print(m.job_of.cache_info().currsize, 'TPS_JOB_WANTED' in m.os.environ)"


def _begins_with() -> str:
    """How many jobs a process that is started now begins with, and whether it would have its own begin with them."""
    done = subprocess.run([sys.executable, "-c", HAS], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_who_is_told_begins_with_the_job_and_nobody_else_has_one(tmp_path: Path) -> None:
    pipeline = Pipeline(data=str(tmp_path), recipe_name="demo", store_root=str(tmp_path / "store")).freeze()
    with wanted(pipeline):
        assert _begins_with() == "1 False"
    assert _begins_with() == "0 False"
