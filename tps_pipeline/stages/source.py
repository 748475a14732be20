"""What is on disk, as tables: probed videos, annotations, extracted frames."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import step
from tps_pipeline.outputs import ACTIONS, FRAMES, LABELLED_FRAMES, OBJECTS, PARTS, PEOPLE, SHARDS, VIDEOS, Output


@step(VIDEOS, reads=(SHARDS,), version="2")
def videos(read: Reader) -> pa.Table:
    """Every video, probed: how many frames, how fast, how large; what cannot be read is marked, not dropped."""
    from tps_pipeline.data.shards import probe_videos

    found = probe_videos(read.data, read(SHARDS))
    for row in found.filter(found["error"].is_valid()).to_pylist():
        read.run.warn(f"{row['video_id']}: {row['error']}")
    return found


@step(ACTIONS, LABELLED_FRAMES, PEOPLE, PARTS, OBJECTS, reads=(SHARDS,), version="2")
def annotation_tables(read: Reader) -> dict[Output, pa.Table]:
    """Actions, labelled frames, people, parts and objects; of test videos where their ground truth is there."""
    from tps_pipeline.data.kinetics_tps import read_annotations
    from tps_pipeline.data.layout import first_of

    found = read_annotations(read.data, read(SHARDS))
    for line in first_of(found.problems):
        read.run.warn(line)
    return {
        ACTIONS: found.actions,
        LABELLED_FRAMES: found.labelled_frames,
        PEOPLE: found.people,
        PARTS: found.parts,
        OBJECTS: found.objects,
    }


def _picture(read: Reader) -> str:
    from tps_pipeline.video.frames import preview

    (frames,) = read.frames()
    return preview(frames)


@step(FRAMES, reads=(VIDEOS, LABELLED_FRAMES), sections=("frames",), picture=_picture)
def frames(read: Reader) -> Path:
    """The frames that networks see, as JPEGs in one memory-mapped file a shard.

    A frame that cannot be decoded is not trained on; it is predicted on the nearest one that can be.
    """
    from tps_pipeline.video.frames import extract, wanted_frames

    settings, out = read.setting("frames"), read.scratch / "frames.arrow"
    wanted = wanted_frames(read(VIDEOS), read(LABELLED_FRAMES), settings, data=read.data)
    nearest, quality = not str(read.shard).startswith("train-"), settings.jpeg_quality
    for video_id, error in extract(wanted, out, jpeg_quality=quality, decoder=settings.decoder, nearest=nearest):
        read.run.warn(f"{video_id}: {error}")
    return out
