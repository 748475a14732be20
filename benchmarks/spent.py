"""Processor time of a command and of all that it starts, whoever waits for it.

`make run` leaves trainings to a server of processes, for which nobody waits: no parent's time contains them. Run as
`python -m benchmarks.spent FILE COMMAND...`; writes seconds into the file if the command succeeds. Linux alone has what
it needs.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2): processes whose parent is gone become this one's children."""


def main(file: str, *command: str) -> int:
    """Run a command, wait for all that it has started, and write what they took."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("processor time of processes that are left behind can be counted on Linux alone")
    code = subprocess.call(command)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code == 0:
        Path(file).write_text(str(used.ru_utime + used.ru_stime))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
