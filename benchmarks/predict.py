"""Own videos: from a file to tidy JSON, against a loop over frames and people, and followed as a stream, in one run.

    python -m benchmarks.predict [--store demo/store] [--methods part_trajectory instance_pcp] [--frames 300]

A 1280x720 clip with three people is drawn; all take turns on it, with the same networks, loaded before, on one thread.
`loop` is what a script does that somebody writes first: each frame that is looked at is sought in the file, pictures
and people go through the networks one by one, states are told frame by frame (of methods that look at tracks: track by
track). `stream` is `--stream`. Where `ultralytics` can be imported (AGPL-3.0: never in this project's environment),
`yolo11n_pose` is its smallest network of people's poses with random weights, on the same frames at the size that our
detector of people sees: it finds people and joints, neither tracks nor states nor actions. It has a process of its own:
it changes how Pillow opens files. Prints one JSON line a method: frames of the clip a second of wall-clock
time, medians; seconds divided by those of `file`, as the median over rounds, of wall-clock time and of CPU time, which
busy machines disturb less; and where the time of `file` and `stream` goes.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import torch

from tps_pipeline import recipe, tables
from tps_pipeline.data.synthetic.video import frames_of, shoot
from tps_pipeline.detection import two_stage
from tps_pipeline.detection.pictures import Pictures
from tps_pipeline.drawing.video import encode
from tps_pipeline.graph import Step, frozen
from tps_pipeline.lineage import Lineage
from tps_pipeline.models.kept import keeping
from tps_pipeline.outputs import FRAMES, TRACKS, TWO_STAGE, VIDEO_ACTIONS, VIDEOS, Output, checkpoint, predictions
from tps_pipeline.predict import memory
from tps_pipeline.predict.parser import Parser
from tps_pipeline.predict.results import Result
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import sampled_frames

SIZE, PEOPLE = (1280, 720), 3
STAGES = {"videos": "decoding", "frames": "decoding", "detections": "detection", "tracks": "detection",
          "video_actions": "action", "predictions": "states"}  # fmt: skip
"""What a step's time is counted as, by the beginning of its name."""


Tables = dict[Output, pa.Table]
Times = tuple[float, float]
"""Seconds of wall-clock time and of CPU time."""


class Timed(Parser):
    """A parser that keeps account of its steps' time."""

    def __init__(self, lineage: Lineage, recipe: recipe.Recipe, *, method: str) -> None:
        super().__init__(lineage, recipe, method=method)
        self.spent: dict[str, float] = defaultdict(float)
        self._steps = [replace(step, make=partial(self._timed, step)) for step in self._steps]

    def told(self, clip: Path) -> str:
        """Tidy JSON of a whole file."""
        found = self(clip)
        began = time.perf_counter()
        text = found.to_json()
        self.spent["writing"] += time.perf_counter() - began
        return text

    def streamed(self, clip: Path) -> str:
        """A line a frame, as a stream is told."""
        lines = []
        for frame in self.stream(clip):
            began = time.perf_counter()
            lines.append(json.dumps(frame.to_dict()))
            self.spent["writing"] += time.perf_counter() - began
        return "\n".join(lines)

    def _timed(self, step: Step, read: Any) -> Any:
        began = time.perf_counter()
        made = step.make(read)
        self.spent[STAGES[step.name.partition("/")[0]]] += time.perf_counter() - began
        return made

    def loop(self, clip: Path, videos: pa.Table) -> Result:
        """What somebody's first script finds; `videos` has the clip's facts."""
        step_of = {step.makes[0]: step for step in self._steps}
        (facts,) = videos.to_pylist()
        looked_at = sampled_frames(facts["n_frames"], self.recipe.frames.sample_stride).tolist()
        with keeping(self._networks):
            read = self._reader(clip, step_of[TWO_STAGE], {})
            found = [self._alone(read, clip.stem, number, sought(clip, number, facts["fps"])) for number in looked_at]
            made: Tables = {VIDEOS: videos, TWO_STAGE: pa.concat_tables(found).unify_dictionaries()}
            for step in (step for step in self._steps if step.makes[0] not in {VIDEOS, FRAMES, TWO_STAGE}):
                parts = pieces(step, made) if step.makes[0] == predictions(self.method) else [made]
                told = [step.make(self._reader(clip, step, {**made, **part})) for part in parts]
                made[step.makes[0]] = pa.concat_tables(map(as_table, told)).unify_dictionaries()
        seconds = [(number - 1) / facts["fps"] for number in looked_at]
        states, people, tracks, actions = (
            made[output] for output in (predictions(self.method), TWO_STAGE, TRACKS, VIDEO_ACTIONS)
        )
        return Result(clip, self.method, videos, looked_at, seconds, states, people, tracks, actions, [], 1.0)

    def _reader(self, clip: Path, step: Step, made: memory.Made) -> memory.VideoReader:
        run = replace(self._run, data=clip.parent)
        return memory.VideoReader(
            run, step.name, step.reads, step.sections, self._inputs, memory.SHARD, Path(), made=made
        )

    def _alone(self, read: memory.VideoReader, video: str, number: int, picture: np.ndarray) -> pa.Table:
        """What is detected in one picture, each person by themselves."""
        settings = read.setting("two_stage")
        people, parts = (
            two_stage.load_of(
                read.path(checkpoint(name)) / WEIGHTS,
                read.setting(f"{name}.inference"),
                people=name == "person_detector",
                parts=name == "part_detector",
            )
            for name in ("person_detector", "part_detector")
        )
        pictures = Pictures([(video, int(number))], [picture])
        columns = []
        for found in two_stage.find_people(people, pictures, people.prepare([picture]), settings=settings):
            for one in range(len(found.boxes)):
                only = slice(one, one + 1)
                person = replace(
                    found, boxes=found.boxes[only], scores=found.scores[only], windows=found.windows[only],
                    cuts=found.cuts[only],
                )  # fmt: skip
                (rows,) = two_stage.find_parts(parts, [person], parts.prepare(person.cuts))
                columns.append(rows | {"person": rows["person"] + one})
        tabled = [tables.conform(rows, tables.DETECTIONS) for rows in columns]
        return pa.concat_tables(tabled).unify_dictionaries() if tabled else tables.empty(tables.DETECTIONS)


