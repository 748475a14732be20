"""A whole recipe."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tps_pipeline.recipe.clips import VideoAction
from tps_pipeline.recipe.data import Frames, Shards
from tps_pipeline.recipe.detection import Detector, SingleStage, TwoStage
from tps_pipeline.recipe.ensembles import Ensemble
from tps_pipeline.recipe.methods import Method, PartStateDetector
from tps_pipeline.recipe.section import Fraction, Name, Section

ENSEMBLES = ("voting", "by_category")
"""What there is beside the recipe's methods, and is named like one."""


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
    methods: dict[Name, Method] = Field(min_length=1)
    predict_splits: tuple[Literal["train", "val", "test"], ...] = ("val", "test")
    """Splits whose shards `make run` detects, predicts and scores."""
    ensemble: Ensemble = Ensemble()
    submission: str
    """The method or ensemble whose predictions are submitted."""
    reported: dict[Name, Fraction] = Field(default_factory=dict)
    """The challenge report's scores on the challenge's test set, by the name of the method or ensemble; `paper.yaml`
    has them, whatever recipe runs (see `reported`)."""

    @property
    def detections(self) -> list[str]:
        """The ways in which people and parts are detected."""
        return ["two_stage", "single_stage"] if self.single_stage_detector else ["two_stage"]

    @property
    def scored(self) -> list[str]:
        """All that is scored and can be submitted: the methods, then the ensembles."""
        return [*self.methods, *ENSEMBLES]

    @property
    def voters(self) -> list[str]:
        """The methods that vote."""
        return list(self.ensemble.voting.methods or self.methods)

    @property
    def candidates(self) -> list[str]:
        """What `by_category` chooses from; without a scored video it takes the first."""
        return list(self.ensemble.by_category.candidates or ["voting", *self.methods])

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

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        """What is submitted, votes or is chosen from is there, and goes by one name."""
        for name in self.methods:
            if name in ENSEMBLES:
                raise ValueError(f"methods.{name}: this is the name of an ensemble; call the method something else")
        by_category = [name for name in self.scored if name != "by_category"]
        named = {
            "submission": ([self.submission], self.scored),
            "ensemble.voting.methods": (self.voters, list(self.methods)),
            "ensemble.by_category.candidates": (self.candidates, by_category),
        }
        for where, (names, known) in named.items():
            for name in names:
                if name not in known:
                    raise ValueError(f"{where} names {name!r}; there are {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _chosen_on_what_is_scored(self) -> Self:
        """The split that methods are chosen on has predictions of all sampled frames."""
        split = self.ensemble.choose_on
        if split not in self.predict_splits:
            raise ValueError(
                f"ensemble.choose_on is {split!r}, of which nothing is predicted: add it to predict_splits"
            )
        if split == "train" and self.frames.sample_stride % self.frames.train_stride:
            raise ValueError(
                "ensemble.choose_on is 'train', but frames.train_stride leaves out some of its sampled frames"
            )
        return self

    def predictions(self, name: str) -> str:
        """The asset with the predictions of a method or ensemble."""
        return f"ensemble/{name}" if name in ENSEMBLES else f"predictions/{name}"

    def section(self, name: str) -> Any:
        """A section's plain values by its dotted name (``two_stage.crop_margin``); None if there is none."""
        return functools.reduce(lambda at, key: (at or {}).get(key), name.split("."), self.model_dump(mode="json"))

    def digest_of(self, sections: Sequence[str]) -> str:
        """A content hash of some sections: equal settings, equal digest, whatever file they came from."""
        chosen = {name: self.section(name) for name in sections}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
