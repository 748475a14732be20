"""COCO: people and parts as annotations of pictures, which are frames of videos; read and written.

A picture is a frame by its fields `video_id` and `frame_id` where the file has `videos`, or else by its name:
`<video>/img_00001.jpg`, `<video>_00001.jpg`, or `frame_00001.jpg` in `<video>.json`. The category `person` is people,
any other is a part. Keypoints of a person become boxes of parts (`keypoints.py`). States, names of people and actions
are no part of the format: they are read where tools put them, in fields `state`, `person` and `action` of an annotation
or of its `attributes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from tps_pipeline.data.formats.footage import Library
from tps_pipeline.data.formats.keypoints import part_boxes
from tps_pipeline.data.formats.neutral import Edges, LabelledVideo, LeftOut, Person, Seen, pixels, refused
from tps_pipeline.data.formats.source import decoded
from tps_pipeline.labels import PERSON
from tps_pipeline.whole_file import whole_file

_EXPORT = "export the labels as COCO (instances or person keypoints)"
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")
_PICTURE = re.compile(r"[-_. ]*(?:img|image|frame)?[-_. ]*$", re.IGNORECASE)
"""What stands between a video's name and the frame's number."""

WITHIN = 0.5
"""How much of a part that names no person must lie in a person's box to belong to it."""


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None
    video_id: int | str | None = None
    frame_id: int | None = None


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int | str
    id: int | str = ""
    bbox: tuple[float, float, float, float] | None = None
    segmentation: Any = None
    keypoints: list[float] | None = None
    iscrowd: int | None = 0
    track_id: int | str | None = None
    person: int | str | None = None
    state: str | None = None
    action: str | None = None
    attributes: dict[str, Any] | None = None

    def said(self, name: str) -> str:
        """What a field says, or an attribute of that name; "" if neither does."""
        found = getattr(self, name, None)
        found = (self.attributes or {}).get(name) if found is None else found
        return "" if found is None or isinstance(found, list | dict) else str(found).strip()


class _Category(msgspec.Struct):
    id: int | str
    name: str
    keypoints: list[str] = []


class _Video(msgspec.Struct):
    id: int | str
    name: str
    action: str | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]
    videos: list[_Video] = []


class _Boxed(NamedTuple):
    """An annotation and its box."""

    where: str
    annotation: _Annotation
    edges: Edges


def read(source: Path, library: Library, left_out: LeftOut) -> list[LabelledVideo]:
    """Read a JSON file.

    Args:
        source: The file.
        library: The videos that it is about; labels of others are left out.
        left_out: Where what cannot be carried over is counted.

    Returns:
        The videos; a picture without annotations is a frame with nobody in it.

    Raises:
        DataError: The file is not what it should be: which element, and what to do.
    """
    file = decoded(source, _File, _EXPORT)
    categories = _by_id(file.categories, source, "category")
    images = _by_id(file.images, source, "image")
    annotations: dict[int | str, list[_Annotation]] = {}
    for annotation in file.annotations:
        where = f"{source}: annotation {annotation.id}"
        for kind, number, known in (
            ("image", annotation.image_id, images), ("category", annotation.category_id, categories)
        ):  # fmt: skip
            if number not in known:
                raise refused(where, f"is of the {kind} {number}, which is not there", f"add the {kind}, or correct it")
        annotations.setdefault(annotation.image_id, []).append(annotation)
    videos: dict[str, LabelledVideo] = {}
    for video, frame, image in _frames(file, source, library, left_out):
        found = _boxes(annotations.get(image.id, []), source, left_out)
        if frame > video.n_frames:
            left_out.add("boxes past the end of their video", f"{source}: image {image.id}", len(found))
            continue
        videos[video.video_id] = video
        _add_frame(video, frame, found, categories, left_out)
    return list(videos.values())


def _by_id(items: list[Any], source: Path, kind: str) -> dict[int | str, Any]:
    found = {item.id: item for item in items}
    if len(found) < len(items):
        numbers = [item.id for item in items]
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise refused(f"{source}: {kind} {twice}", "is there twice", "give one of the two another id")
    return found


