"""The stages' steps on one video: what the store has is read there, what is of the video stays in memory.

No step knows of it: it asks its reader as ever, and is given a made-up shard of one video.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tps_pipeline import reading, tables
from tps_pipeline.errors import StoreError, VideoError
from tps_pipeline.graph import Graph, Reader, Run, Step
from tps_pipeline.lineage import Input
from tps_pipeline.outputs import DETECTIONS, FRAMES, LABELLED_FRAMES, SHARDS, TRACKS, VIDEOS, Output, name_of
from tps_pipeline.video.frames import FrameFile

SHARD = "test-000"
"""What the made-up shard is called: as if its video were a test video, of which every sampled frame is wanted."""

GIVEN = (SHARDS, LABELLED_FRAMES)
"""What no step makes of a video that is in no data folder: a manifest of itself, and annotations, which it has none."""

Made = Mapping[Output, pa.Table | Path]
"""What there is of the video so far."""


@dataclass(frozen=True)
class VideoReader(Reader):
    """A reader that has the shard's outputs in memory; all others it reads from the store, as `Reader` does."""

    made: Made = field(default_factory=dict)
    """The shard's outputs."""

    def __call__(self, output: Output) -> pa.Table:
        """See `Reader`."""
        output = self.run.meant(output)
        reading.check(output, self.reads, self.name)
        found = self.made.get(output)
        return found if isinstance(found, pa.Table) else super().__call__(output)

    def frames(self) -> list[FrameFile]:
        """See `Reader`."""
        reading.check(FRAMES, self.reads, self.name)
        found = self.made[FRAMES]
        assert isinstance(found, Path)
        return [FrameFile(found)]


def steps_for(graph: Graph, wanted: Iterable[Output]) -> list[Step]:
    """The steps with shards that lead from a video to some outputs, in an order in which they can be made."""
    found: set[str] = set()
    waiting = [graph.maker[output] for output in wanted]
    while waiting:
        step = waiting.pop()
        if step.name not in found:
            found.add(step.name)
            reads = [output for output in step.reads if output.sharded and output not in GIVEN]
            waiting += [graph.maker[output] for output in reads]
    return [step for step in graph.steps if step.name in found]


def inputs_of(run: Run, steps: Iterable[Step], *, among: Sequence[Input] | None = None) -> tuple[Input, ...]:
    """What some steps read of the store: the newest checkpoints, and what methods were chosen by.

    Args:
        run: Its store is read.
        steps: From `steps_for`.
        among: What there is, of a bundle; what the store has recorded without.

    Raises:
        StoreError: One of them was never made, has failed a blocking check, or is not among what there is.
    """
    keys = list(dict.fromkeys(output.at() for step in steps for output in step.reads if not output.sharded))
    if among is not None:
        there = {each.key: each for each in among}
        if missing := [name_of(key) for key in keys if key not in there]:
            raise StoreError(f"not in the bundle: {', '.join(missing)}; bundle the store with this method")
        return tuple(there[key] for key in keys)
    latest = run.lineage.latest()
    for verdict in filter(None, map(latest.failed, keys)):
        raise StoreError(latest.refusal(verdict))
    return latest.inputs(keys)


def predict(run: Run, steps: Sequence[Step], inputs: tuple[Input, ...], video: Path, scratch: Path) -> Made:
    """Make the outputs of some steps for one video.

    Args:
        run: Its data folder is the one that the video is in.
        steps: From `steps_for`.
        inputs: From `inputs_of`.
        video: The file.
        scratch: A folder for its frames.

    Returns:
        Every output that was made, `DETECTIONS` and `TRACKS` in any case: none where no step detects.

    Raises:
        VideoError: It cannot be read.
        UnreachableError: It cannot be read now.
    """
    made: dict[Output, pa.Table | Path] = {
        SHARDS: _manifest(video),
        LABELLED_FRAMES: tables.empty(tables.LABELLED_FRAMES),
    }
    for step in steps:
        reader = VideoReader(run, step.name, step.reads, step.sections, inputs, SHARD, scratch, made=made)
        made |= products(step, reader)
        if VIDEOS in step.makes:
            _check(made[VIDEOS])
    nobody = {DETECTIONS: tables.empty(tables.DETECTIONS), TRACKS: tables.empty(tables.TRACKS)}
    detections = run.meant(DETECTIONS)
    return nobody | made | ({DETECTIONS: made[detections]} if detections in made else {})


def products(step: Step, reader: Reader) -> dict[Output, pa.Table | Path]:
    """What a step makes of a video, by the output."""
    product = step.make(reader)
    found = product if isinstance(product, Mapping) else {step.makes[0]: product}
    return {output: made for output, made in found.items() if isinstance(made, pa.Table | Path)}


def _manifest(video: Path) -> pa.Table:
    """A shard of one video; nothing looks at its content's hash, which would take a pass over the file."""
    row = {"video_id": video.stem, "split": "test", "action": None, "path": video.name, "sha256": ""}
    columns = {name: [value] for name, value in (row | {"bytes": 0, "mtime_ns": 0, "annotations": None}).items()}
    return tables.conform(pa.table(columns), tables.SHARD)


def _check(videos: object) -> None:
    assert isinstance(videos, pa.Table)
    (row,) = videos.select(["status", "error"]).to_pylist()
    if row["status"] != "ok":
        raise VideoError(row["error"])
