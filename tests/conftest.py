"""Before all tests: each process that runs them has one thread, and so has each that it starts.

Two processes of two threads on two cores take several times as long as of one: threads of a network wait for one
another.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
