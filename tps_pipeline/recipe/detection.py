"""Detectors, and the ways to detect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Tag, model_validator

from tps_pipeline.recipe.section import Amount, Fraction, Positive, Section, Side, Size
from tps_pipeline.recipe.training import Training


class Yolov7(Section):
    """A member of the YOLOv7 family (arXiv 2207.02696)."""

    variant: Literal["tiny", "x"]
    """`tiny`, or `x`, which is the largest for 640-pixel images."""
    width: Size = 1.0
    """Factor on the variant's channels."""
    depth: Size = 1.0
    """Factor on the variant's repeated layers."""
    anchors: Literal["coco", "kmeans", "auto"] = "coco"
    """`kmeans` fits nine anchors to the training boxes, `auto` does so where COCO's do not fit them."""
    weights: str | None = None
    """Name of imported weights to start from (`tps weights import`)."""


class HeatMaps(Section):
    """A network for what is in a picture once at most, as each part is in its person's crop.

    It has a YOLOv7's body, and of each class a map of where it is (Objects as Points, arXiv 1904.07850), and its box
    there, in place of anchors.
    """

    kind: Literal["heat_maps"]
    """Says that it is this network."""
    variant: Literal["tiny", "x"] = "tiny"
    """See `Yolov7`."""
    width: Size = 1.0
    """See `Yolov7`."""
    depth: Size = 1.0
    """See `Yolov7`."""
    weights: str | None = None
    """Name of imported weights of a YOLOv7 whose body it starts from (`tps weights import`)."""


YOLOV7, HEAT_MAPS = "Yolov7", "HeatMaps"
"""The two kinds of a detector's network, as steps of a place in a recipe; people do not write them."""


def _kind_of_network(content: Any) -> str:
    heat_maps = "kind" in content if isinstance(content, dict) else isinstance(content, HeatMaps)
    return HEAT_MAPS if heat_maps else YOLOV7


DetectorNetwork = Annotated[
    Annotated[Yolov7, Tag(YOLOV7)] | Annotated[HeatMaps, Tag(HEAT_MAPS)], Discriminator(_kind_of_network)
]
"""A network that detects."""


class BoxAugmentation(Section):
    """What is done to a detector's training images, and how often or how far."""

    mosaic: Fraction = 0.0
    """Share of images that are put together of four (YOLOv4, arXiv 2004.10934)."""
    mixup: Fraction = 0.0
    """Share of images that are blended with another."""
    rotation: Amount = 0.0
    """Degrees, either way."""
    translate: Amount = 0.0
    """Share of the image, either way."""
    scale: Amount = 0.0
    """Gain: 0.5 draws from 0.5 to 1.5."""
    shear: Amount = 0.0
    """Degrees, either way."""
    perspective: Amount = 0.0
    """Greatest coefficient of the warp's last row, a pixel, either way."""
    hue: Amount = 0.0
    """Gain: 0.1 draws from 0.9 to 1.1."""
    saturation: Amount = 0.0
    """Gain, as `hue`."""
    value: Amount = 0.0
    """Gain of the brightness, as `hue`."""
    flip: Literal["label_swap", "plain", "none"] = "label_swap"
    """Half of the images are mirrored; `label_swap` exchanges left and right names, `plain` does not."""


class DetectionGains(Section):
    """Weights of the three losses of a YOLOv7 (its own by default)."""

    box: Amount = 0.05
    """Of the boxes' overlap with their targets."""
    objectness: Amount | Literal["auto"] = 0.7
    """For 640-pixel images: it is multiplied by (image size / 640)² (`auto`: it comes to 0.7 at any size)."""
    classification: Amount = 0.3
    """For 80 classes: it is multiplied by classes / 80."""


