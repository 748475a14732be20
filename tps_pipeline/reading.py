"""Reading what was declared, and nothing else.

Whoever computes (a step of the graph, a method, a network's training) says beforehand which outputs it reads. What it
is then given to read with knows them: anything else raises. So what lineage records is what was read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.errors import UndeclaredError
from tps_pipeline.outputs import Output

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile


class Reads(Protocol):
    """What methods and networks read with: some outputs, of some shards."""

    @property
    def data(self) -> Path:
        """The folder that the paths in `videos` start from."""
        ...

    def __call__(self, output: Output) -> pa.Table:
        """A table: over the shards, or whole where the output has none.

        Raises:
            UndeclaredError: It was not declared that this is read.
        """
        ...

    def frames(self) -> list[FrameFile]:
        """The shards' extracted frames, memory-mapped.

        Raises:
            UndeclaredError: It was not declared that they are read.
        """
        ...

    def path(self, output: Output) -> Path:
        """A local path of something that is no table: a checkpoint's folder.

        Raises:
            UndeclaredError: It was not declared that this is read.
        """
        ...


@dataclass(frozen=True)
class InMemory:
    """Tables at hand instead of a store's, for what is computed without one.

    Attributes:
        tables: What can be read.
        data: See `Reads`.
        files: Extracted frames.
        folders: What can be read that is no table.
        reader: Who reads, for messages.
    """

    tables: Mapping[Output, pa.Table]
    data: Path = Path()
    files: Sequence[FrameFile] = ()
    folders: Mapping[Output, Path] = field(default_factory=dict)
    reader: str = "this"

    def __call__(self, output: Output) -> pa.Table:
        """See `Reads`."""
        check(output, self.tables, self.reader)
        return self.tables[output]

    def frames(self) -> list[FrameFile]:
        """See `Reads`."""
        return list(self.files)

    def path(self, output: Output) -> Path:
        """See `Reads`."""
        check(output, self.folders, self.reader)
        return self.folders[output]


def frame_index(read: Reads) -> pa.Table:
    """Which frames were extracted: `tables.FRAMES` without the pictures."""
    none = tables.empty(tables.FRAMES).drop_columns("jpeg")
    return pa.concat_tables([none, *(file.index for file in read.frames())]).unify_dictionaries()


def check(output: Output, declared: Collection[Output], reader: str) -> None:
    """Make sure that an output was declared.

    Raises:
        UndeclaredError: It was not.
    """
    if output not in declared:
        names = ", ".join(sorted(each.key for each in declared)) or "nothing"
        raise UndeclaredError(f"{reader} reads {output.key} without having declared it; it declares {names}")
