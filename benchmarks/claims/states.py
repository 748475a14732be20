"""Methods that name states: trained and scored on one seed's generated data, each when first asked for.

Every method is given the annotated boxes for detections, and the annotated action: only the states are compared. The
threshold of people's scores is compared on boxes that detectors found.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.claims.claim import Claim
from benchmarks.claims.detection import inference_of, trained
from benchmarks.claims.world import World
from tps_pipeline import evaluation, outputs, psc, recipe, tables
from tps_pipeline.data.shards import Known, ingest, probe_videos
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.detection import two_stage
from tps_pipeline.detection.datasets import part_state_samples
from tps_pipeline.detection.tracks import track
from tps_pipeline.evaluation import sampled
from tps_pipeline.learners.pretrained import SHIPPED, weights_named
from tps_pipeline.methods import build
from tps_pipeline.methods.part_state_loss import LongTail
from tps_pipeline.parsing import annotated, predicted
from tps_pipeline.reading import InMemory, Reads
from tps_pipeline.recipe import Recipe, Shards
from tps_pipeline.tables import BOX, PERSON_BOX

Split = Literal["train", "test", "none"]
FEW = 24
"""The detectors learn from every so-manyth training video: good ones would make no doubtful people."""


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
        manifests = ingest(self.data, Known(), Shards(val_fraction=0.0)).shards
        probed = [probe_videos(self.data, manifest) for manifest in manifests.values()]
        return pa.concat_tables(probed).unify_dictionaries()

    def sources(
        self, split: Split, *, detections: pa.Table | None = None, stride: int | None = None, every: int = 1
    ) -> InMemory:
        """What a method reads, of one split: annotated boxes unless detections are given; see `World.pictures`."""
        frames = [] if split == "none" else [self.pictures(split, stride=stride, every=every)]
        of = self.probed.filter(pc.field("split").cast(pa.string()) == split)["video_id"].to_pylist()
        shown = {video for file in frames for video in file.index["video_id"].to_pylist()}
        names = pa.array([video for video in of if every == 1 or video in shown], pa.string())

        def of_split(table: pa.Table) -> pa.Table:
            return table.filter(pc.field("video_id").cast(pa.string()).isin(names))

        of_all = self.annotations
        actions, labelled, people, parts = map(
            of_split, (of_all.actions, of_all.labelled_frames, of_all.people, of_all.parts)
        )
        if detections is None:
            detections = as_detections(people, sampled(parts, self.settings.frames.sample_stride))
        margin = self.settings.two_stage.crop_margin
        samples = [part_state_samples(people, parts, file.index, margin=margin) for file in frames]
        content = {
            outputs.VIDEOS: of_split(self.probed),
            outputs.ACTIONS: actions,
            outputs.LABELLED_FRAMES: labelled,
            outputs.PEOPLE: people,
            outputs.PARTS: parts,
            outputs.STATE_LABELS: state_labels(parts),
            outputs.DETECTIONS: detections,
            outputs.TRACKS: track(detections),
            outputs.VIDEO_ACTIONS: as_video_actions(actions),
            outputs.dataset("part_state"): pa.concat_tables(
                [tables.empty(tables.SAMPLES), *samples]
            ).unify_dictionaries(),
        }
        return InMemory(content, data=self.data, files=frames)

    def checkpoint(self, method: str, long_tail: LongTail | None = None) -> Path:
        """What a method has learned, with a loss that does something for rare states or not."""
        folder = self.folder / (f"{method}_{long_tail}" if long_tail else method)
        if not folder.exists():
            partial = folder.with_suffix(".part")
            partial.mkdir(parents=True, exist_ok=True)
            entry = self.settings.methods[method]
            fit = build(entry.model_copy(update={"long_tail": long_tail}) if long_tail else entry).fit
            train = self.sources("train", stride=self.settings.frames.train_stride)
            weights = SHIPPED.get(weights_named(entry.model_dump()) or "")
            fit(train, self.sources("none"), partial, seed=self.seed, weights=weights)
            partial.rename(folder)
        return folder

    def predictions(
        self, method: str, split: Split = "test", *, every: int = 1, long_tail: LongTail | None = None
    ) -> pa.Table:
        """What a method says of the annotated people in some videos (`tables.PREDICTIONS`)."""
        checkpoint = self.checkpoint(method, long_tail)
        return build(self.settings.methods[method]).predict(self.sources(split, every=every), checkpoint)

    def psc(self, method: str, predictions: pa.Table, of: Reads, *, split: str = "test") -> pa.Table:
        """Part state correctness of predictions, video by video (`tables.PSC`).

        Args:
            method: What the predictions are called.
            predictions: `tables.PREDICTIONS`.
            of: What was predicted from.
            split: What the videos are called.
        """
        stride = self.settings.frames.sample_stride
        return evaluation.score(of, predictions, method=method, split=split, stride=stride)

    def macro_recall(self, method: str, long_tail: LongTail | None = None) -> float:
        """The share of annotated parts that get the right state, the mean over all states of all parts."""
        test, found = self.sources("test"), self.predictions(method, long_tail=long_tail)
        labelled = sampled(test(outputs.LABELLED_FRAMES), self.settings.frames.sample_stride)
        truth = annotated(labelled, test(outputs.PEOPLE), test(outputs.PARTS))
        return psc.macro_recall(truth, predicted(found, found)) or 0.0

    def accuracy(self, method: str, *, changing: bool = False) -> float:
        """The share of annotated parts that get the right state; of all, or of those that change within the video."""
        keys = ["video_id", "frame", "person", "part"]
        predicted, true = (
            table.to_pandas()[[*keys, "state"]].astype({"video_id": str, "part": str, "state": str})
            for table in (self.predictions(method), self.annotations.parts)
        )
        found = predicted.merge(true.rename(columns={"state": "annotated"}), on=keys, validate="one_to_one")
        right = found.state == found.annotated
        if changing:
            usual = found.groupby(["video_id", "frame", "part"]).annotated.agg(lambda states: states.mode()[0])
            changes = usual.groupby(["video_id", "part"]).nunique() > 1
            right = right[changes.reindex(pd.MultiIndex.from_frame(found[["video_id", "part"]])).to_numpy(bool)]
        return float(right.mean())

    @cached_property
    def detections(self) -> pa.Table:
        """What two stages find in the held-out videos that learned from a few of the training videos."""
        few = self.pictures("train", every=FEW)
        networks = [trained(self, kind, "label_swap", few) for kind in ("person", "part")]
        inference = inference_of(self.settings)
        return two_stage.detect(self.pictures("test"), *networks, settings=self.settings.two_stage, inference=inference)

    def score(self, method: str, *, person_threshold: float) -> float:
        """The challenge's score, on detections, of a method that looks at people from some score on."""
        inference = recipe.InstanceLevelInference(person_threshold=person_threshold)
        settings = self.settings.methods[method].model_copy(update={"inference": inference})
        test = self.sources("test", detections=self.detections)
        found = build(settings).predict(test, self.checkpoint(method))
        scored = self.psc(method, found, test)
        return psc.score(scored["psc"].to_numpy(), scored["action_correct"].to_numpy())