def _frames(
    file: _File, source: Path, library: Library, left_out: LeftOut
) -> Iterator[tuple[LabelledVideo, int, _Image]]:
    """The pictures whose video is there, and which frame each is."""
    named = _by_id(file.videos, source, "video")
    frames: dict[str, dict[int, _Image]] = {}
    actions: dict[str, str | None] = {}
    for image in file.images:
        where = f"{source}: image {image.id} ({image.file_name})"
        if image.video_id in named and image.frame_id is not None:
            video, frame = named[image.video_id].name, image.frame_id
            actions[video] = named[image.video_id].action
        else:
            video, frame = _frame_of(image.file_name, source, library)
        if not video or frame < 0:
            left_out.add("pictures that are not named after a video and a frame", where)
            continue
        if frame in (of_video := frames.setdefault(video, {})):
            raise refused(where, f"is a second picture of frame {frame} of {video}", "rename or delete one of them")
        of_video[frame] = image
    for name, images in frames.items():
        if footage := library.find(name, f"{source}"):
            left_out.add("videos whose frames count from 0, now from 1", name, int(0 in images))
            action = actions.get(name) or footage.action
            video = LabelledVideo(footage.path.stem, footage.n_frames, footage.width, footage.height, action)
            for frame, image in images.items():
                if None not in (image.width, image.height) and (image.width, image.height) != (
                    video.width, video.height
                ):  # fmt: skip
                    what = f"has {image.width}x{image.height}, and {footage.path} has {video.width}x{video.height}"
                    fix = "give --videos the folder of the videos that were labelled"
                    raise refused(f"{source}: image {image.id} ({image.file_name})", what, fix)
                yield video, frame + (0 in images), image


def _frame_of(file_name: str, source: Path, library: Library) -> tuple[str, int]:
    """The video and the frame that a picture's name tells, or the labels'; an empty video if there is no frame."""
    path = PurePosixPath(file_name.replace("\\", "/"))
    found = _NUMBERED.fullmatch(path.stem)
    if not found:
        return "", 0
    names = [name for name in (_PICTURE.sub("", found[1]), path.parent.name, source.stem) if name]
    known = [name for name in names if library.has(name)]
    return next(iter([*known, *names]), ""), int(found[2])


def _boxes(annotations: list[_Annotation], source: Path, left_out: LeftOut) -> list[_Boxed]:
    """Those annotations of a picture that are boxes, or have one around them."""
    found: list[_Boxed] = []
    for annotation in annotations:
        where = f"{source}: annotation {annotation.id}"
        polygons = annotation.segmentation if isinstance(annotation.segmentation, list) else []
        if annotation.iscrowd:
            left_out.add("crowds", where)
        elif annotation.said("rotation") not in ("", "0", "0.0"):
            left_out.add("rotated boxes", where)
        elif annotation.bbox is not None:
            left, top, width, height = annotation.bbox
            found.append(_Boxed(where, annotation, (left, top, left + width, top + height)))
            outlined = bool(annotation.segmentation) and not (len(polygons) == 1 and len(polygons[0]) == 8)
            left_out.add("outlines, of which the box is kept", where, int(outlined))
        elif corners := [corner for polygon in polygons if isinstance(polygon, list) for corner in polygon]:
            try:
                xs, ys = [float(x) for x in corners[::2]], [float(y) for y in corners[1::2]]
            except (TypeError, ValueError):
                raise refused(where, "has a segmentation that is no polygon", "correct or delete it") from None
            found.append(_Boxed(where, annotation, (min(xs), min(ys), max(xs), max(ys))))
            left_out.add("outlines, of which the box is kept", where)
        else:
            left_out.add("annotations without a box", where)
    return found


