"""Preloaded where networks train side by side, in the process that steps' processes are forked from.

It ends with the run: by itself it would first import all that is preloaded, and then take PyTorch down. A step's
process says nothing before it has read its run's settings: until then Dagster logs to a console of its own, at DEBUG, a
line for each network, in the midst of what is shown.
"""

import ctypes
import signal
import sys

import dagster._core.execution.context_creation_job as creation

_PR_SET_PDEATHSIG = 1
"""Of Linux, `prctl(2)`; what is forked does not have it, and ends by `assets.dead_runs`."""


def _no_loggers(_: object) -> list[object]:
    """Events go to the instance all the same."""
    return []


if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
creation.default_system_loggers = _no_loggers  # pyright: ignore[reportPrivateImportUsage]
