"""A clock that jumps: what follows from what does not depend on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.steps import TO_FRAMES, small
from tests.workplace import ROOT

HOUR = 3600


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the clock of a process that it is loaded into."""
    # The clock is shifted from below Python, in all processes; only these tests, not `make test`, need a compiler.
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler (cc)")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def said(command: list[str], clock: Path, hours: float) -> list[str]:
    """What a process writes whose clock is some hours off."""
    variables = os.environ | {"LD_PRELOAD": str(clock), "CLOCK_SHIFT": str(round(hours * HOUR))}
    done = subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()


def made(folder: Path, clock: Path, hours: float) -> list[str]:
    """What a run makes whose clock is some hours off."""
    return said([sys.executable, "-m", "tests.faults.steps", str(folder), *TO_FRAMES], clock, hours)


def test_the_clock_is_shifted(clock: Path) -> None:
    asked = [
        sys.executable,
        "-c",
        "import datetime as d, time; print(time.time(), d.datetime.now().timestamp())",
    ]
    for before, after in zip(said(asked, clock, 0), said(asked, clock, -48), strict=True):
        assert float(after) - float(before) == pytest.approx(-48 * HOUR, abs=60)


@pytest.mark.parametrize("jumps", [(-2, -26), (30, 0)], ids=["backward", "forward"])
def test_nothing_is_made_again_and_a_change_is_seen(tmp_path: Path, clock: Path, jumps: tuple[float, ...]) -> None:
    folder = small(tmp_path)
    assert made(folder, clock, 0)
    video = next(folder.glob("data/train_videos/*/*.mp4"))
    for hours in jumps:
        assert not made(folder, clock, hours)
        video.write_bytes(video.read_bytes() + bytes(8))
        again = made(folder, clock, hours)
        assert [name for name in again if name.startswith("videos/")]
        assert [name for name in again if name.startswith("frames/")]
    assert not made(folder, clock, jumps[-1])
