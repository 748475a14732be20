"""The sliding form: results while frames go in, in bounded memory, of a source without an end.

Frames are detected once, people keep their tracks for as long as the source lasts. States and the action are those of
the last frames: a window that goes on by half of it is a video of its own to the stages' steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.clips.reading import at_hand
from tps_pipeline.cpu import share_freed_memory
from tps_pipeline.drawing.frame import draw
from tps_pipeline.drawing.video import SHOWN_SCORE, own_people, with_tracks
from tps_pipeline.graph import Run, Step
from tps_pipeline.lineage import Input
from tps_pipeline.models.kept import Networks, keeping
from tps_pipeline.outputs import DETECTIONS, FRAMES, POSES, TRACKS, VIDEO_ACTIONS, VIDEOS, Output, predictions
from tps_pipeline.predict import memory
from tps_pipeline.predict.following import Following, moved, since
from tps_pipeline.predict.live import Live
from tps_pipeline.predict.results import people_of, rounded
from tps_pipeline.tables import PERSON_BOX
from tps_pipeline.video.frames import write_frames

WINDOW = 60
"""Frames that states and the action are told from: two seconds at 30 a second."""

SIDE = 640
"""Pixels of a window's longer side: what sees clips scales them to less."""

_WINDOW = "window"
"""What its video is called in the tables; there is no such file."""


@dataclass(frozen=True)
class Frame:
    """One frame that was looked at, and what was found in it.

    Attributes:
        frame: Its number, from 1.
        seconds: When it is shown, at the source's rate.
        picture: RGB uint8, height x width x 3.
        people: Its rows of `tables.PREDICTIONS` with `track_id`, without video.
        action: That of the last window.
        action_score: How sure it is, 0 to 1.
    """

    frame: int
    seconds: float
    picture: NDArray[np.uint8]
    people: pd.DataFrame
    action: str
    action_score: float

    def to_dict(self, *, min_score: float = SHOWN_SCORE) -> dict[str, Any]:
        """As the tidy JSON has a frame, with the action; people below a score are left out."""
        return {
            "frame": self.frame,
            "seconds": round(self.seconds, 3),
            "action": {"name": self.action, "score": rounded(self.action_score)},
            "people": people_of(self.people[self.people.person_score >= min_score]).get(self.frame, []),
        }

    def draw(self, *, min_score: float = SHOWN_SCORE) -> NDArray[np.uint8]:
        """The picture with what was found on it; people below a score are left out."""
        shown = self.people[self.people.person_score >= min_score]
        return draw(self.picture, shown, action=f"{self.action} {self.action_score:.2f}")


class _Taken(NamedTuple):
    """A frame as it came."""

    small: NDArray[np.uint8]
    """None larger than `SIDE`."""
    picture: NDArray[np.uint8] | None
    """As it is, of one that is looked at: the others of half a window would be a tenth of a gigabyte."""


