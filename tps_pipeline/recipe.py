"""Recipes: every number a run depends on, in one YAML file of frozen, checked sections.

``recipes/paper.yaml`` holds the challenge report's numbers, ``recipes/demo.yaml`` the same schema with narrow networks
that train in minutes on two CPU cores. An asset depends on its own sections only (see ``Recipe.digest_of``), so
changing one method's learning rate makes only that method stale.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tps_pipeline.errors import RecipeError

RECIPES = Path(__file__).parent / "recipes"

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """A frozen part of a recipe; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Shards(Section):
    """How videos are batched and split at ingestion; later changes touch new videos only."""

    videos_per_shard: Positive = 64
    val_fraction: Fraction = 0.2


class Frames(Section):
    """Which frames are extracted, and how."""

    decoder: Literal["pyav", "decord"] = "pyav"
    sample_stride: Positive = 5
    """Frames 1, 1 + stride, ... are detected, predicted and scored (the challenge's is 5)."""
    train_stride: Positive = 5
    """Of the labelled training frames, those at 1, 1 + stride, ... are extracted."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95


class Training(Section):
    """One optimisation: what `tps_pipeline.training` does with any network."""

    epochs: Positive
    batch_size: Positive
    global_batch: Positive | None = None
    """Gradients accumulate until this many samples were seen (null: every batch steps)."""
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float = 0.937
    weight_decay: float = 0.0
    schedule: Literal["one_cycle", "yolo_cosine", "step", "constant"] = "one_cycle"
    final_learning_rate: float = 0.1
    """`yolo_cosine`: the last epoch's learning rate as a share of the first's."""
    steps: tuple[float, ...] = ()
    """`step`: epochs at which the learning rate falls to a tenth."""
    warmup: float = 0.1
    """`one_cycle`: share of all steps with a rising rate; the other schedules: epochs."""
    ema: float | None = None
    """Decay of the exponential moving average of the weights (null: none)."""
    clip_norm: float | None = None
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    workers: int = 0


class Yolov7(Section):
    """A member of the YOLOv7 family (arXiv 2207.02696)."""

    variant: Literal["tiny", "x"]
    width: float = 1.0
    depth: float = 1.0
    anchors: Literal["coco", "kmeans"] = "coco"
    """`kmeans` fits nine anchors to the training boxes."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class BoxAugmentation(Section):
    """What is done to a detector's training images, and how often or how far."""

    mosaic: Fraction = 0.0
    mixup: Fraction = 0.0
    rotation: float = 0.0
    """Degrees, either way."""
    translate: float = 0.0
    """Share of the image, either way."""
    scale: float = 0.0
    """Gain: 0.5 draws from 0.5 to 1.5."""
    shear: float = 0.0
    """Degrees, either way."""
    perspective: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    value: float = 0.0
    flip: Literal["label_swap", "plain", "none"] = "label_swap"
    """Half of the images are mirrored; `label_swap` exchanges left and right names, `plain` does not."""


class DetectionGains(Section):
    """Weights of a detector's three losses (YOLOv7's by default)."""

    box: float = 0.05
    objectness: float = 0.7
    """For 640-pixel images: it is multiplied by (image size / 640)²."""
    classification: float = 0.3
    """For 80 classes: it is multiplied by classes / 80."""


class Detector(Section):
    """A detector and how it is trained."""

    network: Yolov7
    image_size: Positive
    training: Training
    gains: DetectionGains = DetectionGains()
    augment: BoxAugmentation = BoxAugmentation()
    canvas: Literal["square", "rectangle"] = "square"
    """What a picture is letterboxed to in detection; `rectangle` leaves out the grey that its shape does not need. That
    is faster, but only for a network that has learned from mosaics: one that knows grey borders misses them."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """What detection computes in."""


class TwoStage(Section):
    """Person detector on the frame, then part detector on each person's crop."""

    person_threshold: Fraction = 0.01
    person_iou: Fraction = 0.65
    """Overlap above which non-maximum suppression drops the weaker person."""
    people_per_frame: Positive = 10
    crop_margin: float = 0.1
    """Share of the person's box added on each side of the crop, in training too."""


class SingleStage(Section):
    """One detector of people and parts on the frame, then parts given to people."""

    threshold: Fraction = 0.01
    """Boxes of people and of parts with a lower score are dropped."""
    iou: Fraction = 0.65
    """Overlap above which non-maximum suppression drops the weaker box of a class."""
    people_per_frame: Positive = 10
    containment: Fraction = 0.5
    """Share of a part's box that must lie in a person's box for the part to be that person's."""


