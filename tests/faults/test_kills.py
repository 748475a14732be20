"""Kills at any moment of the whole graph: the same command again ends as if nothing had happened.

`KILLS` says how many (50, half of them SIGKILL, half SIGTERM), `SEED` at which moments (0).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.disturbed import contents, copy, different, nothing_is_left, unrestricted, versions
from tests.faults.steps import Undisturbed
from tests.workplace import ROOT

RUN = [sys.executable, "-m", "assets.run"]
KILLS = int(os.environ.get("KILLS", "50")) // 2
SEED = int(os.environ.get("SEED", "0"))
TOGETHER = 5
"""Kills of one test: of few, so that no process that tests waits for another at the end."""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("part", range(-(-KILLS // TOGETHER)))
def test_a_run_that_is_killed_at_any_moment_goes_on(
    undisturbed: Undisturbed, tmp_path: Path, sent: signal.Signals, part: int
) -> None:
    folder, seconds = undisturbed
    chance, kills, chains = random.Random(f"{SEED} {sent} {part}"), 0, 0
    wanted, files = versions(folder), contents(folder)
    while kills < min(TOGETHER, KILLS - part * TOGETHER):  # one store after the other, each until a run ends by itself
        disturbed, moments = copy(folder, tmp_path / f"disturbed-{chains}"), []
        went_on = False
        while kills < min(TOGETHER, KILLS - part * TOGETHER) and not went_on:
            moments.append(chance.uniform(0, seconds))
            went_on = not killed(unrestricted(disturbed), moments[-1], sent)
            kills += not went_on
        print(f"{sent.name} {SEED=} {part=} store {chains}: {[round(moment, 2) for moment in moments]}", flush=True)
        if not went_on:
            subprocess.run(RUN, cwd=ROOT, env=unrestricted(disturbed), check=True, timeout=900)
        assert different(versions(disturbed), wanted) == []
        assert different(contents(disturbed), files) == []
        nothing_is_left(disturbed)
        shutil.rmtree(disturbed)
        chains += 1


def killed(variables: Mapping[str, str], after: float, sent: signal.Signals) -> bool:
    """Start a run, send it, and it alone, a signal after some seconds, and see all that it started end.

    Whether the signal came in time: if not, the run has ended well.
    """
    run = psutil.Popen(RUN, cwd=ROOT, env=variables, start_new_session=True)
    try:
        assert run.wait(after) == 0
        return False
    except psutil.TimeoutExpired:
        run.send_signal(sent)
    code = run.wait(60)
    until = time.monotonic() + 5
    while (alive := of_session(run.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive
    return code != 0


def of_session(session: int) -> list[psutil.Process]:
    """What still runs of a session."""
    return [process for process in psutil.process_iter(["status"]) if is_of(process, session)]


def is_of(process: psutil.Process, session: int) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