@dataclass
class Window:
    """The last frames of a source, and what is known of them; frames are numbered from the window's first.

    Attributes:
        run: What steps are run with.
        steps: Those that lead to the method's predictions.
        inputs: What they read of the store.
        networks: What stays loaded.
        method: Whose states are given.
        fps: Frames a second of the source.
        stride: Between the frames that are looked at.
        pictures: The window's, none larger than `SIDE`.
        detected: Its people, as detected once.
        own: Its people as the method finds them itself, if it does.
        poses: The landmarks of those detected, where these are looked for.
        start: How many frames went before it.
        turn: How often it has gone on.
        of_all: What was last found in the whole window (the action).
    """

    run: Run
    steps: Sequence[Step]
    inputs: tuple[Input, ...]
    networks: Networks
    method: str
    fps: float
    stride: int
    detected: Following
    own: Following
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    poses: pa.Table = field(default_factory=lambda: tables.empty(tables.POSES))
    start: int = 0
    turn: int = 0
    of_all: dict[Output, pa.Table] = field(default_factory=dict)

    def follow(self, pictures: Iterable[NDArray[np.uint8]], *, window: int) -> Iterator[Frame]:
        """What is found, half a window at a time."""
        half = max(1, round(window / 2 / self.stride)) * self.stride
        coming = iter(pictures)
        while new := [self._taken(*each) for each in enumerate(islice(coming, half))]:
            yield from self._go_on(new, keep=half)

    def _taken(self, at: int, picture: NDArray[np.uint8]) -> _Taken:
        return _Taken(_small(picture), None if at % self.stride else picture)

    def _go_on(self, new: list[_Taken], *, keep: int) -> list[Frame]:
        """Let the window go on by some frames, and tell of them."""
        self._forget(max(0, len(self.pictures) - keep))
        if self.turn % 2 == 1:  # the window is full for the first time, or all of it is new since then
            self.of_all.clear()
        self.turn += 1
        first = len(self.pictures) + 1
        self.pictures += [each.small for each in new]
        shown = {number: each.picture for number, each in enumerate(new, first) if each.picture is not None}
        with (
            tempfile.TemporaryDirectory(prefix="tps_predict_") as folder,
            keeping(self.networks),
            at_hand(Path(folder) / _WINDOW, _fitted(self.pictures)),
        ):
            made = self._make(shown, shown[first].shape, Path(folder))
        return self._tell(made, shown)

    def _forget(self, count: int) -> None:
        self.start += count
        del self.pictures[:count]
        self.detected.forget(count)
        self.own.forget(count)
        self.poses = moved(self.poses, count)

    def _make(self, shown: dict[int, NDArray[np.uint8]], shape: tuple[int, ...], folder: Path) -> memory.Made:
        """Run the steps: of the new frames what looks at frames, of the window what looks at more."""
        write_frames(folder / "frames.arrow", memory.SHARD, shown, quality=self.run.recipe.frames.jpeg_quality)
        made: dict[Output, pa.Table | Path] = {
            VIDEOS: self._video(shape),
            FRAMES: folder / "frames.arrow",
            **self.of_all,
        }
        run = replace(self.run, data=folder)
        detections = run.meant(DETECTIONS)
        for step in self.steps:
            output = step.makes[0]
            if output in made:
                continue
            if output == TRACKS:
                new = made[detections]
                assert isinstance(new, pa.Table)
                self.detected.link(new, start=self.start)
                made[TRACKS] = self.detected.tracks
                continue
            of_window = {detections: self.detected.detections, POSES: self.poses}
            seen = made | (of_window if TRACKS in step.reads else {})
            reader = memory.VideoReader(
                run, step.name, step.reads, step.sections, self.inputs, memory.SHARD, folder, made=seen
            )
            for output, product in memory.products(step, reader).items():
                assert isinstance(product, pa.Table)
                if output == POSES:
                    self.poses = pa.concat_tables([self.poses, product]).unify_dictionaries()
                if "frame" in product.column_names:
                    made[output] = since(product, min(shown))
                else:
                    made[output] = self.of_all[output] = product
        return made

    def _video(self, shape: tuple[int, ...]) -> pa.Table:
        facts = {
            "video_id": memory.SHARD, "split": "test", "action": None, "path": _WINDOW, "n_frames": len(self.pictures),
            "fps": self.fps, "width": shape[1], "height": shape[0], "rotation": 0, "sha256": "", "status": "ok",
            "error": None,
        }  # fmt: skip
        return tables.conform({name: [value] for name, value in facts.items()}, tables.VIDEOS)

    def _tell(self, made: memory.Made, shown: dict[int, NDArray[np.uint8]]) -> list[Frame]:
        found, actions = made[predictions(self.method)], made[VIDEO_ACTIONS]
        assert isinstance(found, pa.Table)
        assert isinstance(actions, pa.Table)
        (action,) = actions.to_pylist()
        parts, people = found.to_pandas(), self.detected
        if own_people(parts, _boxes_of(people, shown)):
            people = self.own
            people.link(found, start=self.start)
        tracks = people.tracks.select(["frame", "person", "track_id"]).to_pandas()
        parts = with_tracks(parts, _boxes_of(people, shown), tracks).drop(columns="video_id")
        first = np.searchsorted(parts.frame.to_numpy(), [*shown, np.iinfo(np.int32).max])
        parts = parts.assign(frame=parts.frame + np.int32(self.start))
        told = []
        for (at, picture), start, end in zip(shown.items(), first, first[1:], strict=False):
            number = self.start + at
            seconds = (number - 1) / self.fps
            told.append(Frame(number, seconds, picture, parts[start:end], action["action"], action["score"]))
        return told


def follow(
    live: Live,
    run: Run,
    steps: Sequence[Step],
    inputs: tuple[Input, ...],
    networks: Networks,
    *,
    method: str,
    window: int,
) -> Iterator[Frame]:
    """Tell what is found in a source, while it goes on.

    Args:
        live: The source.
        run: What steps are run with; its recipe says which frames are looked at.
        steps: From `memory.steps_for`.
        inputs: From `memory.inputs_of`.
        networks: See `keeping`.
        method: Whose states are given.
        window: Frames that states and the action are told from.
    """
    share_freed_memory()
    stride = run.recipe.frames.sample_stride
    going = Window(run, steps, inputs, networks, method, live.fps, stride, Following(stride), Following(stride))
    return going.follow(live.pictures, window=window)


def _boxes_of(people: Following, shown: Collection[int]) -> pd.DataFrame:
    """Who was found in the window's newest frames, and where."""
    return since(people.detections.select(["frame", "person", *PERSON_BOX]), min(shown)).to_pandas()


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    scale = SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _fitted(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Pictures of one size, the first one's: a camera may change it."""
    height, width, _ = pictures[0].shape
    return [
        each if each.shape == pictures[0].shape else cv2.resize(each, (width, height)).astype(np.uint8, copy=False)
        for each in pictures
    ]
