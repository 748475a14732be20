"""Preloaded last into the process that others are forked from: what is there by then stays and is not looked at again.

Python's garbage collector would go through all of PyTorch's and Dagster's objects in each of these processes, and
touch, so copy, the memory that they share: a process begins its step after 0.8 s with it, and 0.5 s without. Nothing
else belongs here.
"""

import gc

gc.collect()
gc.freeze()
