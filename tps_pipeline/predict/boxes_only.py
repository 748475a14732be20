"""People and parts without a method: every part's state is `none`, and so is the action.

For stores in which no method has learned anything yet: the start of labelling (`tps data annotate`), or a first look.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.graph import Reader, Step
from tps_pipeline.graph.step import step
from tps_pipeline.labels import NO_STATE
from tps_pipeline.outputs import VIDEO_ACTIONS, VIDEOS, Output, predictions

METHOD = "detections"
"""What stands in a method's place."""

NO_ACTION = "none"
"""The action where nobody has named one."""


def steps_of(boxes: Output) -> list[Step]:
    """What stands in the place of a method's predictions and of the action.

    Args:
        boxes: The detections of the recipe.
    """

    @step(predictions(METHOD), reads=(boxes,))
    def stateless(read: Reader) -> pa.Table:
        """The detections, each part in the state that says nothing."""
        found = read(boxes)
        states = pd.Series([{NO_STATE: 1.0}] * len(found))
        stated = found.to_pandas().assign(state=NO_STATE, state_score=1.0, state_scores=states)
        return tables.conform(stated, tables.PREDICTIONS)

    @step(VIDEO_ACTIONS, reads=(VIDEOS,))
    def no_action(read: Reader) -> pa.Table:
        """No action for any video."""
        videos = read(VIDEOS)["video_id"].to_pylist()
        rows = {"video_id": videos, "action": [NO_ACTION] * len(videos), "score": [0.0] * len(videos)}
        return tables.conform(rows | {"probabilities": [{NO_ACTION: 0.0}] * len(videos)}, tables.VIDEO_ACTIONS)

    return [stateless, no_action]
