"""What is learned from: the vocabulary, and the detectors' data sets."""

from __future__ import annotations

import pyarrow as pa

from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.step import Step, step
from tps_pipeline.labels import parts_of, swapped
from tps_pipeline.outputs import (
    ACTION_NAMES,
    ACTIONS,
    FRAMES,
    LABELLED_FRAMES,
    PARTS,
    PEOPLE,
    STATE_COUNTS,
    STATE_LABELS,
    dataset,
)
from tps_pipeline.reading import frame_index
from tps_pipeline.recipe import Detector, Recipe
from tps_pipeline.tables import distinct


def steps_of(recipe: Recipe) -> list[Step]:
    """The vocabulary, and what each of the recipe's detectors trains on."""
    of_detectors = {
        person_samples: recipe.person_detector,
        part_samples: recipe.part_detector,
        single_stage_samples: recipe.single_stage_detector,
    }
    samples = [step for step, settings in of_detectors.items() if isinstance(settings, Detector)]
    part_state = [_part_state(method) for method in [*recipe.part_state_detectors][:1]]  # the others mean the same
    return [action_names, state_labels, state_counts, *samples, *part_state]


@step(ACTION_NAMES, reads=(ACTIONS,), splits=("train",))
def action_names(read: Reader) -> pa.Table:
    """The actions of the training videos."""
    from tps_pipeline.data import vocabulary

    return vocabulary.action_names(read(ACTIONS))


@step(STATE_LABELS, reads=(PARTS,), splits=("train",))
def state_labels(read: Reader) -> pa.Table:
    """The label spaces over (part, state) pairs: all pairs, and those that are a video's most frequent."""
    from tps_pipeline.data import vocabulary

    found = vocabulary.state_labels(read(PARTS))
    parts = parts_of(distinct(found["part"]))
    if swapped(parts) == (*range(len(parts)),):
        read.run.warn(f"none of the parts {', '.join(parts)} is left_ or right_: mirror images swap no labels")
    return found


@step(STATE_COUNTS, reads=(ACTIONS, PARTS), splits=("train",))
def state_counts(read: Reader) -> pa.Table:
    """How often the training videos' parts are in each state, by action."""
    from tps_pipeline.data import vocabulary

    return vocabulary.state_counts(read(ACTIONS), read(PARTS))


@step(dataset("person"), reads=(LABELLED_FRAMES, PEOPLE, FRAMES), sections=("person_detector.augment.flip",))
def person_samples(read: Reader) -> pa.Table:
    """Images and boxes that the person detector trains on, and their mirror images."""
    from tps_pipeline.detection import datasets

    flip = read.setting("person_detector.augment.flip")
    return datasets.person_samples(read(LABELLED_FRAMES), read(PEOPLE), frame_index(read), flip=flip)


@step(
    dataset("part"),
    reads=(PEOPLE, PARTS, FRAMES),
    sections=("part_detector.augment.flip", "two_stage.crop_margin"),
)
def part_samples(read: Reader) -> pa.Table:
    """Images and boxes that the part detector trains on, and their mirror images."""
    from tps_pipeline.detection import datasets

    flip, margin = read.setting("part_detector.augment.flip"), read.setting("two_stage.crop_margin")
    return datasets.part_samples(read(PEOPLE), read(PARTS), frame_index(read), margin=margin, flip=flip)


@step(
    dataset("single_stage"),
    reads=(LABELLED_FRAMES, PEOPLE, PARTS, FRAMES),
    sections=("single_stage_detector.augment.flip",),
)
def single_stage_samples(read: Reader) -> pa.Table:
    """Images and boxes that the single-stage detector trains on, and their mirror images."""
    from tps_pipeline.detection import datasets

    flip = read.setting("single_stage_detector.augment.flip")
    return datasets.single_stage_samples(read(LABELLED_FRAMES), read(PEOPLE), read(PARTS), frame_index(read), flip=flip)


def _part_state(method: str) -> Step:
    entry = f"methods.{method}"

    @step(
        dataset("part_state"),
        reads=(PEOPLE, PARTS, FRAMES),
        sections=(f"{entry}.detector.augment.flip", f"{entry}.crop_margin"),
    )
    def part_state_samples(read: Reader) -> pa.Table:
        """Images and boxes that detectors of parts in a state train on, and their mirror images."""
        from tps_pipeline.detection import datasets

        flip, margin = read.setting(f"{entry}.detector.augment.flip"), read.setting(f"{entry}.crop_margin")
        return datasets.part_state_samples(read(PEOPLE), read(PARTS), frame_index(read), margin=margin, flip=flip)

    return part_state_samples
