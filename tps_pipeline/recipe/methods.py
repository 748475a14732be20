"""The methods that give parts their states: one section each, told apart by its `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PlainValidator, SerializeAsAny, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from tps_pipeline.recipe.clips import ClipMethod
from tps_pipeline.recipe.detection import Detector, Yolov7
from tps_pipeline.recipe.networks import Csn, SlowFast, VideoSwin
from tps_pipeline.recipe.own import OwnMethod, named, settings_of
from tps_pipeline.recipe.section import Amount, Fraction, Positive, Section, Share
from tps_pipeline.recipe.training import Training


class VideoCategory(Section):
    """Method: the most frequent state of each part in the predicted action."""

    kind: Literal["video_category"]
    """Chooses this method."""


class VideoLevel(ClipMethod):
    """Method: one state a part for the whole video, from a uniform sample of its frames."""

    kind: Literal["video_level"]
    """Chooses this method."""
    network: VideoSwin
    """The network and what it starts from."""


class SegmentLevelInference(Section):
    """How a trained segment-level network is used."""

    key_frame_stride: Positive = 5
    """Frames 1, 1 + stride, ... are classified; others take the nearest one's states (5: every sampled frame)."""


class SegmentLevel(ClipMethod):
    """Method: one state a part for each frame, from the frames around it."""

    kind: Literal["segment_level"]
    """Chooses this method."""
    network: Csn
    """The network and what it starts from."""
    interval: Positive = 1
    """Step between the frames of a clip."""
    key_frame: Literal["start", "middle"] = "middle"
    """Where in a clip the frame is that it is labelled by."""
    inference: SegmentLevelInference = SegmentLevelInference()
    """How the trained network is used."""


class MatchingDetections(Section):
    """Which detected people are trained on as the annotated people they are."""

    person_score: Fraction = 0.9
    """Least score of a detected person (ACAR-Net)."""
    iou: Fraction = 0.9
    """Least overlap of the person's box with the annotated one (SlowFast's paper, section 5)."""


class InstanceLevelInference(Section):
    """How a trained instance-level network is used."""

    person_threshold: Fraction = 0.01
    """Detected people with a lower score are left out."""


class InstanceLevel(ClipMethod):
    """Method: one state a part for each person, from the clip around a frame and the others who are in it."""

    kind: Literal["instance_level"]
    """Chooses this method."""
    network: SlowFast
    """The network of the clip and what it starts from."""
    relation: Literal["person_context_person", "person_person", "person"]
    """What a person is seen with: the others by way of the scene (ACAR), the others (AIA), or nothing."""
    tracked: bool = False
    """The clips drawn from a video are neighbours and one sample, looked at together; so many are in use as well. In
    `person_person` people are seen with themselves in all of them."""
    track_stride: Positive = 5
    """`tracked`: frames from one clip to the next in training; that of the sampled frames."""
    keypoints: bool = False
    """A person's landmarks are looked at, too (the recipe has `pose`); people are then detected by them in all training
    videos first, and frames are learned from in which somebody's landmarks are known."""
    relation_blocks: Positive = 1
    """Layers that relate a person to what `relation` names, one after the other."""
    person_width: Positive = 1024
    """Channels of a person's features."""
    relation_width: Positive = 512
    """Channels of what a person is described by."""
    relation_dropout: Fraction = 0.2
    """Share of features left out in these layers in training."""
    interval: Positive = 1
    """Step between the frames of a clip."""
    key_frame: Literal["start", "middle"] = "middle"
    """Where in a clip the frame is whose people are looked at."""
    box_jitter: Fraction = 0.0
    """Training boxes: each edge moves by up to this share of the box's size, either way."""
    matching_detections: MatchingDetections | None = None
    """Train on detected people beside annotated ones (null: on annotated ones alone): people are then detected in all
    training videos before this network is trained."""
    inference: InstanceLevelInference = InstanceLevelInference()
    """How the trained network is used."""


