"""What a step reads with: the outputs and parts of the recipe that it has declared, at the versions to be recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tps_pipeline import reading
from tps_pipeline.errors import UndeclaredError
from tps_pipeline.graph.recent import Recent
from tps_pipeline.graph.run import Run
from tps_pipeline.lineage import Input, Record
from tps_pipeline.outputs import FRAMES, Output
from tps_pipeline.recipe import WHOLE
from tps_pipeline.training.checkpoint import LOGS
from tps_pipeline.whole_file import move_whole

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile

KEPT = 64
"""What `Reader.as_before` keeps of a step: three reports' clips."""

_RECENT = Recent(32 << 20)
_DIGEST = hashlib.sha256().digest_size


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
        tables = [_RECENT.table(version, output.schema, self.run.store.read) for version in versions]
        return pa.concat_tables(tables).unify_dictionaries() if tables else output.schema.empty_table()

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

    def as_before(self, outputs: Sequence[Output], about: Sequence[str], make: Callable[[], bytes]) -> bytes:
        """What takes long and follows from some outputs alone: as an earlier run made it, else made now and kept.

        Beside the store's outputs, in no record: it may be deleted. The last `KEPT` are kept of each step.

        Args:
            outputs: All that it is made from.
            about: Names and versions that it depends on as well, its code's among them.
            make: Makes it.
        """
        versions = [version.data_version for output in outputs for version in self._of(output)]
        folder = self.run.store.workspace(f"kept/{self.name}")
        file = folder / hashlib.sha256("\n".join([*about, *versions]).encode()).hexdigest()
        kept = file.read_bytes() if file.exists() else b""
        digest, content = kept[:_DIGEST], kept[_DIGEST:]
        if digest == hashlib.sha256(content).digest():
            file.touch()
            return content
        content = make()
        with self.run.store.scratch() as scratch:  # where nothing stays of a process that is killed
            (scratch / "kept").write_bytes(hashlib.sha256(content).digest() + content)
            move_whole(scratch / "kept", file)
        for old in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns)[:-KEPT]:
            old.unlink(missing_ok=True)
        return content

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