def as_detections(people: pa.Table, parts: pa.Table) -> pa.Table:
    """Annotated parts as a detector that makes no mistakes would give them (`tables.DETECTIONS`)."""
    boxes = people.to_pandas().rename(columns=dict(zip(BOX, PERSON_BOX, strict=True)))
    keys = ["video_id", "frame", "person"]
    rows = parts.to_pandas().astype({"video_id": str}).merge(boxes.astype({"video_id": str}), on=keys)
    return tables.conform(rows.assign(person_score=1.0, part_score=1.0), tables.DETECTIONS)


def as_video_actions(actions: pa.Table) -> pa.Table:
    """Annotated actions as a classifier that makes no mistakes would give them (`tables.VIDEO_ACTIONS`)."""
    rows = actions.to_pandas().astype(str).assign(score=1.0)
    probabilities: Any = [{action: 1.0} for action in rows.action]
    return tables.conform(rows.assign(probabilities=probabilities), tables.VIDEO_ACTIONS)


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


def _long_tail(long_tail: LongTail) -> Claim:
    return Claim(
        long_tail,
        f"`part_trajectory` finds rare states better with the loss `{long_tail}`",
        "macro recall over states",
        True,
        (long_tail, "softmax"),
        lambda world: (world.macro_recall("part_trajectory", long_tail), world.macro_recall("part_trajectory")),
    )


CLAIMS = (
    _compared("video_level", "video_level", "video_category", changing=False),
    _compared("video_level_changing", "video_level", "video_category", changing=True),
    _compared("segment_level", "segment_level", "video_level", changing=False),
    _compared("segment_level_changing", "segment_level", "video_level", changing=True),
    _compared("instance_pcp", "instance_pcp", "segment_level", changing=False),
    _compared("instance_pcp_changing", "instance_pcp", "segment_level", changing=True),
    _compared("instance_relation", "instance_pcp", "instance_pp", changing=False),
    _compared("instance_relation_changing", "instance_pcp", "instance_pp", changing=True),
    Claim(
        "person_threshold",
        "`instance_pcp` scores higher when it looks at everyone detected, not only at those who surely are people",
        "the challenge's score, on detected boxes",
        True,
        ("threshold 0.01", "threshold 0.1"),
        lambda world: tuple(world.score("instance_pcp", person_threshold=threshold) for threshold in (0.01, 0.1)),
    ),
    _compared("part_state_detector", "instance_pcp", "part_state_detector", changing=False),
    _compared("part_state_detector_changing", "instance_pcp", "part_state_detector", changing=True),
    _compared("part_trajectory", "part_trajectory", "segment_level", changing=False),
    _compared("part_trajectory_changing", "part_trajectory", "segment_level", changing=True),
    _long_tail("class_balanced"),
    _long_tail("focal"),
    _long_tail("logit_adjusted"),
)
