"""MOT text: a line for each person and frame, `frame,id,left,top,width,height,score,-1,-1,-1`. Written only.

It knows neither parts nor states nor actions, so those are left out.
"""

from __future__ import annotations

from pathlib import Path

from tps_pipeline.data.formats.neutral import LabelledVideo, edges_of
from tps_pipeline.whole_file import whole_file


def write(video: LabelledVideo, path: Path) -> None:
    """Write a video's people.

    Args:
        video: Its tracks are numbered from 1 in their order.
        path: The text file; one that is there is replaced.
    """
    number = {name: n for n, name in enumerate(video.people, 1)}
    with whole_file(path) as partial, partial.open("w") as file:
        for frame, people in video.frames().items():
            for name, person in people:
                seen = person.boxes[frame]
                left, top, right, bottom = edges_of(seen.box)
                size = f"{left:g},{top:g},{right - left:g},{bottom - top:g}"
                file.write(f"{frame},{number[name]},{size},{seen.score:.6g},-1,-1,-1\n")