def _add_frame(
    video: LabelledVideo, frame: int, found: list[_Boxed], categories: dict[int | str, _Category], left_out: LeftOut
) -> None:
    """Add a picture's people, then their parts."""
    people: dict[str, tuple[Person, Edges]] = {}
    by_number: dict[str, str] = {}
    for where, annotation, edges in found:
        if (category := categories[annotation.category_id]).name == PERSON:
            name = annotation.said("person") or annotation.said("track_id") or f"#{len(people) + 1}"
            if name in people:
                fix = "give one of the two another person, or track_id"
                raise refused(where, f"is a second person called {name} in its picture", fix)
            person = video.people.setdefault(name, Person())
            person.boxes[frame] = Seen(pixels(edges, where))
            people[name], by_number[str(annotation.id)] = (person, edges), name
            video.action = video.action or annotation.said("action") or None
            for part, around in part_boxes(_points(annotation, category, where), edges).items():
                person.parts.setdefault(part, {})[frame] = Seen(pixels(around, where), state="")
                left_out.add("boxes of parts made from keypoints", where)
    if not people:
        video.empty.add(frame)
    drawn: set[tuple[str, str]] = set()
    for where, annotation, edges in found:
        if (part := categories[annotation.category_id].name) != PERSON:
            said = annotation.said("person")
            name = (said if said in people else by_number.get(said)) if said else _around(edges, people)
            if name is None:
                left_out.add("parts that belong to no person", f"{where}, {part}")
                continue
            if (name, part) in drawn:
                raise refused(where, f"is a second {part} of the person {name}", "correct its person, or delete it")
            drawn.add((name, part))
            seen = Seen(pixels(edges, where), annotation.said("state"))
            people[name][0].parts.setdefault(part, {})[frame] = seen


def _points(annotation: _Annotation, category: _Category, where: str) -> dict[str, tuple[float, float]]:
    """The keypoints that are given, by name."""
    numbers = annotation.keypoints or []
    if numbers and len(numbers) != 3 * len(category.keypoints):
        what = f"has {len(numbers)} numbers of keypoints, and its category names {len(category.keypoints)} keypoints"
        raise refused(where, what, "give three numbers for each: x, y and whether it is seen")
    triples = zip(category.keypoints, numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return {name: (x, y) for name, x, y, given in triples if given > 0}


def _around(part: Edges, people: dict[str, tuple[Person, Edges]]) -> str | None:
    """Who has most of a part in their box, at least half of it; of two with the same share the smaller."""

    def rank(edges: Edges) -> tuple[float, float]:
        width = min(part[2], edges[2]) - max(part[0], edges[0])
        height = min(part[3], edges[3]) - max(part[1], edges[1])
        area = (part[2] - part[0]) * (part[3] - part[1])
        shared = max(width, 0) * max(height, 0) / area if area > 0 else 0.0
        return shared, -(edges[2] - edges[0]) * (edges[3] - edges[1])

    best = max(people, key=lambda name: rank(people[name][1]), default=None)
    return best if best is not None and rank(people[best][1])[0] >= WITHIN else None


def write(videos: Sequence[LabelledVideo], path: Path) -> None:
    """Write the labels of some videos.

    Args:
        videos: See `encode`.
        path: The JSON file; one that is there is replaced.
    """
    with whole_file(path) as partial:
        partial.write_bytes(encode(videos))


def encode(videos: Sequence[LabelledVideo]) -> bytes:
    """The labels of some videos as JSON.

    Args:
        videos: Frame 12 of the video `a` is the picture `a/img_00012.jpg`, as `tps frames export` calls it.
    """
    parts = sorted({part for video in videos for person in video.people.values() for part in person.parts})
    category = {name: number for number, name in enumerate([PERSON, *parts], 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, video in enumerate(videos, 1):
        for frame, people in video.frames().items():
            file = f"{video.video_id}/img_{frame:05d}.jpg"
            image = {"id": len(images) + 1, "file_name": file, "video_id": number, "frame_id": frame}
            images.append({**image, "width": video.width, "height": video.height})
            for name, person in people:
                of = {"image_id": image["id"], "attributes": {"person": name}}
                annotations.append({**of, "category_id": category[PERSON], **_boxed(person.boxes[frame])})
                for part, there in person.parts.items():
                    if seen := there.get(frame):
                        said = {"attributes": {"person": name, "state": seen.state}}
                        annotations.append({**of, **said, "category_id": category[part], **_boxed(seen)})
    content = {
        "videos": [
            {"id": number, "name": video.video_id, "action": video.action} for number, video in enumerate(videos, 1)
        ],
        "images": images,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
    }
    return msgspec.json.encode(content)


def _boxed(seen: Seen) -> dict[str, Any]:
    """A box and its score as COCO has them."""
    x1, y1, x2, y2 = seen.box
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0, "score": seen.score}
