"""Methods that name states: trained and scored on one seed's generated data, each when first asked for.

Every method is given the annotated boxes for detections, and the annotated action: only the states are compared.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.claims.claim import Claim
from benchmarks.claims.world import World
from tps_pipeline import tables
from tps_pipeline.data.shards import ingest, probe_videos
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.evaluation import sampled
from tps_pipeline.methods import Sources, build
from tps_pipeline.recipe import Recipe, Shards
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.tracks import track


class States(World):
    """One seed's data, methods and how often they are right."""

    actions = ("lunge", "riding_mechanical_bull", "snatch_weight_lifting")
    """States differ both from video to video and within a video."""
    videos = 1920
    """So many, as networks begin from nothing: of 480, the clip methods learn the videos by heart."""
    size = (160, 120)
    frames = 32

    def __init__(self, folder: Path, settings: Recipe, *, seed: int) -> None:
        super().__init__(folder, settings, seed=seed)
        self.predictions = cache(self.predictions)  # remembered by this object, not by the class

    @cached_property
    def probed(self) -> pa.Table:
        """All videos (`tables.VIDEOS`)."""
        manifests = ingest(self.data, {}, Shards(val_fraction=0.0)).shards
        probed = [probe_videos(self.data, manifest) for manifest in manifests.values()]
        return pa.concat_tables(probed).unify_dictionaries()

    def sources(self, split: str) -> Sources:
        """What a method reads, of one split."""
        videos = self.probed.filter(pc.field("split").cast(pa.string()) == split)
        names = pa.array(videos["video_id"].to_pylist(), pa.string())  # of no videos, too

        def of_split(table: pa.Table) -> pa.Table:
            return table.filter(pc.field("video_id").cast(pa.string()).isin(names))

        actions, people, parts = (of_split(getattr(self.annotations, name)) for name in ("actions", "people", "parts"))
        detections = as_detections(people, sampled(parts, self.settings.frames.sample_stride))
        content = {
            "videos": videos,
            "annotations/actions": actions,
            "annotations/people": people,
            "annotations/parts": parts,
            "vocabulary/states": state_labels(parts),
            "detections/two_stage": detections,
            "tracks": track(detections),
            "video_actions": as_video_actions(actions),
        }
        return Sources(content.__getitem__, list, self.data)

    def predictions(self, method: str) -> pd.DataFrame:
        """What a method says of the held-out videos' parts, and the true ``state`` as ``annotated``."""
        settings = self.settings.methods[method]
        train, test = self.sources("train"), self.sources("test")
        folder = self.folder / method
        if not folder.exists():
            partial = folder.with_suffix(".part")
            partial.mkdir(parents=True, exist_ok=True)
            build(settings).fit(train, self.sources("none"), partial, seed=self.seed)
            partial.rename(folder)
        keys = ["video_id", "frame", "person", "part"]
        predicted = build(settings).predict(test, folder).to_pandas()[[*keys, "state"]]
        true = self.annotations.parts.to_pandas()[[*keys, "state"]].rename(columns={"state": "annotated"})
        return predicted.astype({"video_id": str, "part": str, "state": str}).merge(
            true.astype({"video_id": str, "part": str, "annotated": str}), on=keys, validate="one_to_one"
        )

    def accuracy(self, method: str, *, changing: bool = False) -> float:
        """The share of annotated parts that get the right state; of all, or of those that change within the video."""
        found = self.predictions(method)
        right = found.state == found.annotated
        if changing:
            usual = found.groupby(["video_id", "frame", "part"]).annotated.agg(lambda states: states.mode()[0])
            changes = usual.groupby(["video_id", "part"]).nunique() > 1
            right = right[found.set_index(["video_id", "part"]).index.map(changes).to_numpy(bool)]
        return float(right.mean())


def as_detections(people: pa.Table, parts: pa.Table) -> pa.Table:
    """Annotated parts as a detector that makes no mistakes would give them (`tables.DETECTIONS`)."""
    boxes = people.to_pandas().rename(columns=dict(zip(BOX, PERSON_BOX, strict=True)))
    keys = ["video_id", "frame", "person"]
    rows = parts.to_pandas().astype({"video_id": str}).merge(boxes.astype({"video_id": str}), on=keys)
    return tables.conform(rows.assign(person_score=1.0, part_score=1.0), tables.DETECTIONS)


def as_video_actions(actions: pa.Table) -> pa.Table:
    """Annotated actions as a classifier that makes no mistakes would give them (`tables.VIDEO_ACTIONS`)."""
    rows = actions.to_pandas().astype(str)
    return tables.conform(
        rows.assign(score=1.0, probabilities=[{action: 1.0} for action in rows.action]), tables.VIDEO_ACTIONS
    )


def _compared(name: str, ours: str, other: str, *, changing: bool) -> Claim:
    of = "states that change within a video" if changing else "all states"
    return Claim(
        name,
        f"`{ours}` is right more often than `{other}` about {of}",
        "share of parts in the right state",
        True,
        (ours, other),
        lambda world: (world.accuracy(ours, changing=changing), world.accuracy(other, changing=changing)),
    )


CLAIMS = (
    _compared("video_level", "video_level", "video_category", changing=False),
    _compared("video_level_changing", "video_level", "video_category", changing=True),
    _compared("segment_level", "segment_level", "video_level", changing=False),
    _compared("segment_level_changing", "segment_level", "video_level", changing=True),
    _compared("part_trajectory", "part_trajectory", "segment_level", changing=False),
    _compared("part_trajectory_changing", "part_trajectory", "segment_level", changing=True),
)
