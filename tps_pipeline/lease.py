"""A lock that is kept in an object store, and so holds among all machines that use the store.

It rests on one promise of such stores: an object that is not there yet is created by one of those who try at once
(`If-None-Match: *` of S3, its like elsewhere). No clock is compared with another's: a holder writes its heartbeat, and
who waits takes over from one whose heartbeat has not changed for `LEASE` seconds of its own watching.

::

    held            who was first to hold it: a token
    <token>.beat    a number that this one counts up while it lives
    <token>.heir    who has taken over from it
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

LEASE = 60.0
"""Seconds without a heartbeat after which a holder counts as dead."""
_POLL = (0.05, 2.0)
"""Seconds between two looks of who waits: at first, and at most."""


@contextmanager
def held(fs: Any, folder: str, *, lease: float = LEASE) -> Iterator[None]:
    """Hold a lock; others wait. Who stood still for longer than the lease may have lost it meanwhile.

    Args:
        fs: The fsspec file system.
        folder: Where the lock's objects are; it is the lock's name.
        lease: As `LEASE`, the same for all.
    """
    lock = _Lock(fs, folder, lease)
    before = lock.acquire()
    try:
        yield
    finally:
        lock.release(before)


class _Lock:
    """One process's part in a lock."""

    def __init__(self, fs: Any, folder: str, lease: float) -> None:
        self._fs, self._folder, self._lease = fs, folder, lease
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        self._beats, self._last_beat, self._late = 0, time.monotonic(), False
        self._pulse = threading.Thread(target=self._live, daemon=True)

    def acquire(self) -> list[str]:
        """Wait for one's turn; gives the dead holders that this one comes after."""
        self._beat()  # before anybody can look for it
        self._pulse.start()
        try:
            return self._wait()
        except BaseException:
            self._end()
            raise

    def release(self, before: list[str]) -> None:
        """Let the next one have it. After a late heartbeat it may be another's, and is left to that one."""
        if self._is_late():
            self._ended.set()
        else:  # heartbeats go before heirs: without one a holder is dead only when it was watched for a lease
            self._remove("held", *(f"{token}.beat" for token in before))
            self._end()
            self._remove(*(f"{token}.heir" for token in before))

    def _wait(self) -> list[str]:
        watched, since, pause = "", time.monotonic(), _POLL[0]
        while not self._create("held"):
            holders = self._holders()
            if self._token in holders:  # the answer was lost, and it was asked again
                return holders[: holders.index(self._token)]
            seen = f"{holders} {self._read(f'{holders[-1]}.beat')}" if holders else ""
            if seen != watched:
                watched, since = seen, time.monotonic()
            elif holders and time.monotonic() - since > self._lease and self._create(f"{holders[-1]}.heir"):
                return holders
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _POLL[1], self._lease / 4)
        return []

    def _end(self) -> None:
        self._ended.set()
        self._pulse.join()
        self._remove(f"{self._token}.beat")

    def _holders(self) -> list[str]:
        """Who has held it, one after the other, since it was last free; the last one does now."""
        holders, name = [], "held"
        while token := self._read(name):
            holders.append(token)
            name = f"{token}.heir"
        return holders

    def _live(self) -> None:
        while not self._ended.wait(self._lease / 6):
            with suppress(OSError):  # the next one may come through
                self._beat()

    def _beat(self) -> None:
        begin, self._late = time.monotonic(), self._is_late()
        self._beats += 1
        self._fs.pipe_file(self._path(f"{self._token}.beat"), str(self._beats).encode())
        self._last_beat = begin

    def _is_late(self) -> bool:
        """Whether some heartbeat came so late that another may have taken over."""
        return self._late or time.monotonic() - self._last_beat > self._lease / 2

    def _create(self, name: str) -> bool:
        """Put one's token where nothing is; whether nothing was."""
        try:
            self._fs.pipe_file(self._path(name), self._token.encode(), mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if "ConditionalRequestConflict" in str(error):  # S3's, of two at the same moment
                return False
            raise
        return True

    def _read(self, name: str) -> str:
        try:
            return self._fs.cat_file(self._path(name)).decode()
        except FileNotFoundError:
            return ""

    def _remove(self, *names: str) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"
