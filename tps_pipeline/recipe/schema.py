"""A whole recipe."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from tps_pipeline.errors import RecipeError
from tps_pipeline.recipe.actions import VideoAction
from tps_pipeline.recipe.data import Frames, Shards
from tps_pipeline.recipe.detection import Detector, HeatMaps, Pose, SingleStage, TwoStage, UsedDetector
from tps_pipeline.recipe.ensembles import Ensemble
from tps_pipeline.recipe.methods import CLIP_METHODS, EndToEnd, InstanceLevel, Method, PartStateDetector
from tps_pipeline.recipe.section import INFERENCE, Fraction, Name, Section

ENSEMBLES = ("voting", "stacked", "by_category")
"""What there is beside the recipe's methods, and is named like one."""

WHOLE = "*"
"""The name of the whole recipe among its sections."""

NEWER = {"optimizer_steps": None, "minutes": None, "keep": "last", "boxes": "annotated", "start_from": None,
         "detections": "two_stage", "pose": None, "keypoints": False}  # fmt: skip
"""Settings that version 0.1 did not have, with the defaults by which a recipe is one of its recipes."""


START = {"weights"}
"""What of a network's settings only says what it starts from."""

TRAINED, USED = "trained", "used"
"""The two kinds of a person detector, as steps of a place in a recipe; people do not write them."""


def _kind_of_detector(content: Any) -> str:
    used = "use" in content if isinstance(content, dict) else isinstance(content, UsedDetector)
    return USED if used else TRAINED


PersonDetector = Annotated[
    Annotated[Detector, Tag(TRAINED)] | Annotated[UsedDetector, Tag(USED)], Discriminator(_kind_of_detector)
]
"""A detector that is trained, or one that is used as it is."""