class EndToEndGains(Section):
    """Weights of the losses."""

    people: Amount = 1.0
    """Of where people are (Objects as Points: 1)."""
    boxes: Amount = 2.0
    """Of people's boxes. Ours, as are the next."""
    parts: Amount = 1.0
    """Of where people's parts are, if anywhere, and of their boxes."""
    states: Amount = 2.0
    """Of parts' states."""


class EndToEndInference(Section):
    """How a trained end-to-end network is used."""

    person_threshold: Fraction = 0.01
    """People with a lower score are dropped."""
    person_iou: Fraction = 0.65
    """Overlap above which the fainter of two people is dropped."""
    people_per_frame: Positive = 10
    """No more than so many are kept, those with the best scores."""


class EndToEnd(ClipMethod):
    """Method: people, parts and states from one look at the clip that a frame ends; no detector before it."""

    kind: Literal["end_to_end"]
    """Chooses this method."""
    network: SlowFast
    """The network of the clip, which it sees at half of `image_size`, and what it starts from."""
    body: Yolov7
    """The YOLOv7 whose body sees the clip's last frame, and what it starts from (`people` comes with the package)."""
    width: Positive = 256
    """Channels of what is found in."""
    part_width: Positive = 256
    """Channels of what a part is described by."""
    part_margin: Amount = 0.5
    """Share of a part's box added on each side of where it is looked at."""
    relation_blocks: Positive = 1
    """Layers that relate a person to the others by way of the scene, one after the other (ACAR)."""
    person_width: Positive = 1024
    """Channels of a person's features."""
    relation_width: Positive = 512
    """Channels of what a person is described by."""
    relation_dropout: Fraction = 0.2
    """Share of features left out in these layers in training."""
    interval: Positive = 1
    """Step between the frames of a clip; its last is the frame that is looked at."""
    spread: Share = 0.54
    """How far around its middle a person is learned, as a share of its size (TTFNet's beta)."""
    own_boxes: Fraction = 0.5
    """Share of people who are learned in the boxes that the network itself gives; others in the annotated ones."""
    box_jitter: Fraction = 0.0
    """These are moved: each edge by up to this share of the box's size, either way."""
    gains: EndToEndGains = EndToEndGains()
    """Weights of the losses."""
    inference: EndToEndInference = EndToEndInference()
    """How the trained network is used."""

    @model_validator(mode="after")
    def _whole_places(self) -> Self:
        """The coarsest places, of 32 pixels, fill the picture."""
        if self.image_size % 32:
            raise ValueError(f"image_size: {self.image_size} is no multiple of 32")
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        """A training is given weights of one network."""
        if self.network.weights and self.body.weights:
            raise ValueError("network.weights, body.weights: only one of them can be given")
        return self


class PartStateDetectorInference(Section):
    """What is made of the boxes that the detector finds."""

    choice: Literal["best", "vote"] = "best"
    """A part's state: `best` takes that of its best box, `vote` sums each state's scores over the boxes around it."""
    vote_iou: Fraction = 0.5
    """`vote`: boxes take part that overlap the part's best box at least so much."""
    box_threshold: Fraction = 0.05
    """A part whose best box has a lower score keeps the two-stage box."""


class PartStateDetector(Section):
    """Method: one detector on each person's crop whose classes are part and state joined; a single frame, no time."""

    kind: Literal["part_state_detector"]
    """Chooses this method."""
    detector: Detector
    """The network, its training and its use."""
    crop_margin: Amount = 0.1
    """Share of the person's box added on each side of the crop, in training too."""
    inference: PartStateDetectorInference = PartStateDetectorInference()
    """What is made of its boxes."""


class PartTrajectoryNet(Section):
    """A network of convolutions over time."""

    width: Positive = 192
    """Channels of each frame's features."""
    blocks: Positive = 3
    """Convolutions over time, one after the other."""
    kernel: Positive = 3
    """Sampled frames that a convolution sees, odd; a frame's states depend on the blocks * (kernel - 1) around it."""


