"""What a detector trains on: annotations and extracted frames to samples, samples to pictures.

Samples are a table (`tables.SAMPLES`), so that what was trained on has a name and a version: also the mirrored half,
in which left and right are exchanged. An epoch shows every image once, either as it is or mirrored, at even odds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.detection.augment import Example, augment
from tps_pipeline.labels import PARTS, PERSON, parts_of, swap
from tps_pipeline.recipe import BoxAugmentation
from tps_pipeline.tables import BOX, CROP, PIXEL

if TYPE_CHECKING:
    from tps_pipeline.video.frames import FrameFile

Flip = Literal["label_swap", "plain", "none"]
"""Mirrored images: left and right names exchanged, names as they were, or no mirrored images."""

_JOINT = ": "
_FRAME = ["video_id", "frame"]
_PERSON = [*_FRAME, "person"]


def person_samples(
    labelled_frames: pa.Table, people: pa.Table, frames: pa.Table, *, flip: Flip = "label_swap"
) -> pa.Table:
    """Whole frames with their people; a frame without people is an image without objects.

    Args:
        labelled_frames: `tables.LABELLED_FRAMES`.
        people: `tables.PEOPLE`.
        frames: The extracted frames: `video_id`, `frame`, `width`, `height`. Other frames give no samples.
        flip: Whether the mirrored half is added, and whether it exchanges left and right in labels.

    Returns:
        `tables.SAMPLES` with the label `person`; `person` is null.
    """
    return _on_frames(labelled_frames, frames, _people(people), flip=flip)


def single_stage_samples(
    labelled_frames: pa.Table, people: pa.Table, parts: pa.Table, frames: pa.Table, *, flip: Flip = "label_swap"
) -> pa.Table:
    """Whole frames with their people and everyone's parts.

    Args:
        labelled_frames: `tables.LABELLED_FRAMES`.
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`.
        frames: See `person_samples`.
        flip: See `person_samples`.

    Returns:
        `tables.SAMPLES` with the labels `person` and the parts'; `person` is null.
    """
    objects = pd.concat((_people(people), _parts(parts, *_FRAME)))
    return _on_frames(labelled_frames, frames, objects, flip=flip)


def part_samples(
    people: pa.Table, parts: pa.Table, frames: pa.Table, *, margin: float, flip: Flip = "label_swap"
) -> pa.Table:
    """Each annotated person's crop with the person's own parts; a person without parts is an image without objects.

    Args:
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`.
        frames: The extracted frames: `video_id`, `frame`, `width`, `height`. Other frames give no samples.
        margin: Share of the person's box added on each side of the crop (`crops`).
        flip: Whether the mirrored half is added, and whether it exchanges left and right in labels.

    Returns:
        `tables.SAMPLES` with part labels. Boxes are cut at the crop's edge.
    """
    return _on_crops(people, frames, _parts(parts, *_PERSON), margin=margin, flip=flip)


def part_state_samples(
    people: pa.Table, parts: pa.Table, frames: pa.Table, *, margin: float, flip: Flip = "label_swap"
) -> pa.Table:
    """The same images as `part_samples` gives, each part with its state joined to its name (`left_arm_bend`).

    Args:
        people: See `part_samples`.
        parts: See `part_samples`.
        frames: See `part_samples`.
        margin: See `part_samples`.
        flip: See `part_samples`.

    Returns:
        `tables.SAMPLES` with joined labels (`join_state`).
    """
    objects = _parts(parts, *_PERSON, "state")
    prefixes = {part: join_state(part, "") for part in objects.label.unique()}
    joined = objects.label.map(prefixes).astype(object) + objects.state
    return _on_crops(people, frames, objects.assign(label=joined), margin=margin, flip=flip)


def classes(labels: Iterable[str], *, people: bool, parts: bool) -> tuple[str, ...]:
    """The classes of a detector of people, of parts, or of both, in the network's order.

    Args:
        labels: Those of its samples, or of a network: the parts that it is to know.
        people: Whether it detects people.
        parts: Whether it detects parts.
    """
    named = parts_of(label for label in labels if label != PERSON)
    return (*([PERSON] if people else []), *(named if parts else []))


def join_state(part: str, state: str) -> str:
    """A part's and a state's name as one label, which `labels.swap` mirrors.

    Of other parts than the ten one's name may begin with another's, so that they are joined by what no name has.

    >>> join_state("left_arm", "bend"), join_state("left_wing", "flap")
    ('left_arm_bend', 'left_wing: flap')
    """
    return part + ("_" if part in PARTS else _JOINT) + state


def split_state(label: str) -> tuple[str, str]:
    """The part and the state of a joined label.

    >>> split_state("left_arm_bend")
    ('left_arm', 'bend')
    """
    part, joint, state = label.partition(_JOINT)
    if joint:
        return part, state
    part = next(part for part in PARTS if label.startswith(join_state(part, "")))
    return part, label.removeprefix(join_state(part, ""))


def crops(boxes: NDArray[Any], sizes: NDArray[Any], *, margin: float) -> NDArray[np.int64]:
    """The windows that the part detector sees, in training and in detection.

    Args:
        boxes: People, inclusive corners in frame pixels, (N, 4).
        sizes: Width and height of the frame, (N, 2) or (2,).
        margin: Share of the box's width and height added on each side.

    Returns:
        Inclusive corners inside the frame, (N, 4); empty (x2 < x1 or y2 < y1) for a box outside it.
    """
    extra = margin * (boxes[:, 2:] - boxes[:, :2] + 1)
    low = np.maximum(np.floor(boxes[:, :2] - extra), 0)
    high = np.minimum(np.ceil(boxes[:, 2:] + extra), np.asarray(sizes) - 1)
    return np.concatenate((low, high), 1).astype(np.int64)


def mirror(samples: pd.DataFrame, *, swap_labels: bool = True) -> pd.DataFrame:
    """Mirrored images: crops and boxes in the mirrored frame's pixels. Applied twice, nothing has changed.

    Args:
        samples: Columns of `tables.SAMPLES` and the frame's `width`.
        swap_labels: Exchange left and right in labels.
    """
    last = samples.width - 1
    mirrored = samples.assign(flipped=~samples.flipped)
    for left, right in (("x1", "x2"), ("crop_x1", "crop_x2")):
        mirrored = mirrored.assign(**{left: last - samples[right], right: last - samples[left]})
    if swap_labels:
        mirrored["label"] = samples.label.map(swap, na_action="ignore")
    return mirrored


def to_frame(table: pa.Table, *columns: str) -> pd.DataFrame:
    """Some columns of a table, names as plain strings, which merge whatever their encoding."""
    frame = table.select(columns).to_pandas()
    return frame.astype({name: object for name in columns if isinstance(frame[name].dtype, pd.CategoricalDtype)})


class DetectorImages:
    """The images of a samples table as a network takes them (a `training.Samples`).

    The two halves of an image, as it is and mirrored, are one index: which is shown is drawn anew each time.

    In memory a box takes 18 bytes and a half 57; while they are arranged, 100 in all. With an object for each name and
    number, as pandas has them, it would be several times that, and all processes that load would copy them.

    Args:
        samples: `tables.SAMPLES`.
        frames: Where the frames are.
        labels: Class names in the network's order.
        size: Side of the network's square input in pixels.
        augmentation: What is done to the images; by default they are letterboxed only.
    """

    def __init__(
        self,
        samples: pa.Table,
        frames: Sequence[FrameFile],
        labels: Sequence[str],
        *,
        size: int,
        augmentation: BoxAugmentation | None = None,
    ) -> None:
        self.size, self.augmentation, self.classes = size, augmentation or BoxAugmentation(), len(labels)
        self._files = {video: file for file in frames for video, _ in file.keys()}  # noqa: SIM118
        self._names, video = coded(samples["video_id"])
        frame, flipped = samples["frame"].to_numpy(), samples["flipped"].to_numpy()
        person = samples["person"].fill_null(pa.scalar(-1, pa.int16())).to_numpy()
        order = np.lexsort((flipped, person, frame, video)).astype(np.int32)
        image = [column[order] for column in (video, frame, person)]
        new_image = np.append(True, np.logical_or.reduce([np.diff(column) != 0 for column in image]))[: len(order)]
        new_half = new_image | np.diff(flipped[order], prepend=False)
        self._halves = np.flatnonzero(new_half)
        self._images = np.append(np.flatnonzero(new_image[self._halves]), len(self._halves))
        self._ends = np.append(self._halves[1:], len(order))
        first = order[self._halves]
        self._video, self._frame, self._flipped = video[first], frame[first], flipped[first]
        self._crop = np.stack([samples[name].to_numpy()[first] for name in CROP], 1).astype(np.int64)
        named, label = coded(samples["label"])
        places = {name: place for place, name in enumerate(labels)}
        self._label = np.array([*(places.get(name, -1) for name in named), -1], np.int16)[label[order]]
        self._box = np.empty((len(order), 4), np.float32)
        for at, name in enumerate(BOX):
            self._box[:, at] = samples[name].fill_null(pa.scalar(0, PIXEL)).to_numpy()[order]

    def __len__(self) -> int:
        """Number of images, the mirrored half not counted."""
        return len(self._images) - 1

    def box_sizes(self) -> NDArray[np.float32]:
        """Width and height of every box as the network sees it letterboxed, mirrored ones included, (M, 2)."""
        real = self._label >= 0
        box = self._box[real]
        scale = np.repeat(self.size / (self._crop[:, 2:] - self._crop[:, :2] + 1).max(1), self._ends - self._halves)
        return ((box[:, 2:] - box[:, :2] + 1) * scale[real, None]).astype(np.float32)

    def box_labels(self) -> NDArray[np.int64]:
        """The class of every box, in the order of `box_sizes`, (M,)."""
        return self._label[self._label >= 0].astype(np.int64)

    def sample(self, index: int, rng: np.random.Generator) -> Example:
        """One augmented image, (size, size, 3), with its boxes in its own continuous pixels."""

        def draw_other() -> Example:
            return self._draw(int(rng.integers(len(self))), rng)

        return augment(self._draw(index, rng), draw_other, settings=self.augmentation, size=self.size, rng=rng)

    def example(self, index: int, *, mirrored: bool = False) -> Example:
        """One image as it is, of any size.

        Raises:
            IndexError: There is no such image, or no mirrored half of it.
        """
        half = self._images[index] + mirrored
        if half >= self._images[index + 1]:
            raise IndexError(f"image {index} has no mirrored half")
        return self._load(half)

    def _draw(self, index: int, rng: np.random.Generator) -> Example:
        return self._load(int(rng.integers(self._images[index], self._images[index + 1])))

    def _load(self, half: int) -> Example:
        start, end = self._halves[half], self._ends[half]
        video = self._names[self._video[half]]
        picture = self._files[video].frame(video, int(self._frame[half]))
        if self._flipped[half]:
            picture = picture[:, ::-1]
        x1, y1, x2, y2 = self._crop[half]
        boxes = self._box[start:end] - (x1, y1, x1 - 1, y1 - 1)
        real = self._label[start:end] >= 0
        window = np.ascontiguousarray(picture[y1 : y2 + 1, x1 : x2 + 1])
        return Example(window, boxes[real].astype(np.float32), self._label[start:end][real].astype(np.int64))


def coded(column: pa.ChunkedArray[Any]) -> tuple[list[str], NDArray[np.int32]]:
    """A column of names as those that there are, ascending, and the place of each row's among them, -1 for none."""
    plain: Any = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks: list[Any] = plain.chunks
    names = sorted({str(name) for chunk in chunks for name in chunk.dictionary.to_pylist()})
    places = {name: place for place, name in enumerate(names)}
    codes = [np.empty(0, np.int32)]
    for chunk in chunks:
        of_chunk = np.array([*(places[name] for name in chunk.dictionary.to_pylist()), -1], np.int32)
        codes.append(of_chunk[chunk.indices.fill_null(-1).to_numpy()])
    return names, np.concatenate(codes)


