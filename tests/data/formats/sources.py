"""Small files of labels as other tools have them, of a video `v` of six frames of 128x240."""

import json
from typing import Any

FRAMES, WIDTH, HEIGHT = 6, 128, 240


def box(frame: int, *, left: float = 10, state: str = "", said: str = "", **other: Any) -> str:
    """A box of CVAT, 20 wide and 40 high; `said` are attributes, `name=value` with commas."""
    fields = {
        "frame": frame, "keyframe": 1, "outside": 0, "occluded": 0, "xtl": left, "ytl": 20, "xbr": left + 20, "ybr": 60,
        **other,
    }  # fmt: skip
    pairs = [pair.split("=") for pair in filter(None, said.split(","))] + ([["state", state]] if state else [])
    attributes = "".join(f'<attribute name="{name}">{value}</attribute>' for name, value in pairs)
    given = " ".join(f'{name}="{value}"' for name, value in fields.items() if value is not None)
    return f"<box {given}>{attributes}</box>"


def track(number: int, label: str, *boxes: str, group: int = 0) -> str:
    return f'<track id="{number}" label="{label}" group_id="{group}">{"".join(boxes)}</track>'


PERSON = track(0, "person", box(0, said="person=anna,action=lunge"), box(5, left=60, said="person=anna"), group=3)


def cvat(*tracks: str, size: tuple[int, int] = (WIDTH, HEIGHT), source: str = "v.mp4", more: str = "") -> str:
    """A file of CVAT for video 1.1."""
    original = f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size>"
    task = f"<id>1</id><name>t</name><size>6</size>{original}<source>{source}</source>{more}"
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return f"{head}<annotations><meta><task>{task}</task></meta>{''.join(tracks)}</annotations>"


def coco(*annotations: dict[str, Any], **changed: Any) -> str:
    """A file of COCO: pictures of the frames 1 and 2; without annotations a person and a head in the first."""
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    images = [{"id": n, "file_name": f"v/img_{n:05}.jpg", "width": WIDTH, "height": HEIGHT} for n in (1, 2)]
    usual = [person(), {"id": 8, "image_id": 1, "category_id": 2, "bbox": [12, 22, 5, 5], "state": "turn"}]
    content = {"images": images, "categories": categories, "annotations": list(annotations) or usual}
    return json.dumps({**content, **changed})


def person(**changed: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 20, 40, 100], **changed}


AVA = "v,0.04,0.25,0.25,0.5,0.5,12,1\nv,0.04,0.25,0.25,0.5,0.5,80,1\nv,0.12,0.25,0.25,0.5,0.75,80,1\n"


def key(frame: int, *, x: float = 25, **changed: Any) -> dict[str, Any]:
    """A key frame of Label Studio."""
    return {"frame": frame, "enabled": True, "rotation": 0, "x": x, "y": 25, "width": 25, "height": 50, **changed}


def region(name: str, label: str, *keys: dict[str, Any]) -> dict[str, Any]:
    value = {"framesCount": FRAMES, "sequence": list(keys), "labels": [label]}
    return {"id": name, "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}


def choice(name: str, what: str, said: str) -> dict[str, Any]:
    return {"id": name, "type": "choices", "from_name": what, "to_name": "video", "value": {"choices": [said]}}


def label_studio(*results: dict[str, Any], **changed: Any) -> str:
    """A file of Label Studio; without results a person and a head."""
    usual = [
        region("p", "person", key(1)), region("h", "head", key(1), key(3, x=30, enabled=False)),
        choice("h", "state", "turn"), choice("", "action", "lunge"),
        {"type": "relation", "from_id": "h", "to_id": "p", "direction": "right"},
    ]  # fmt: skip
    task = {
        "id": 5,
        "data": {"video": "/data/upload/1/0a1b2c3d-v.mp4"},
        "annotations": [{"result": list(results) or usual}],
    }
    return json.dumps([{**task, **changed}])
