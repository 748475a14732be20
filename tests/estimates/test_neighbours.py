"""Others at work while a training is tried."""

import subprocess
import sys
import time

import psutil

from tps_pipeline.estimates.neighbours import neighbours

LEFT = """
import os
from tps_pipeline.estimates.neighbours import neighbours
with neighbours(1):
    os._exit(0)
"""


def _at_work() -> list[psutil.Process]:
    name = neighbours.__module__
    return [each for each in psutil.process_iter(["cmdline"]) if name in (each.info["cmdline"] or [])]


def test_they_compute_and_are_gone_afterwards() -> None:
    with neighbours(1):
        (mine,) = [each for each in psutil.Process().children() if each in _at_work()]
        until = time.monotonic() + 60
        while sum(mine.cpu_times()[:2]) < 0.5 and time.monotonic() < until:
            time.sleep(0.1)
        assert sum(mine.cpu_times()[:2]) >= 0.5
    assert not mine.is_running()


def test_they_end_with_who_asked_for_them() -> None:
    before = {each.pid for each in _at_work()}
    subprocess.run([sys.executable, "-c", LEFT], check=True)
    until = time.monotonic() + 60
    while (left := {each.pid for each in _at_work()} - before) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left