def _people(people: pa.Table) -> pd.DataFrame:
    return to_frame(people, *_FRAME, *BOX).assign(label=PERSON)


def _parts(parts: pa.Table, *columns: str) -> pd.DataFrame:
    return to_frame(parts, *columns, "part", *BOX).rename(columns={"part": "label"})


def _on_frames(labelled_frames: pa.Table, frames: pa.Table, objects: pd.DataFrame, *, flip: Flip) -> pa.Table:
    """Labelled frames that were extracted, with their objects."""
    images = _sizes(frames).merge(to_frame(labelled_frames, *_FRAME), on=_FRAME)
    images = images.assign(crop_x1=0, crop_y1=0, crop_x2=images.width - 1, crop_y2=images.height - 1)
    samples = _within_crop(images.merge(objects, on=_FRAME, how="left")).assign(person=None)
    return _with_mirrored(samples, flip)


def _on_crops(people: pa.Table, frames: pa.Table, objects: pd.DataFrame, *, margin: float, flip: Flip) -> pa.Table:
    """Crops of people in extracted frames, with the objects that are theirs."""
    images = _sizes(frames).merge(to_frame(people, *_PERSON, *BOX), on=_FRAME)
    windows = crops(images[[*BOX]].to_numpy(), images[["width", "height"]].to_numpy(), margin=margin)
    images = images.drop(columns=[*BOX]).assign(**dict(zip(CROP, windows.T, strict=True)))
    images = images[(images.crop_x1 <= images.crop_x2) & (images.crop_y1 <= images.crop_y2)]
    return _with_mirrored(_within_crop(images.merge(objects, on=_PERSON, how="left")), flip)


