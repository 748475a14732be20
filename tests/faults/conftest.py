"""What disks that are full and kills share: a workplace in which the whole graph ran once, undisturbed."""

import subprocess
import sys
import time

import pytest

from tests.disturbed import unrestricted
from tests.faults.steps import Undisturbed, small
from tests.workplace import ROOT


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Run once in each process that tests: at the same time as another one, as what it is compared with does."""
    folder = small(tmp_path_factory.mktemp("undisturbed"), epochs=2)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "assets.run"], cwd=ROOT, env=unrestricted(folder), check=True, timeout=900)
    return Undisturbed(folder, time.monotonic() - began)
