"""The lock of object stores, between processes, on a file system that creates a file once as such stores do."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from tps_pipeline import lease

PROCESSES = multiprocessing.get_context("spawn")
QUICK = 0.8
"""Seconds of a lease in these tests."""


class OneWins(LocalFileSystem):
    """Files appear whole, and of those who create one at once one succeeds; fsspec's looks first and writes then."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent.parent) as folder:
            (whole := Path(folder) / "whole").write_bytes(value)
            if mode == "create":
                os.link(whole, target)
            else:
                whole.replace(target)


class Failing(OneWins):
    """Heartbeats fail once it is told so."""

    broken = False
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if self.broken and path.endswith(".beat"):
            raise OSError("the network is away")
        super().pipe_file(path, value, mode=mode, **options)


def there(fs: LocalFileSystem | None = None) -> Any:
    return fs or OneWins()


def count_up(folder: str, times: int) -> None:
    counter = Path(folder) / "counter"
    for _ in range(times):
        with lease.held(there(), f"{folder}/lock"):
            before = int(counter.read_text())
            time.sleep(0.002)
            counter.write_text(str(before + 1))


def die_with_it(folder: str) -> None:
    with lease.held(there(), f"{folder}/lock", lease=QUICK):
        os._exit(1)


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "lock").iterdir()]


def test_one_at_a_time_and_nothing_stays_behind(tmp_path: Path):
    (tmp_path / "counter").write_text("0")
    started = [PROCESSES.Process(target=count_up, args=(str(tmp_path), 15)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert (tmp_path / "counter").read_text() == "45"
    assert not left(tmp_path)


def test_one_that_died_is_taken_over_from_and_the_next_need_not_wait(tmp_path: Path):
    for _ in range(2):  # who takes over may die as well
        dead = PROCESSES.Process(target=die_with_it, args=(str(tmp_path),))
        dead.start()
        dead.join()
    begin = time.monotonic()
    with lease.held(there(), f"{tmp_path}/lock", lease=QUICK):
        assert time.monotonic() - begin > QUICK
    assert not left(tmp_path)


def test_one_that_lives_keeps_it_for_longer_than_a_lease(tmp_path: Path):
    came = threading.Event()

    def wait() -> None:
        with lease.held(there(), f"{tmp_path}/lock", lease=QUICK):
            came.set()

    other = threading.Thread(target=wait)
    with lease.held(there(), f"{tmp_path}/lock", lease=QUICK):
        other.start()
        assert not came.wait(2.5 * QUICK)
    other.join()
    assert came.is_set()


def test_one_that_was_cut_off_does_not_free_what_is_another_s(tmp_path: Path):
    cut, taken, done = there(Failing()), threading.Event(), threading.Event()

    def take_over() -> None:
        with lease.held(there(), f"{tmp_path}/lock", lease=QUICK):
            taken.set()
            done.wait()

    other = threading.Thread(target=take_over)
    with lease.held(cut, f"{tmp_path}/lock", lease=QUICK):
        cut.broken = True
        other.start()
        assert taken.wait(10 * QUICK)
        cut.broken = False
        time.sleep(QUICK / 2)  # its heart beats again
    third = threading.Thread(target=count_up, args=(str(tmp_path), 1))
    (tmp_path / "counter").write_text("0")
    third.start()
    third.join(QUICK / 2)
    assert (tmp_path / "counter").read_text() == "0"
    done.set()
    other.join()
    third.join()
    assert (tmp_path / "counter").read_text() == "1"
    assert not left(tmp_path)


def test_what_fails_while_it_is_held_frees_it(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), lease.held(there(), f"{tmp_path}/lock"):
        _ = 1 / 0
    assert not left(tmp_path)
