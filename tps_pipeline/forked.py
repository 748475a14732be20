"""Preloaded into the process that others are forked from, after Dagster: to import this has it end with who started it.

By itself it would import all that is preloaded before it looks, and take PyTorch down after that. What is forked from
it does not have this, and ends by itself (`assets.dead_runs`). Nothing else belongs here: it must be imported at once.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""Of Linux, `prctl(2)`; elsewhere nothing is done."""

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
