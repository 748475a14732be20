"""Whether a folder is on a disk that other machines may have, too: told by what is mounted nearest above it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tps_pipeline.mounts import of_several_machines


class Mounted(NamedTuple):
    mountpoint: str
    fstype: str


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "ceph", "9p"])
def test_a_folder_on_a_share_is_of_several_machines(tmp_path: Path, kind: str) -> None:
    mounts = [Mounted("/", "ext4"), Mounted(str(tmp_path / "share"), kind)]
    assert of_several_machines(tmp_path / "share" / "store that is not there yet", mounts) == kind
    assert of_several_machines(tmp_path / "share on this disk", mounts) is None


def test_the_nearest_mount_counts_and_of_one_place_the_last(tmp_path: Path) -> None:
    share = Mounted(str(tmp_path), "nfs4")
    assert of_several_machines(tmp_path / "a" / "b", [share, Mounted(str(tmp_path / "a"), "xfs")]) is None
    assert of_several_machines(tmp_path / "a", [share, Mounted(str(tmp_path), "tmpfs")]) is None
    assert of_several_machines(tmp_path / "a", [Mounted(str(tmp_path), "tmpfs"), share]) == "nfs4"


def test_a_link_to_a_share_is_on_it(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    assert of_several_machines(tmp_path / "link" / "store", [Mounted(str(tmp_path / "share"), "nfs")]) == "nfs"


def test_this_machine_is_asked_if_nothing_is_given(tmp_path: Path) -> None:
    assert of_several_machines("/proc") is None
    assert of_several_machines(tmp_path, []) is None
