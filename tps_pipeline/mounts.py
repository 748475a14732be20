"""What kind of disk a folder is on: whether other machines may have it, too.

Whether files are read, and what of them is kept, is `plain_file`'s and `store`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_OF_SEVERAL_MACHINES = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "gluster",
    "fuse.",
    "virtiofs",
)
"""How the names of such file systems begin (Linux' and macOS's `mount`). Whatever FUSE shows is taken for one:
`sshfs`, `s3fs`, `juicefs` and `rclone` are."""


class Mount(Protocol):
    """A place of a file system, as psutil names it."""

    @property
    def mountpoint(self) -> str:
        """The folder."""
        ...

    @property
    def fstype(self) -> str:
        """The kind of file system."""
        ...


def of_several_machines(folder: str | Path, mounts: Iterable[Mount] | None = None) -> str | None:
    """The kind of file system a folder is on, if other machines may have mounted it, too.

    Args:
        folder: It need not be there yet.
        mounts: What is mounted where, later ones over earlier ones; this machine's if not given.

    Returns:
        Such as `nfs4`; None of a disk that is this machine's alone, or where the system does not say.
    """
    if mounts is None:
        import psutil  # a run's only

        mounts = psutil.disk_partitions(all=True)
    at = Path(folder).expanduser().resolve()
    above = [mount for mount in mounts if at.is_relative_to(mount.mountpoint)]
    nearest = max(enumerate(above), key=lambda one: (len(one[1].mountpoint), one[0]), default=None)
    return nearest[1].fstype if nearest and nearest[1].fstype.startswith(_OF_SEVERAL_MACHINES) else None
