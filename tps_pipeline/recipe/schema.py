"""A whole recipe."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import model_validator

from tps_pipeline.recipe.clips import VideoAction
from tps_pipeline.recipe.data import Frames, Shards
from tps_pipeline.recipe.detection import Detector, SingleStage, TwoStage
from tps_pipeline.recipe.methods import Method, PartStateDetector
from tps_pipeline.recipe.section import Name, Section


class Recipe(Section):
    """Everything a run depends on."""

    seed: int = 0
    shards: Shards = Shards()
    frames: Frames = Frames()
    person_detector: Detector
    part_detector: Detector
    two_stage: TwoStage = TwoStage()
    single_stage_detector: Detector | None = None
    """One detector of people and parts on whole frames, for comparison (null: there is none)."""
    single_stage: SingleStage = SingleStage()
    video_action: VideoAction
    methods: dict[Name, Method]
    predict_splits: tuple[Literal["train", "val", "test"], ...] = ("val", "test")
    """Splits whose shards `make run` detects, predicts and scores."""
    submission: str
    """The method whose predictions are submitted."""

    @property
    def detections(self) -> list[str]:
        """The ways in which people and parts are detected."""
        return ["two_stage", "single_stage"] if self.single_stage_detector else ["two_stage"]

    @property
    def part_state_detectors(self) -> dict[str, PartStateDetector]:
        """The methods that are trained on `datasets/part_state`, by name."""
        return {name: method for name, method in self.methods.items() if isinstance(method, PartStateDetector)}

    @property
    def boxes(self) -> dict[str, str]:
        """The assets that have people's and parts' boxes of their own, by the name that their precision goes by."""
        detections = {name: f"detections/{name}" for name in self.detections}
        return detections | {name: f"predictions/{name}" for name in self.part_state_detectors}

    @model_validator(mode="after")
    def _one_part_state_data_set(self) -> Self:
        """The methods that share `datasets/part_state` mean the same by it."""
        if len({(m.crop_margin, m.detector.augment.flip) for m in self.part_state_detectors.values()}) > 1:
            names = ", ".join(self.part_state_detectors)
            raise ValueError(
                f"methods {names} share a data set: give them one crop_margin and one detector.augment.flip"
            )
        return self

    def section(self, name: str) -> Any:
        """A section's plain values by its dotted name (``two_stage.crop_margin``); None if there is none."""
        return functools.reduce(lambda at, key: (at or {}).get(key), name.split("."), self.model_dump(mode="json"))

    def digest_of(self, sections: Sequence[str]) -> str:
        """A content hash of some sections: equal settings, equal digest, whatever file they came from."""
        chosen = {name: self.section(name) for name in sections}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
