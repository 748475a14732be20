"""What is taken for the results of networks that are too large to be tried: tables as large as theirs would be.

They are made of labels and of nothing, so that all that reads them can be tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline import tables
from tps_pipeline.graph import Step
from tps_pipeline.outputs import ACTION_NAMES, PARTS, PEOPLE, VIDEOS, Output

if TYPE_CHECKING:
    from tps_pipeline.graph import Reader

SURE = 0.5
"""Score that detections have at least."""


def sure(step: Step) -> Step:
    """A step whose detections are as sure as those of networks that have learned; others as they are."""
    if step.makes[0].schema is not tables.DETECTIONS or len(step.makes) > 1:
        return step

    def make(read: Reader) -> pa.Table:
        made = step.make(read)
        assert isinstance(made, pa.Table)
        for name in ("person_score", "part_score"):
            at_least = pc.max_element_wise(made[name], pa.scalar(SURE, pa.float32()))
            made = made.set_column(made.schema.get_field_index(name), made.schema.field(name), at_least)
        return made

    return replace(step, make=make)


def stand_in(step: Step) -> Step | None:
    """A step that makes something in place of what a step makes; None for what nothing can stand for."""
    if len(step.makes) != 1:
        return None
    schema = step.makes[0].schema
    if schema is tables.DETECTIONS:
        return replace(step, reads=(PEOPLE, PARTS), make=_detections, picture=None)
    if schema is tables.PREDICTIONS:
        detections = next((read for read in step.reads if read.schema is tables.DETECTIONS), None)
        return replace(step, reads=(detections,), make=_predictions(detections), picture=None) if detections else None
    if schema is tables.VIDEO_ACTIONS:
        return replace(step, reads=(VIDEOS, ACTION_NAMES), make=_actions, picture=None)
    return None


def _detections(read: Reader) -> pa.Table:
    from tps_pipeline.actions.people import as_detected

    return as_detected(read(PEOPLE), read(PARTS))


def _predictions(detections: Output) -> Callable[[Reader], pa.Table]:
    def make(read: Reader) -> pa.Table:
        from tps_pipeline.methods.part_states import UNKNOWN, in_states

        rows = read(detections).to_pandas()
        return in_states(rows, [UNKNOWN] * len(rows))

    return make


def _actions(read: Reader) -> pa.Table:
    from tps_pipeline.actions.probabilities import as_table, ids

    names, actions = ids(read(VIDEOS)), [row["action"] for row in read(ACTION_NAMES).to_pylist()]
    return as_table(names, actions, [[1 / len(actions)] * len(actions)] * len(names))
