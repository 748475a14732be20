"""COCO: people and parts as annotations of pictures, which are frames of videos; read and written.

A picture is a frame by its fields `video_id` and `frame_id` where the file has `videos`, or else by its name:
`<video>/img_00001.jpg` or `<video>_00001.jpg`. The category `person` is people, any other is a part. Keypoints of a
person become boxes of parts (`keypoints.py`). States, names of people and actions are no part of the format: they are
read where tools put them, in fields `state`, `person` and `action` of an annotation or of its `attributes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tps_pipeline.data.formats.neutral import LabelledVideo, Seen
from tps_pipeline.labels import PERSON
from tps_pipeline.whole_file import whole_file


def write(videos: Sequence[LabelledVideo], path: Path) -> None:
    """Write the labels of some videos.

    Args:
        videos: Frame 12 of the video `a` is the picture `a/img_00012.jpg`, as `tps frames export` calls it.
        path: The JSON file; one that is there is replaced.
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
    with whole_file(path) as partial:
        partial.write_bytes(msgspec.json.encode(content))


def _boxed(seen: Seen) -> dict[str, Any]:
    """A box and its score as COCO has them."""
    x1, y1, x2, y2 = seen.box
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0, "score": seen.score}
