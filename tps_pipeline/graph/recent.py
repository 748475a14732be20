"""Tables that were just read, for the steps after: of many shards each is a file to be opened and understood."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pyarrow as pa

from tps_pipeline.lineage import Input


class Recent:
    """The tables read last, by output and the hash of their content, as many as fit."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._tables: OrderedDict[tuple[str, str], tuple[pa.Table, int]] = OrderedDict()
        self._bytes = 0

    def table(self, version: Input, schema: pa.Schema, read: Callable[[str], pa.Table]) -> pa.Table:
        """A version of a table that has been found to be what was recorded.

        Args:
            version: Which.
            schema: That of such tables.
            read: Gives the table at a path, if it was not read lately.
        """
        key = version.asset, version.data_version
        found = self._tables.pop(key, None)
        if found is None:
            table = read(version.path).cast(schema)
            found = table, table.nbytes
            self._bytes += found[1]
        self._tables[key] = found
        while self._bytes > self._most:
            _, (_, size) = self._tables.popitem(last=False)
            self._bytes -= size
        return found[0]