class VideoSwin(Section):
    """Video Swin Transformer (arXiv 2106.13230) dimensions."""

    patch: tuple[int, int, int] = (2, 4, 4)
    embed: Positive = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: tuple[int, int, int] = (16, 7, 7)
    stochastic_depth: float = 0.4
    input: Literal["pixels", "gradients"] = "pixels"
    """`gradients`: patches of oriented gradients, for trainings too small to learn edges (patch: multiples of 4)."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class Csn(Section):
    """Interaction-reduced channel-separated network (ir-CSN, arXiv 1904.02811) dimensions."""

    depths: tuple[int, int, int, int] = (3, 8, 36, 3)
    """Bottlenecks a stage: those of depth 152."""
    stem: Positive = 64
    """Channels of the first convolution; everything else follows."""
    dropout: Fraction = 0.5
    frozen_norms: bool = False
    """Batch norms keep the statistics of `weights`: for batches too small to have their own."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class SlowFast(Section):
    """SlowFast network (arXiv 1812.03982) dimensions, with the last stage dilated as for AVA."""

    depths: tuple[int, int, int, int] = (3, 4, 23, 3)
    """Bottlenecks a stage: those of depth 101."""
    stem: Positive = 64
    """Channels of the slow pathway's first convolution; everything else follows."""
    alpha: Positive = 4
    """Frames of the fast pathway for one of the slow pathway."""
    beta: Annotated[float, Field(gt=0, le=1)] = 0.125
    """Channels of the fast pathway, as a share of the slow one's: one over a whole number."""
    lateral_kernel: Positive = 5
    """Frames seen by the convolutions from the fast to the slow pathway."""
    lateral_norms: bool = False
    """They are followed by a batch norm and a ReLU."""
    temporal_blocks: Positive | None = None
    """So many first blocks of the third stage convolve in time (null: all)."""
    non_local: tuple[int, ...] = ()
    """Blocks of the slow pathway's third stage, from 0, that are followed by a non-local block."""
    full_span: bool = False
    """The slow pathway's frames reach from the first to the last; else they are every ``alpha``-th from the first."""
    mean: tuple[float, float, float] = (110.6, 103.2, 96.3)
    """Of red, green and blue, 0 to 255, as `weights` expect (ACAR-Net's 101-layer network)."""
    std: tuple[float, float, float] = (38.8, 37.9, 40.0)
    frozen_norms: bool = False
    """Batch norms keep the statistics of `weights`: for batches too small to have their own."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class ClipAugmentation(Section):
    """What is done to a training clip; every frame of a clip gets the same."""

    rotation: float = 0.0
    """Degrees, either way."""
    scale: float = 0.0
    """Gain: 0.2 draws from 0.8 to 1.2."""
    translate: float = 0.0
    """Share of the picture, either way."""
    color: float = 0.0
    """Brightness, contrast and saturation, either way."""
    flip: Fraction = 0.5
    """Share of clips mirrored; labels with a side are swapped."""


class VideoAction(Section):
    """The video's action from a uniform sample of its frames."""

    network: VideoSwin
    frames: Positive
    image_size: Positive
    training: Training
    augment: ClipAugmentation = ClipAugmentation()
    cache_megabytes: int = 0
    """Decoded training videos kept in memory, at the network's size."""


class VideoCategory(Section):
    """Method: the most frequent state of each part in the predicted action."""

    kind: Literal["video_category"]


class ClipMethod(Section):
    """What the methods have in common that learn the states of all parts of a clip at once."""

    frames: Positive
    image_size: Positive
    loss: Literal["bce", "softmax"] = "bce"
    """`bce`: each state of each part is there or not; `softmax`: one state a part, parts without a label left out."""
    training: Training
    """A sample is a clip."""
    augment: ClipAugmentation = ClipAugmentation()
    clips_per_video: Positive = 1
    """Training clips drawn from one pass over a video."""
    shuffle_buffer: Positive = 32
    """Clips that wait for batches to be drawn from them, so that those of one video are spread over many batches."""
    cache_megabytes: int = 0
    """Decoded training videos kept in memory, at the network's size."""


class VideoLevel(ClipMethod):
    """Method: one state a part for the whole video, from a uniform sample of its frames."""

    kind: Literal["video_level"]
    network: VideoSwin


class SegmentLevel(ClipMethod):
    """Method: one state a part for each frame, from the frames around it."""

    kind: Literal["segment_level"]
    network: Csn
    interval: Positive = 1
    """Step between the frames of a clip."""
    key_frame: Literal["start", "middle"] = "middle"
    """Where in a clip the frame is that it is labelled by."""
    key_frame_stride: Positive = 5
    """Frames 1, 1 + stride, ... are classified; others take the nearest one's states (5: every sampled frame)."""