class TrajectoryAugmentation(Section):
    """What is done to annotated boxes to make them like detected ones; those are only stretched and mirrored."""

    jitter: Amount = 0.1
    """Standard deviation of each edge of the most doubtful boxes, as a share of their size; surer ones move less."""
    drop: Fraction = 0.1
    """Share of parts left out, each by itself; of parts left out of a whole sequence; of videos without an action."""
    stretch: Amount = 0.1
    """Gain of width and of height: 0.1 draws from 0.9 to 1.1."""
    flip: Fraction = 0.5
    """Share of sequences mirrored; labels with a side are swapped."""


class PartTrajectoryInference(Section):
    """How a trained trajectory network is used."""

    part_threshold: Fraction = 0.1
    """Detected parts whose score, as a share of their person's, is lower are not looked at; they get a state anyway."""


class PartTrajectory(Section):
    """Method: the boxes of a tracked person's parts over time, as keypoints; no pixels."""

    kind: Literal["part_trajectory"]
    """Chooses this method."""
    network: PartTrajectoryNet = PartTrajectoryNet()
    """The network's dimensions."""
    action: bool = False
    """The probabilities of the video's actions are an input, too."""
    long_tail: Literal["class_balanced", "focal", "logit_adjusted"] | None = None
    """What the loss does for rare states: weighs them by the inverse of their effective number, makes little of what is
    already likely, or leaves it to the loss to know which states are frequent (null: nothing)."""
    boxes: Literal["annotated", "detected", "both"] = "annotated"
    """What is learned from: annotated boxes, made doubtful by `augment`; or those detected on the same people, with the
    mistakes that they will have in use (people are then detected in all training videos first)."""
    mistakes: Fraction = 0.0
    """`both`: share of annotated sequences with the mistakes that the detector made of somebody else in the training
    videos (limbs under the other side's name, boxes that are nowhere near), in place of the jitter of `augment`
    (what it gains: docs/recipes.md)."""
    training: Training
    """A sample is a person's sequence of frames."""
    augment: TrajectoryAugmentation = TrajectoryAugmentation()
    """What is done to training sequences."""
    stride: Positive = 5
    """Step between the frames of a sequence: that of the sampled frames."""
    frames: Positive = 16
    """The longest training sequence; longer ones are cut at random."""
    inference: PartTrajectoryInference = PartTrajectoryInference()
    """How the trained network is used."""

    @model_validator(mode="after")
    def _mistakes_of_detected(self) -> Self:
        """Mistakes are told from people of whom both kinds of boxes are known."""
        if self.mistakes and self.boxes != "both":
            raise ValueError(f"mistakes: {self.mistakes} needs boxes: both, not {self.boxes}")
        return self


_Ours = VideoCategory | VideoLevel | SegmentLevel | InstanceLevel | EndToEnd | PartStateDetector | PartTrajectory

CLIP_METHODS = VideoLevel | SegmentLevel | InstanceLevel | EndToEnd
"""The methods with a network that looks at clips."""

KINDS = tuple(str(get_args(each.model_fields["kind"].annotation)[0]) for each in get_args(_Ours))
"""The methods that come with this package."""


def is_ours(kind: object) -> bool:
    """Whether a method comes with this package; all others are named by their classes."""
    return kind in KINDS


_TAGGED: Any = Annotated[_Ours, Field(discriminator="kind")]
_ours = TypeAdapter[Any](_TAGGED)


def _entry(content: Any) -> _Ours | OwnMethod:
    """An entry as what its `kind` says."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if isinstance(content, OwnMethod):
        return content
    if not isinstance(kind, str) or is_ours(kind):
        return _ours.validate_python(content)
    if ":" not in kind and kind not in named():
        why = {"kind": kind, "known": ", ".join([*KINDS, *named()])}
        raise PydanticCustomError(
            "kind", "no method is called '{kind}'; there are {known}, and package.module:Class", why
        )
    return settings_of(kind).model_validate(content)


Method = Annotated[SerializeAsAny[_Ours | OwnMethod], PlainValidator(_entry)]
"""An entry of a recipe's methods; `kind` says which of the sections it is."""
