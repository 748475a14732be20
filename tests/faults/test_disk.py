"""A full disk: one line, nothing half-written is taken for whole, and with room the same command ends as ever."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disturbed import contents, copy, different, nothing_is_left, unrestricted, versions
from tests.faults.steps import TO_FRAMES, Undisturbed, finish, run_of
from tests.workplace import ROOT
from tps_pipeline.errors import StoreError

RUN = [sys.executable, "-m", "assets.run"]


@pytest.fixture(scope="module")
def by_steps(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What steps make in this process: the last digits of a detection are those of so many threads as it has."""
    folder = copy(undisturbed.folder, tmp_path_factory.mktemp("by_steps") / "workplace")
    finish(folder)
    assert versions(folder).keys() == {name for name in versions(undisturbed.folder) if not name.startswith("checks/")}
    return folder


@pytest.fixture
def disturbed(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[Path]:
    """A copy whose store is a disk of its own."""
    folder = copy(undisturbed.folder, tmp_path / "disturbed")
    (folder / "store").mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", folder / "store"]
    mounted = subprocess.run(mount, stderr=subprocess.DEVNULL, check=False)
    if mounted.returncode:
        # A disk that is full needs one of its own, which only root may mount; `docs/reliability.md` says when it was.
        pytest.skip("may not mount a disk of its own")
    yield folder
    subprocess.run(["umount", "--lazy", folder / "store"], check=True)


def resize(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder / "store"], check=True)


def test_the_whole_graph_on_a_disk_that_is_too_small(undisturbed: Undisturbed, disturbed: Path) -> None:
    stopped = []
    for kilobytes in (40, 150, 2000):
        resize(disturbed, kilobytes)
        ended = subprocess.run(
            RUN, cwd=ROOT, env=unrestricted(disturbed), check=False, timeout=900, stderr=subprocess.PIPE, text=True
        )
        said = [line for line in ended.stderr.splitlines() if line and not line.endswith(" s") and line[:5] != "make "]
        failed = [line for line in said if line.startswith("failed: ")]
        assert ended.returncode == 1
        assert len(failed) == 1, ended.stderr
        assert f"no room is left on the disk of {disturbed / 'store'}" in failed[0]
        # What a try has written and found no room to record the next one finds, and says so.
        assert all(stopped and "had lost its record or its table" in line for line in said if line not in failed), said
        stopped.append(failed[0].split(":")[1].strip())
    print(f"stopped at {stopped}")
    assert any(name.startswith("checkpoints/") for name in stopped)
    assert {"videos", "annotations", "frames"} & {*stopped}
    resize(disturbed, 64_000)
    subprocess.run(RUN, cwd=ROOT, env=unrestricted(disturbed), check=True, timeout=900)
    assert different(versions(disturbed), versions(undisturbed.folder)) == []
    assert different(contents(disturbed), contents(undisturbed.folder)) == []
    nothing_is_left(disturbed)


@pytest.mark.parametrize("step", ["videos", "annotations", "frames", "datasets/part", "checkpoints/part_detector"])
def test_a_step_on_a_full_disk(by_steps: Path, disturbed: Path, step: str) -> None:
    def fill(name: str) -> None:
        if name == step:
            resize(disturbed, used(disturbed) + 8)

    with pytest.raises(StoreError, match="no room is left") as said:
        finish(disturbed, before=fill)
    assert str(said.value).startswith(step)
    assert "\n" not in str(said.value)
    before = versions(disturbed)
    assert before.items() <= versions(by_steps).items()
    resize(disturbed, 64_000)
    finish(disturbed)
    assert different(versions(disturbed), versions(by_steps)) == []
    assert different(contents(disturbed), contents(by_steps)) == []


def test_frames_with_a_little_more_room_each_time(undisturbed: Undisturbed, disturbed: Path) -> None:
    """However much of a file has room: what is recorded has every row."""
    finish(disturbed, only=TO_FRAMES[:2])
    stopped = 0
    while True:
        resize(disturbed, used(disturbed) + 5 * (stopped % 9))
        try:
            finish(disturbed, only=TO_FRAMES)
            break
        except StoreError as error:
            assert "no room is left" in str(error)  # noqa: PT017
        stopped += 1
        assert versions(disturbed).items() <= versions(undisturbed.folder).items()
        assert contents(disturbed).items() <= contents(undisturbed.folder).items()
    print(f"stopped {stopped} times")
    assert stopped > 8
    assert versions(disturbed).items() <= versions(undisturbed.folder).items()


def test_records_on_a_full_disk(disturbed: Path) -> None:
    resize(disturbed, 64_000)
    finish(disturbed, only=("videos", "annotations"))
    known, files = versions(disturbed), sorted((disturbed / "store" / "lineage").iterdir())
    assert len(files) > 20
    resize(disturbed, used(disturbed))
    run, _ = run_of(disturbed)
    with pytest.raises(OSError, match="No space left"):
        run.lineage.compact()
    assert sorted((disturbed / "store" / "lineage").iterdir()) == files
    assert versions(disturbed) == known
    resize(disturbed, 64_000)
    assert run_of(disturbed)[0].lineage.compact() == len(files)
    assert versions(disturbed) == known
    assert not finish(disturbed, only=("videos", "annotations"))


def used(folder: Path) -> int:
    """Kilobytes that are taken on the disk of the store."""
    of = os.statvfs(folder / "store")
    return (of.f_blocks - of.f_bfree) * of.f_frsize // 1024