class DetectorInference(Section):
    """How a trained detector looks at pictures."""

    canvas: Literal["square", "rectangle"] = "square"
    """What a picture is letterboxed to in detection; `rectangle` leaves out the grey that its shape does not need. That
    is faster, but only for a network that has learned from mosaics: one that knows grey borders misses them."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """What detection computes in."""


class Detector(Section):
    """A detector and how it is trained."""

    network: DetectorNetwork
    """The network and what it starts from. `{kind: heat_maps}` is for the part detector alone."""
    start_from: Literal["person_detector"] | None = None
    """Of the part detector: begin with what the person detector has learned, in place of imported weights (null: it
    does not). Of few videos parts are then learned in fewer steps."""
    image_size: Side | Literal["auto"]
    """Pixels of the square that images are fitted onto (`auto`: as many as the median person, or part, needs)."""
    training: Training
    """A sample is an image."""
    gains: DetectionGains = DetectionGains()
    """Weights of the losses; heat maps have none of these."""
    augment: BoxAugmentation = BoxAugmentation()
    """What is done to training images."""
    inference: DetectorInference = DetectorInference()
    """How the trained network is used."""

    @model_validator(mode="after")
    def _heat_maps_have_what_they_can_use(self) -> Self:
        """Nothing is set that heat maps do not look at, and a picture has each class once."""
        if not isinstance(self.network, HeatMaps):
            return self
        if self.gains != DetectionGains():
            raise ValueError("gains: those of a YOLOv7; heat maps have none")
        if self.augment.mosaic or self.augment.mixup:
            raise ValueError("augment: heat maps see one person in a picture; set mosaic and mixup to 0")
        return self

    @property
    def pixels(self) -> int:
        """The image size, where it is not (or no longer) left to the data."""
        assert self.image_size != "auto"
        return self.image_size


class UsedDetector(Section):
    """A detector of people that is used as it is, without any training."""

    use: str
    """Name of imported weights (`tps weights import`): a YOLOv7 that knows COCO's classes, of which `person` is taken,
    or a person detector of ours."""
    image_size: Positive | None = None
    """Pixels of the square that pictures are fitted onto (null: as it was trained, COCO's 640)."""
    inference: DetectorInference = DetectorInference()
    """How the network is used."""


class TwoStage(Section):
    """Person detector on the frame, then part detector on each person's crop."""

    person_threshold: Fraction = 0.01
    """People with a lower score are dropped."""
    person_iou: Fraction = 0.65
    """Overlap above which non-maximum suppression drops the weaker person."""
    people_per_frame: Positive = 10
    """No more than so many are kept, those with the best scores."""
    crop_margin: Amount = 0.1
    """Share of the person's box added on each side of the crop, in training too."""
    mirror: bool = False
    """Whether parts are looked for in each crop's mirror image as well, and what both show is fused: sharper boxes from
    little training, for twice the time that parts take."""


class Pose(Section):
    """People by their landmarks, then parts made of these by a rule (`tps_pipeline.landmarks`).

    People are looked for where the person detector sees them, if the recipe has one (as `two_stage` says: threshold,
    overlap, number), where BlazePose's own detector does, and where they were in the frame before.
    """

    weights: str = "blazepose"
    """Name of imported weights (`tps weights import --as blazepose`)."""
    own_detector: Fraction | None = 0.5
    """Those whom BlazePose's own detector suspects with a lower score are not looked at (null: it is not asked)."""
    tiles: bool = True
    """Its own detector also looks at parts of the picture, where people may be small."""
    follow: bool = True
    """People are also looked for where they were in the frame before."""
    presence: Fraction = 0.5
    """People whom the landmark network is less sure of are dropped."""
    seen: Fraction = 0.3
    """Landmarks of a lower visibility make no parts."""
    people_per_frame: Positive = 10
    """No more than so many are kept, those with the best scores."""


class SingleStage(Section):
    """One detector of people and parts on the frame, then parts given to people."""

    threshold: Fraction = 0.01
    """Boxes of people and of parts with a lower score are dropped."""
    iou: Fraction = 0.65
    """Overlap above which non-maximum suppression drops the weaker box of a class."""
    people_per_frame: Positive = 10
    """No more than so many are kept, those with the best scores."""
    containment: Fraction = 0.5
    """Share of a part's box that must lie in a person's box for the part to be that person's."""
