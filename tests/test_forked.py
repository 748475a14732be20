"""The process that trainings are forked from does not outlive who started it, whatever it is about to import."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.workplace import ROOT

pytestmark = pytest.mark.whole

STARTED = """
import multiprocessing
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tps_pipeline.forked", "slow"])
context.Process(target=print).start()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with who started it")
def test_it_ends_with_who_started_it_in_the_midst_of_an_import(tmp_path: Path):
    begun = tmp_path / "begun"
    (tmp_path / "slow.py").write_text(f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)")
    (tmp_path / "main.py").write_text(STARTED)
    started = psutil.Popen([sys.executable, tmp_path / "main.py"], env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    until = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.05)
    forked_from = [each for each in started.children() if "forkserver" in " ".join(each.cmdline())]
    assert len(forked_from) == 1
    started.kill()
    started.wait(10)
    _, alive = psutil.wait_procs(forked_from, timeout=5)
    assert not alive
