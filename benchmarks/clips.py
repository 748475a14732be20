"""Dense clips of one video: one pass against readers that seek for each clip, in the same run.

    python -m benchmarks.clips [--rounds 5]

A 300-frame video of 340x256 is made; every reader gives the same clip of 32 frames around each of 60 key frames
(checked). Ours gives a batch's frames once, with each clip's indices into them, as networks take it; `ours_copied` also
copies each clip apart, as the others do. Prints one JSON line a length of GOP: medians of CPU seconds, and the seeking
readers' divided by ours (over 1: ours is faster), as the median over rounds. All use one thread and the same memory
settings and take turns. A line tells how whole-video segment-level inference divides its time, and compares it with the
same network fed clip by clip from PyAV. The first line is the peak memory, libraries included, of processes that do
what `paper` asks for on a 300-frame video of 1280x720: segment-level inference with a narrow network, and an epoch of
training clips.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from benchmarks.frames import make_clip
from tps_pipeline import recipe
from tps_pipeline.clips.networks import csn
from tps_pipeline.clips.reading import read_ahead, read_windows
from tps_pipeline.clips.sampling import dense_sample
from tps_pipeline.methods.clips.classifier import Classifier, read_at_once
from tps_pipeline.methods.clips.segment_level import SegmentLevel
from tps_pipeline.methods.clips.training import LabelledVideo, augmented
from tps_pipeline.methods.lessons import TrainingClips
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.training.batches import Batches, Groups
from tps_pipeline.training.loop import prepare_cpu

FRAMES, LENGTH, STRIDE, BATCH = 300, 32, 5, 8
INDICES = np.stack([dense_sample(key, FRAMES, length=LENGTH, interval=1) for key in range(0, FRAMES, STRIDE)])
NARROW = recipe.Csn(depths=(1, 1, 1, 1), stem=16)
SPACE = LabelSpace((("head", "none"), ("head", "turn")))


def ours(path: Path) -> Iterator[np.ndarray]:
    for windows in read_windows(path, INDICES, batch=BATCH):
        yield windows.frames


def ours_copied(path: Path) -> Iterator[np.ndarray]:
    clip = np.empty(0, np.uint8)
    for windows in read_windows(path, INDICES, batch=BATCH):
        for shown in windows.shown:
            if not clip.size:
                clip = np.empty((LENGTH, *windows.frames.shape[1:]), np.uint8)
            yield np.take(windows.frames, shown, axis=0, out=clip)


def pyav(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        for indices in INDICES:
            wanted = {times[index] for index in indices}
            container.seek(min(wanted), stream=stream)
            pictures = {}
            for frame in container.decode(stream):
                if frame.pts in wanted:
                    pictures[frame.pts] = frame.to_ndarray(format="rgb24")
                if len(pictures) == len(wanted):
                    break
            yield np.stack([pictures[times[index]] for index in indices])


def decord(path: Path) -> Iterator[np.ndarray]:
    import decord

    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    for indices in INDICES:
        yield reader.get_batch(indices.tolist()).asnumpy()


def with_gop(path: Path, gop: int) -> Path:
    """The same pictures with a key frame in every `gop`."""
    target = path.with_stem(f"gop_{gop}")
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 340, 256, "yuv420p", gop
        for frame in source.decode(video=0):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), "rgb24")))
        container.mux(stream.encode(None))
    return target


def measure(path: Path, rounds: int) -> dict[str, object]:
    readers: list[Callable[[Path], Iterator[np.ndarray]]] = [ours, ours_copied, pyav, decord]
    for one, two in zip(ours_copied(path), pyav(path), strict=True):
        if not np.array_equal(one, two):
            raise RuntimeError("the readers give other frames")
    seconds: dict[str, list[float]] = {reader.__name__: [] for reader in readers}
    for _ in range(rounds):
        for reader in random.sample(readers, len(readers)):
            began = time.process_time()
            for clip in reader(path):
                clip.shape  # noqa: B018
            seconds[reader.__name__].append(time.process_time() - began)
    ratios = {
        f"{seeking}/{own}": round(
            statistics.median(slow / fast for slow, fast in zip(seconds[seeking], seconds[own], strict=True)), 1
        )
        for own in ("ours", "ours_copied")
        for seeking in ("pyav", "decord")
    }
    return {
        "video": path.stem,
        "clips": list(INDICES.shape),
        "rounds": rounds,
        "cpu_s": {name: round(statistics.median(times), 3) for name, times in seconds.items()},
        "ratio": ratios,
    }


def narrow(**changes: object) -> Classifier[recipe.SegmentLevel]:
    """The paper's segment-level classifier with a narrow network."""
    settings = recipe.load("paper").methods["segment_level"].model_copy(update={"network": NARROW} | changes)
    assert isinstance(settings, recipe.SegmentLevel)
    model = csn(settings.network, len(SPACE)).fuse()
    return Classifier(model, settings, SPACE, np.zeros(len(SPACE), np.float32))


