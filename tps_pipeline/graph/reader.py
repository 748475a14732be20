"""What a step reads with: the outputs and parts of the recipe that it has declared, at the versions to be recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tps_pipeline import reading
from tps_pipeline.errors import UndeclaredError
from tps_pipeline.graph.run import Run
from tps_pipeline.lineage import Input, Record
from tps_pipeline.outputs import FRAMES, Output
from tps_pipeline.recipe import WHOLE
from tps_pipeline.training.checkpoint import LOGS

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile


@dataclass(frozen=True)
class Reader:
    """Reads for one step, for one shard or over all of its splits (a `reading.Reads`).

    Attributes:
        run: What it runs in.
        name: Who reads, for messages.
        reads: The outputs that may be read.
        sections: The parts of the recipe that may be read.
        inputs: What there is to read, as the step's lineage names it.
        shard: The shard that is computed; None in a step without shards.
        scratch: A folder for files to be handed back; it is gone when they have been taken.
        workspace: A folder that outlasts a run that was cut off (trainings).
    """

    run: Run
    name: str
    reads: tuple[Output, ...]
    sections: tuple[str, ...]
    inputs: tuple[Input, ...]
    shard: str | None = None
    scratch: Path = Path()
    workspace: Path = Path()

    @property
    def data(self) -> Path:
        """The folder that the paths in `videos` start from."""
        return self.run.data

    def __call__(self, output: Output) -> pa.Table:
        """A table: over the shards, or whole where the output has none.

        Raises:
            UndeclaredError: The step has not declared that it reads this.
            StoreError: It is not there, or not what its schema says.
        """
        versions = self._of(output)
        if not output.sharded:
            return self.run.store.read(versions[0].path)
        assert output.schema is not None
        return self.run.store.read_all([version.path for version in versions], output.schema)

    def frames(self) -> list[FrameFile]:
        """The shards' extracted frames, memory-mapped."""
        from tps_pipeline.video.frames import FrameFile

        return [FrameFile(self.run.store.local(version.path)) for version in self._of(FRAMES)]

    def path(self, output: Output) -> Path:
        """A local path of something that is no table: a checkpoint's folder, imported weights."""
        return self.run.store.local(self._of(output)[0].path)

    def file(self, output: Output, name: str) -> Path | None:
        """A local path of one file of a folder (a checkpoint's log); None if the folder has none of that name."""
        path = f"{self._of(output)[0].path}/{name}"
        return self.run.store.local(path) if self.run.store.exists(path) else None

    def setting(self, name: str) -> Any:
        """A part of the recipe by its dotted name; `inference` parts that are not declared are at their defaults.

        Raises:
            UndeclaredError: The step has not declared that it depends on this.
        """
        declared = self.sections
        if not any(name == each or each == WHOLE or name.startswith(f"{each}.") for each in declared):
            raise UndeclaredError(
                f"{self.name} reads {name} of the recipe without having declared it; it declares "
                f"{', '.join(declared) or 'nothing of it'}"
            )
        return self.run.recipe.setting(name) if WHOLE in declared else self.run.recipe.without_inference(name)

    def history(self, *outputs: Output) -> list[Record]:
        """The records of some outputs that are read, and of all that they were made from."""
        traces = (self.run.lineage.trace(version.key) for output in outputs for version in self._of(output))
        return list({record.record: record for trace in traces for _, record in trace}.values())

    def of(self, *splits: str) -> Reader:
        """The same over fewer splits."""
        kept = [i for i in self.inputs if i.partition is None or i.partition.partition("-")[0] in splits]
        return replace(self, inputs=tuple(kept))

    def at(self, shard: str) -> Reader:
        """The same of one shard."""
        return replace(self, inputs=tuple(i for i in self.inputs if i.partition in (None, shard)), shard=shard)

    def shards(self) -> list[str]:
        """The shards that there is something to read of, in order."""
        return list(dict.fromkeys(i.partition for i in self.inputs if i.partition is not None))

    def _of(self, output: Output) -> list[Input]:
        """The versions of an output that there are to read, each found to be what was recorded."""
        output = self.run.meant(output)
        reading.check(output, self.reads, self.name)
        versions = [version for version in self.inputs if version.asset == output.key]
        for version in versions:
            self.run.store.intact(version, unversioned=LOGS)
        return versions
