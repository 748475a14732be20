"""Before all tests: each process that runs them has one thread, and so has each that it starts.

Two processes of two threads on two cores take several times as long as of one: threads of a network wait for one
another. What takes longest begins first, so that both processes end together.
"""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("whole") is None)