def classify(path: Path) -> None:
    """Segment-level inference of a video as the paper's recipe asks for it."""
    classifier = narrow()
    assert isinstance(classifier.settings, recipe.SegmentLevel)
    size = (classifier.settings.image_size, classifier.settings.image_size)
    indices, _ = SegmentLevel(classifier.settings).plan(FRAMES, np.arange(0, FRAMES, STRIDE))
    for _, clips in read_ahead([(path, indices)], batch=read_at_once(classifier.settings), size=size):
        for windows in clips:
            classifier.scores(*windows)


def draw(path: Path) -> None:
    """Training clips of ten such videos, as the paper's recipe asks for them, with the buffer full."""
    settings = narrow().settings
    assert isinstance(settings, recipe.SegmentLevel)
    assert settings.training.batch_size != "auto"
    labelled = LabelledVideo(path, FRAMES, np.arange(FRAMES), np.zeros((FRAMES, 10), np.int64))
    samples = partial(augmented, settings.augment, SPACE)
    clips = TrainingClips([labelled] * 10, SegmentLevel(settings).draw, settings, samples)
    groups = Groups(settings.clips_per_video, settings.shuffle_buffer)
    for _ in Batches(clips, default_collate, size=settings.training.batch_size, seed=0, groups=groups).of(0):
        pass


def peak(work: Callable[[Path], None], path: Path) -> float:
    """Gigabytes that this process needed for some work."""
    prepare_cpu()
    torch.set_num_threads(1)
    work(path)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def memory(path: Path) -> dict[str, object]:
    """Peak memory, each in a process of its own; that of this one must be small, for they begin as its copies."""
    found = {}
    for work in (classify, draw):
        code = f"from benchmarks.clips import *; print(peak({work.__name__}, Path({str(path)!r})))"
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        found[work.__name__] = round(float(done.stdout), 2)
    return {"memory": path.stem, "peak_gb": found}


def inference(path: Path) -> dict[str, object]:
    """Segment-level inference with a narrow network: our pass, and clip by clip."""
    classifier = narrow(frames=LENGTH, interval=1, image_size=96)
    size = (classifier.settings.image_size, classifier.settings.image_size)
    began = time.process_time()
    decoded = sum(len(windows.shown) for windows in read_windows(path, INDICES, batch=BATCH, size=size))
    decoding, began = time.process_time() - began, time.process_time()
    for windows in read_windows(path, INDICES, batch=BATCH, size=size):
        classifier.scores(*windows)
    whole, began = time.process_time() - began, time.process_time()
    for clip in pyav(path):
        scaled = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in clip])
        classifier.scores(scaled, np.arange(LENGTH)[None])
    alone = time.process_time() - began
    return {
        "inference": path.stem,
        "clips": decoded,
        "cpu_s": {"ours": round(whole, 2), "clip_by_clip": round(alone, 2)},
        "decoding_share": round(decoding / whole, 3),
        "ratio": round(alone / whole, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    prepare_cpu()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(memory(make_clip(Path(folder) / "clip_720p.mp4", 1280, 720, FRAMES))), flush=True)
        original = make_clip(Path(folder) / "clip.mp4", 340, 256, FRAMES)
        for gop in (12, 250):
            print(json.dumps(measure(with_gop(original, gop), arguments.rounds)), flush=True)
        print(json.dumps(inference(original)), flush=True)


if __name__ == "__main__":
    main()