class Recipe(Section):
    """Everything a run depends on."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of everything that is drawn at random."""
    shards: Shards = Shards()
    """How videos are batched and split."""
    frames: Frames = Frames()
    """Which frames are extracted, and how."""
    detections: Literal["two_stage", "single_stage", "pose"] = "two_stage"
    """Whose boxes the methods, the tracks and everybody else read."""
    person_detector: PersonDetector | None = None
    """The detector of people on whole frames: how it is trained, or which one is used as it is."""
    part_detector: Detector | None = None
    """The detector of the parts on a person's crop."""
    two_stage: TwoStage = TwoStage()
    """How the two detectors above are used together."""
    single_stage_detector: Detector | None = None
    """One detector of people and parts on whole frames, for comparison (null: there is none)."""
    single_stage: SingleStage = SingleStage()
    """How the detector above is used."""
    pose: Pose | None = None
    """How people are found by their landmarks (null: they are not)."""
    video_action: VideoAction
    """Who names a video's action, and how several members agree."""
    methods: dict[Name, Method] = Field(min_length=1)
    """The methods that predict states, by names of your choice."""
    predict_splits: tuple[Literal["train", "val", "test"], ...] = ("val", "test")
    """Splits whose shards `make run` detects, predicts and scores."""
    ensemble: Ensemble = Ensemble()
    """How methods are ranked and combined."""
    submission: str
    """The method or ensemble whose predictions are submitted."""
    reported: dict[Name, Fraction] = Field(default_factory=dict)
    """The challenge paper's scores on the challenge's test set, by the name of the method or ensemble; `paper.yaml`
    has them, whatever recipe runs (see `reported`)."""

    @property
    def trained_detectors(self) -> tuple[Detector, Detector]:
        """The detectors of people and of parts.

        Raises:
            RecipeError: There are not both, or that of people is used as it is.
        """
        if not isinstance(self.person_detector, Detector) or self.part_detector is None:
            raise RecipeError("the recipe trains no detectors of people and of parts; name one that does")
        return self.person_detector, self.part_detector

    @property
    def ways(self) -> list[str]:
        """The ways in which people and parts are detected."""
        there = {
            "two_stage": self.person_detector and self.part_detector,
            "single_stage": self.single_stage_detector,
            "pose": self.pose,
        }
        return [way for way, settings in there.items() if settings]

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
        return list(self.ensemble.by_category.candidates or ["voting", "stacked", *self.methods])

    @property
    def stacked_on(self) -> Literal["train", "val"]:
        """The split that `stacked` learns from."""
        return self.ensemble.stacked.fit_on or ("val" if "val" in self.predict_splits else self.ensemble.choose_on)

    @property
    def part_state_detectors(self) -> dict[str, PartStateDetector]:
        """The methods that are trained on `datasets/part_state`, by name."""
        return {name: method for name, method in self.methods.items() if isinstance(method, PartStateDetector)}

    @property
    def with_own_boxes(self) -> list[str]:
        """The methods whose boxes are not the detected ones."""
        return [name for name, method in self.methods.items() if isinstance(method, PartStateDetector | EndToEnd)]

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
    def _boxes_come_from_somewhere(self) -> Self:
        """The way to detect has all that it needs."""
        needed = {"two_stage": ("person_detector", "part_detector"), "single_stage": ("single_stage_detector",)}
        missing = [name for name in needed.get(self.detections, ("pose",)) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"detections is {self.detections}, which needs {' and '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _landmarks_come_from_somewhere(self) -> Self:
        """There are landmarks if a method looks at them."""
        for name, method in self.methods.items():
            if isinstance(method, InstanceLevel) and method.keypoints and self.pose is None:
                raise ValueError(
                    f"methods.{name}.keypoints needs landmarks, which pose finds: add `pose: {{}}` to the recipe"
                )
        return self

    @model_validator(mode="after")
    def _one_detector_starts_from_another(self) -> Self:
        """Only the part detector begins with another network of the recipe, and then with that one alone."""
        for name, detector in self._others_than_of_parts.items():
            if detector.start_from is not None:
                raise ValueError(f"{name}.start_from: only part_detector starts from another detector")
        part = self.part_detector
        if part and part.start_from and part.network.weights:
            raise ValueError("part_detector has start_from and network.weights: give one")
        if part and part.start_from and not isinstance(self.person_detector, Detector):
            raise ValueError("part_detector.start_from: the person detector is not trained, so nothing starts from it")
        return self

    @model_validator(mode="after")
    def _methods_start_from_their_like(self) -> Self:
        """A method begins with a network of the same dimensions, with that one alone, and none in a circle."""
        clips = {name: method for name, method in self.methods.items() if isinstance(method, CLIP_METHODS)}
        swin = self.video_action.members.swin
        networks: dict[str, Section] = {"video_action": swin.network} if swin else {}
        networks |= {name: method.network for name, method in clips.items()}
        for name, method in clips.items():
            if (start := method.start_from) is None:
                continue
            where, beside = f"methods.{name}.start_from", {"network": method.network.weights}
            if isinstance(method, EndToEnd):
                beside["body"] = method.body.weights
            if given := [section for section, weights in beside.items() if weights]:
                raise ValueError(f"{where} and {given[0]}.weights: give one")
            alike = [other for other in networks if other != name and _alike(networks[other], method.network)]
            if start not in alike:
                there = f"there are {', '.join(alike)}" if alike else "there is none"
                raise ValueError(f"{where}: {start!r} is no network of this recipe with the same dimensions; {there}")
            circle = [name]
            while start in clips and start not in circle:
                circle.append(start)
                start = clips[start].start_from
            if start == name:
                raise ValueError(f"{where}: {', '.join(circle)} begin with each other; let one begin by itself")
        return self

    @model_validator(mode="after")
    def _heat_maps_are_of_parts(self) -> Self:
        """Only of a person's crop is it known that everything is in it once at most."""
        for name, detector in self._others_than_of_parts.items():
            if isinstance(detector.network, HeatMaps):
                raise ValueError(f"{name}.network: only part_detector finds what is there once, and can be heat_maps")
        return self

    @property
    def _others_than_of_parts(self) -> dict[str, Detector]:
        """The trained detectors but for that of parts, by where they stand."""
        others: dict[str, Any] = {
            "person_detector": self.person_detector,
            "single_stage_detector": self.single_stage_detector,
            **{f"methods.{name}.detector": method.detector for name, method in self.part_state_detectors.items()},
        }
        return {name: detector for name, detector in others.items() if isinstance(detector, Detector)}

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
        """The splits that methods are chosen on and stacked on have predictions of all sampled frames."""
        for name, split in {"choose_on": self.ensemble.choose_on, "stacked.fit_on": self.stacked_on}.items():
            if split not in self.predict_splits:
                raise ValueError(
                    f"ensemble.{name} is {split!r}, of which nothing is predicted: add it to predict_splits"
                )
            if split == "train" and self.frames.sample_stride % self.frames.train_stride:
                raise ValueError(
                    f"ensemble.{name} is 'train', but frames.train_stride leaves out some of its sampled frames"
                )
        return self

    def setting(self, name: str) -> Any:
        """What stands at a dotted name (`two_stage.crop_margin`), `WHOLE` for all; None if there is nothing."""
        if name == WHOLE:
            return self
        return functools.reduce(_step, name.split("."), self)

    def without_inference(self, name: str) -> Any:
        """What stands at a dotted name, as who trains sees it: its `inference` parts are at their defaults."""
        value = self.setting(name)
        if not isinstance(value, Section) or name.endswith(f".{INFERENCE}"):
            return value
        return type(value).model_validate(_without_inference(value.model_dump()))

    def learned(self, name: str) -> Any:
        """The plain values at a dotted name that training reads, with every default filled in."""
        return _without_inference(self.section(name))

    def inference_sections(self, name: str) -> list[str]:
        """The dotted names of the `inference` parts of a section, at any depth."""
        value = self.setting(name)
        if not isinstance(value, Section):
            return []
        itself = [name] if name.endswith(f".{INFERENCE}") else []
        return itself + [
            section for inside in type(value).model_fields for section in self.inference_sections(f"{name}.{inside}")
        ]

    def section(self, name: str) -> Any:
        """The plain values at a dotted name with every default filled in, those of inference included."""
        return _plain(self.setting(name))

    def digest_of(self, sections: Sequence[str]) -> str:
        """A content hash of some sections: equal settings, equal digest, whatever file and place they came from.

        A section's name stands for all of it but its `inference` parts, which are named by themselves; `WHOLE` stands
        for everything. Values that are the schema's defaults are left out, so that a new setting with a neutral default
        leaves everything as it is; a changed default is a change of code.
        """
        values = [_without_defaults(self.setting(name), whole=name == WHOLE) for name in sections]
        return _hash(values)

    def is_default(self, name: str) -> bool:
        """Whether a part is as it is in a recipe that does not mention it."""
        value = self.setting(name)
        return isinstance(value, Section) and name != WHOLE and not value.model_dump(exclude_defaults=True)

    def digest_of_0_1(self, sections: Sequence[str]) -> str:
        """What version 0.1 would have called the same settings, for the records that it wrote."""
        before = _beside(self.model_dump(mode="json"))
        before["video_action"] = before["video_action"]["members"]["swin"]  # there was no other
        return _hash({name: functools.reduce(_step, name.split("."), before) for name in sections})


def _alike(network: Section, other: Section) -> bool:
    """Whether two networks are the same but for what they start from."""
    return type(network) is type(other) and network.model_dump(exclude=START) == other.model_dump(exclude=START)


def _step(at: Any, name: str) -> Any:
    return at.get(name) if isinstance(at, dict) else getattr(at, name, None)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Section) else value


def _without_defaults(value: Any, *, whole: bool) -> Any:
    if not isinstance(value, Section):
        return value
    values = value.model_dump(mode="json", exclude_defaults=True)
    return values if whole else _without_inference(values)


def _without_inference(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: _without_inference(value) for name, value in values.items() if name != INFERENCE}


def _beside(values: Any) -> Any:
    """Values with those of `inference` beside the others, as version 0.1 had them, without what it did not know."""
    if not isinstance(values, dict):
        return values
    known = {name: value for name, value in values.items() if name not in NEWER or value != NEWER[name]}
    shape = {name: _beside(value) for name, value in known.items() if name != INFERENCE}
    return shape | values.get(INFERENCE, {})


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
