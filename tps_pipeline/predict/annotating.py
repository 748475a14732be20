"""Videos with what a network finds in them, as a data folder to correct: `tps data annotate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tps_pipeline.data.formats import data_folder
from tps_pipeline.data.formats.footage import Library
from tps_pipeline.data.formats.importing import Imported
from tps_pipeline.data.formats.neutral import LabelledVideo, LeftOut, refused
from tps_pipeline.data.formats.new_folder import must_be_free
from tps_pipeline.errors import VideoError
from tps_pipeline.predict.boxes_only import NO_ACTION
from tps_pipeline.predict.parser import Parser


def annotate(
    videos: Path, out: Path, parser: Parser, *, min_score: float, tell: Callable[[str], object] = print
) -> Imported:
    """Make a data folder of training videos, labelled by a store's networks.

    Args:
        videos: A folder with videos, in folders or not.
        out: The folder to make, which must be new or empty.
        parser: Finds people and parts, and states if it has a method.
        min_score: People below this score are left out.
        tell: What to tell of each video.

    Returns:
        What was made.

    Raises:
        DataError: The folder holds something already, two videos have one name, or nobody was found in any.
    """
    must_be_free(out)
    left_out = LeftOut()
    library = Library(videos, left_out)
    labelled: list[LabelledVideo] = []
    for name in library.names():
        footage = library.find(name, f"{videos}")
        if footage is None:
            continue
        tell(f"{footage.path}")
        try:
            found = parser(footage.path).labels(min_score=min_score)
        except VideoError as error:
            left_out.add(f"videos that cannot be looked at ({error})", name)
            continue
        if found.action == NO_ACTION:
            found.action = footage.action
        if found.frames():
            labelled.append(found)
        else:
            left_out.add("videos in which nobody is found", name)
    if not labelled:
        why = "; ".join(left_out.lines()) or "no videos are in it"
        raise refused(f"{videos}", f"leaves nothing to label: {why}", "name a folder of videos with people in them")
    data_folder.write(labelled, library, out, left_out)
    return Imported(labelled, left_out)