def as_table(made: object) -> pa.Table:
    assert isinstance(made, pa.Table)
    return made


def pieces(step: Step, made: Tables) -> Iterator[Tables]:
    """What a method is shown at once: a track, or where it looks at none a frame."""
    parts, tracks = (made[output].to_pandas() for output in (TWO_STAGE, TRACKS))
    if TRACKS not in step.reads:
        for _, rows in parts.groupby("frame"):
            yield {TWO_STAGE: tables.conform(rows, tables.DETECTIONS)}
        return
    for _, rows in tracks.groupby("track_id"):
        own = parts.merge(rows[["frame", "person"]], on=["frame", "person"])
        yield {TWO_STAGE: tables.conform(own, tables.DETECTIONS), TRACKS: tables.conform(rows, tables.TRACKS)}


def sought(clip: Path, number: int, fps: float) -> np.ndarray:
    """A frame, by its time."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        wanted = (number - 1) / fps
        assert stream.time_base is not None
        container.seek(int(wanted / stream.time_base), stream=stream)
        shown = (frame for frame in container.decode(stream) if frame.time > wanted - 0.5 / fps)
        return next(shown).to_ndarray(format="rgb24")


def draw(path: Path, frames: int) -> Path:
    """A clip of `PEOPLE` people."""
    takes = (shoot("country_line_dancing", frames=frames, size=SIZE, rng=np.random.default_rng(i)) for i in range(99))
    take = next(take for take in takes if len(take.persons) == PEOPLE)
    pictures = (cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture, _ in frames_of(take, np.zeros(frames, bool)))
    encode(path, pictures, rate=Fraction(take.fps))
    return path


@functools.cache
def yolo_pose() -> Any:
    """The outside yardstick's network."""
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    network = YOLO("yolo11n-pose.yaml")
    torch.set_num_threads(1)
    return network


def yolo_told(clip: Path, size: int, every: int) -> Times:
    """How long it takes to tell what is in a clip."""
    network = yolo_pose()
    asked = {"source": str(clip), "stream": True, "vid_stride": every, "imgsz": size, "device": "cpu"}
    began, used = time.perf_counter(), time.process_time()
    for found in network.predict(**asked, verbose=False):
        json.dumps(found.summary())
    return time.perf_counter() - began, time.process_time() - used


def timed(way: Callable[[], object]) -> Times:
    began, used = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - began, time.process_time() - used


def measure(parser: Timed, clip: Path, frames: int, rounds: int, outside: Executor) -> dict[str, Any]:
    """All ways, in turn."""
    videos = parser(clip).videos
    ways: dict[str, Callable[[], Times]] = {
        "file": lambda: timed(lambda: parser.told(clip)),
        "stream": lambda: timed(lambda: parser.streamed(clip)),
        "loop": lambda: timed(lambda: parser.loop(clip, videos).to_json()),
    }
    size, every = parser.recipe.trained_detectors[0].image_size, parser.recipe.frames.sample_stride
    pixels = size if isinstance(size, int) else 640
    try:
        outside.submit(yolo_told, clip, pixels, every).result()
        ways["yolo11n_pose"] = lambda: outside.submit(yolo_told, clip, pixels, every).result()
    except Exception as error:  # whatever it is: it is none of ours
        print(f"yolo11n_pose is left out: {error!r}", file=sys.stderr, flush=True)
    wall, cpu = ({name: list[float]() for name in ways} for _ in range(2))
    shares: dict[str, dict[str, float]] = {name: defaultdict(float) for name in ways}
    for _ in range(rounds):
        for name in random.sample([*ways], len(ways)):
            parser.spent = shares[name]
            took, used = ways[name]()
            wall[name].append(took)
            cpu[name].append(used)
    return {
        "method": parser.method,
        "clip": [*SIZE, frames],
        "rounds": rounds,
        "frames_per_second": {name: round(frames / statistics.median(times), 2) for name, times in wall.items()},
        "wall_ratio": {name: _ratio(wall[name], wall["file"]) for name in ways if name != "file"},
        "cpu_ratio": {name: _ratio(cpu[name], cpu["file"]) for name in ways if name != "file"},
        "share": {name: _shares(shares[name], sum(wall[name])) for name in ("file", "stream")},
    }


def _ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 2)


def _shares(spent: dict[str, float], total: float) -> dict[str, float]:
    shares = {name: round(seconds / total, 3) for name, seconds in spent.items()}
    return shares | {"rest": round(1 - sum(spent.values()) / total, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="demo/store")
    parser.add_argument("--methods", nargs="+", default=["part_trajectory", "instance_pcp"])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # `prepare_cpu` heeds it
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    torch.set_num_threads(1)
    lineage = Lineage(Store(arguments.store))
    if not lineage.records():
        print(f"{arguments.store} is no store: run `make demo` first, or name one", file=sys.stderr)
        return
    apart = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, apart) as outside:
        clip = draw(Path(folder) / "clip.mp4", arguments.frames)
        for method in arguments.methods:
            parsing = Timed(lineage, frozen.of_predictions(lineage), method=method)
            print(json.dumps(measure(parsing, clip, arguments.frames, arguments.rounds, outside)), flush=True)


if __name__ == "__main__":
    main()
