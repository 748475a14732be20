"""Dagster's history in SQLite, kept open: else Dagster opens its files, and compiles its statements, at each event.

What is made is in the store's lineage, which is written as before; Dagster's history only tells of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine, event


@contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of an instance's events open meanwhile: that of all runs, and that of the run under way.

    Each event is a transaction as before, which others see at once. If the machine loses power, the last ones may be
    lost, never the files (SQLite, "PRAGMA synchronous": NORMAL with a write-ahead log): the next run then tells Dagster
    of what it does not know of.

    Args:
        instance: Whose events they are; if it keeps them in another database, nothing is done.
    """
    if not isinstance(instance.event_log_storage, SqliteEventLogStorage):
        yield
        return
    storage: Any = instance.event_log_storage
    engines: dict[str, Engine] = {}

    @contextmanager
    def connect(shard: str) -> Iterator[Connection]:
        with storage._db_lock:
            for other in {*engines} - {shard, INDEX_SHARD_NAME} if shard != INDEX_SHARD_NAME else ():
                engines.pop(other).dispose()
            if shard not in engines:
                engines[shard] = _engine(storage.conn_string_for_shard(shard))
            if shard not in storage._initialized_dbs:
                storage._initdb(engines[shard])
                storage._initialized_dbs.add(shard)
            with engines[shard].connect() as connection, connection.begin():
                yield connection

    storage._connect = connect  # what all its transactions go through (Dagster 1.13)
    try:
        yield
    finally:
        del storage._connect
        for engine in engines.values():
            engine.dispose()


def _engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _settle)
    return engine


def _settle(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