def _sizes(frames: pa.Table) -> pd.DataFrame:
    return to_frame(frames, "video_id", "frame", "width", "height")


def _within_crop(samples: pd.DataFrame) -> pd.DataFrame:
    """Cut boxes at their crop; an image that has none left becomes one without objects."""
    for axis in "xy":
        low, high = samples[f"crop_{axis}1"], samples[f"crop_{axis}2"]
        samples[f"{axis}1"], samples[f"{axis}2"] = samples[f"{axis}1"].clip(low), samples[f"{axis}2"].clip(upper=high)
    visible = samples.x1.le(samples.x2) & samples.y1.le(samples.y2)
    image = [name for name in ("video_id", "frame", "person") if name in samples]
    bare = ~visible.groupby([samples[name] for name in image]).transform("any")
    negatives = samples.loc[bare & ~samples.duplicated(image)].assign(label=None, **dict.fromkeys(BOX, np.nan))
    return pd.concat((samples.loc[visible], negatives))


def _with_mirrored(samples: pd.DataFrame, flip: Flip) -> pa.Table:
    halves = [samples.assign(flipped=False)]
    if flip != "none":
        halves.append(mirror(halves[0], swap_labels=flip == "label_swap"))
    return tables.conform(pd.concat(halves).sort_values(["flipped", "label"], kind="stable"), tables.SAMPLES)
