"""A step: a plain function of what it reads, and beside it all that decides what it makes and when it is due.

::

    @step(TRACKS, reads=(DETECTIONS,))
    def tracks(read: Reader) -> pa.Table:
        "Who of the detected people is who from frame to frame."
        return track(read(DETECTIONS))

Nothing else has to be said of an asset: Dagster's dependencies, lineage, `tps recipe plan` and the reader follow.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.run import Run
from tps_pipeline.lineage import Input
from tps_pipeline.outputs import SPLITS, Output

if TYPE_CHECKING:
    from tps_pipeline.learners import Learner

Product = pa.Table | Path | bytes
"""What a step gives back for an output: a table, or a finished local file or folder, or a file's content."""

Make = Callable[[Reader], Product | Mapping[Output, Product]]
"""A step's function: from what it reads to its one product, or to a product for each output."""


@dataclass(frozen=True, eq=False)
class Step:
    """How one output, or several that are made together, come to be.

    Attributes:
        makes: The outputs.
        make: Computes them for what the reader is for: a shard, or all of some splits.
        reads: The outputs that it reads; of those with shards the same one, or all of `splits` by a step without.
        sections: The parts of the recipe that it reads (see `Recipe.digest_of`).
        splits: The splits that a step without shards reads.
        version: Of the code: bumped when it gives other results for the same inputs and settings.
        group: The stage that it belongs to.
        description: For people.
        gpu: Whether a network computes.
        figures: What is worth knowing of a table, for its lineage and metadata; a checkpoint brings its own.
        picture: Draws what was made, as Markdown with the image in it.
        learner: What is trained, if this makes a checkpoint. It stays as it is when shards are added, and in a
            retraining its outcome must not be worse than what is there.
        code: The function that says what is computed; `make` may only call it. Its fingerprint guards the version.
    """

    makes: tuple[Output, ...]
    make: Make
    reads: tuple[Output, ...] = ()
    sections: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS
    version: str = "1"
    group: str = ""
    description: str = ""
    gpu: bool = False
    figures: Callable[[pa.Table], dict[str, float]] | None = None
    picture: Callable[[Reader], str] | None = None
    learner: Learner | None = None
    code: Callable[..., object] | None = None

    @property
    def name(self) -> str:
        """What it is called in messages and as an op: its first output's key without the table's name."""
        return self.makes[0].key if len(self.makes) == 1 else self.makes[0].key.partition("/")[0]

    def reader(self, run: Run, inputs: tuple[Input, ...], shard: str | None = None) -> Reader:
        """What it reads with in a run."""
        return Reader(run, self.name, self.reads, self.sections, inputs, shard)

    @property
    def sharded(self) -> bool:
        """Whether it is run shard by shard."""
        return self.makes[0].sharded


def step(
    *makes: Output,
    reads: tuple[Output, ...] = (),
    sections: tuple[str, ...] = (),
    splits: tuple[str, ...] = SPLITS,
    version: str = "1",
    gpu: bool = False,
    figures: Callable[[pa.Table], dict[str, float]] | None = None,
    picture: Callable[[Reader], str] | None = None,
) -> Callable[[Make], Step]:
    """Make a step of a function; see `Step`. Its docstring is the description, its module's name the group.

    Where the outputs have shards, the function computes one of them.
    """

    def declare(make: Make) -> Step:
        return Step(
            makes,
            make,
            reads,
            sections,
            splits,
            version,
            group=make.__module__.rpartition(".")[2],
            description=inspect.getdoc(make) or "",
            gpu=gpu,
            figures=figures,
            picture=picture,
            code=make,
        )

    return declare