class InstanceLevel(ClipMethod):
    """Method: one state a part for each person, from the clip around a frame and the others who are in it."""

    kind: Literal["instance_level"]
    network: SlowFast
    relation: Literal["person_context_person", "person_person", "person"]
    """What a person is seen with: the others by way of the scene (ACAR), the others (AIA), or nothing."""
    tracked: bool = False
    """The clips drawn from a video are neighbours and one sample, looked at together; so many are in use as well. In
    `person_person` people are seen with themselves in all of them."""
    track_stride: Positive = 5
    """`tracked`: frames from one clip to the next in training; that of the sampled frames."""
    relation_blocks: Positive = 1
    person_width: Positive = 1024
    """Channels of a person's features."""
    relation_width: Positive = 512
    """Channels of what a person is described by."""
    relation_dropout: Fraction = 0.2
    interval: Positive = 1
    """Step between the frames of a clip."""
    key_frame: Literal["start", "middle"] = "middle"
    """Where in a clip the frame is whose people are looked at."""
    person_threshold: Fraction = 0.01
    """Detected people with a lower score are left out."""
    box_jitter: Fraction = 0.0
    """Training boxes: each edge moves by up to this share of the box's size, either way."""


class PartStateDetector(Section):
    """Method: one detector on each person's crop whose classes are part and state joined; a single frame, no time."""

    kind: Literal["part_state_detector"]
    detector: Detector
    crop_margin: float = 0.1
    """Share of the person's box added on each side of the crop, in training too."""
    choice: Literal["best", "vote"] = "best"
    """A part's state: `best` takes that of its best box, `vote` sums each state's scores over the boxes around it."""
    vote_iou: Fraction = 0.5
    """`vote`: boxes take part that overlap the part's best box at least so much."""
    box_threshold: Fraction = 0.05
    """A part whose best box has a lower score keeps the two-stage box."""


class PartTrajectoryNet(Section):
    """A network of convolutions over time."""

    width: Positive = 192
    blocks: Positive = 3
    kernel: Positive = 3
    """Sampled frames that a convolution sees, odd; a frame's states depend on the blocks * (kernel - 1) around it."""


class TrajectoryAugmentation(Section):
    """What is done to annotated boxes to make them like detected ones."""

    jitter: float = 0.1
    """Standard deviation of each edge of the most doubtful boxes, as a share of their size; surer ones move less."""
    drop: Fraction = 0.1
    """Share of parts left out, each by itself; of parts left out of a whole sequence; of videos without an action."""
    stretch: float = 0.1
    """Gain of width and of height: 0.1 draws from 0.9 to 1.1."""
    flip: Fraction = 0.5
    """Share of sequences mirrored; labels with a side are swapped."""


class PartTrajectory(Section):
    """Method: the boxes of a tracked person's parts over time, as keypoints; no pixels."""

    kind: Literal["part_trajectory"]
    network: PartTrajectoryNet = PartTrajectoryNet()
    action: bool = False
    """The probabilities of the video's actions are an input, too."""
    training: Training
    """A sample is a person's sequence of annotated frames."""
    augment: TrajectoryAugmentation = TrajectoryAugmentation()
    stride: Positive = 5
    """Step between the frames of a sequence: that of the sampled frames."""
    frames: Positive = 16
    """The longest training sequence; longer ones are cut at random."""
    part_threshold: Fraction = 0.1
    """Detected parts whose score, as a share of their person's, is lower are not looked at; they get a state anyway."""


Method = Annotated[
    VideoCategory | VideoLevel | SegmentLevel | InstanceLevel | PartStateDetector | PartTrajectory,
    Field(discriminator="kind"),
]


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


def load(name: str | Path) -> Recipe:
    """Load a recipe by name (``demo``, ``paper``) or from a YAML file.

    Args:
        name: A name in ``tps_pipeline/recipes``, or a path that ends in ``.yaml``.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: No such recipe, broken YAML, an unknown key (the nearest known one is named), or a bad value.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    try:
        text = path.read_text()
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); recipes by name: {known}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML: {error}") from error
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {line}" for line in _explain(error, content))) from error
    if recipe.submission not in recipe.methods:
        raise RecipeError(f"{path}: submission names {recipe.submission!r}; methods: {', '.join(recipe.methods)}")
    return recipe


def _explain(error: ValidationError, content: Any) -> list[str]:
    """One line a problem, with the nearest known key for an unknown one."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _fields(problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.0)
            lines.append(f"{where}: unknown key; did you mean {near[0]!r}?")
        else:
            lines.append(f"{where or 'recipe'}: {problem['msg']}")
    return lines


def _fields(location: tuple[int | str, ...]) -> set[str]:
    """Names that the section at a location takes, found by walking there from the root.

    Where a section may be of several kinds, the kind is a step of the location.
    """
    models: set[Any] = {Recipe}
    for step in location:
        found = [m.model_fields[step].annotation for m in models if isinstance(step, str) and step in m.model_fields]
        chosen = {m for m in models if "kind" in m.model_fields and step in get_args(m.model_fields["kind"].annotation)}
        models = {model for annotation in found for model in _models(annotation)} or chosen or models
    return {name for model in models for name in model.model_fields}


def _models(annotation: Any) -> set[Any]:
    """The section classes inside an annotation: an optional one's, a dictionary's values', a union's members'."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models(argument)}
