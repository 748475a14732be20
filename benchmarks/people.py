"""`make people`: the person detector that is shipped, from nothing: varied pictures, a training, the file.

It takes some ten minutes of one core. Pictures and weights are kept in build/people; what is there is not made again.
The file is not the shipped one to the byte: that one's first round saw an earlier version of the pictures, and its
second was cut at 250 steps and ended with 270 more from there. docs/real_people.md says what it finds on real clips.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa

from benchmarks.varied_pictures import pictures
from tps_pipeline import recipe, tables
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.datasets import person_samples
from tps_pipeline.detection.train import train
from tps_pipeline.labels import PERSON
from tps_pipeline.learners.pretrained import SHIPPED
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import FrameFile

BUILD = Path("build/people")
"""Where pictures and both rounds' weights are kept."""

CHUNKS, TAKES, FRAMES = 8, 100, 4
"""Files of pictures, videos in each, pictures of each video."""

SEED = 1234
"""Of the pictures."""

NETWORK = {"variant": "tiny", "width": 0.25, "anchors": "kmeans"}
TRAINING = {"batch_size": 16, "optimizer": "adamw", "weight_decay": 0.02, "ema": 0.998, "warmup": 0.1}
AUGMENT = {"translate": 0.1, "value": 0.3, "saturation": 0.4, "hue": 0.03}

ROUNDS = {
    "first": {
        "training": TRAINING | {"epochs": 6, "learning_rate": 0.006},
        "gains": {"objectness": "auto"},
        "augment": AUGMENT | {"mosaic": 0.3, "scale": 0.3},
    },
    "second": {
        "training": TRAINING | {"optimizer_steps": 520, "learning_rate": 0.004},
        "gains": {"objectness": "auto", "box": 0.1},
        "augment": AUGMENT | {"scale": 0.25},
    },
}
"""How it is trained: people are learned first, then where exactly they end, on whole pictures."""


def main() -> None:
    """Make what is not there yet."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare_cpu()
    BUILD.mkdir(parents=True, exist_ok=True)
    chunks = [draw(number) for number in range(CHUNKS)]
    samples = pa.concat_tables([samples for _, samples in chunks], promote_options="permissive").combine_chunks()
    weights, metrics = None, {}
    for name, how in ROUNDS.items():
        folder = BUILD / name
        if not (folder / WEIGHTS).exists():
            metrics = train(
                recipe.Detector.model_validate({"network": NETWORK, "image_size": 320, **how}),
                samples,
                [frames for frames, _ in chunks],
                (PERSON,),
                val_samples=tables.empty(tables.SAMPLES),
                val_frames=[],
                folder=folder,
                seed=0,
                weights=weights,
            )
        weights = folder / WEIGHTS
    ship(BUILD / "second" / WEIGHTS, SHIPPED["people"])
    print(f"{SHIPPED['people']}: {SHIPPED['people'].stat().st_size:,} bytes, {metrics}")


def ship(checkpoint: Path, to: Path) -> None:
    """Write a checkpoint in about half the bytes: kernels in half precision, all else as it is."""
    state, described = load_checkpoint(checkpoint)
    halved = {name: tensor.half() if tensor.ndim == 4 else tensor for name, tensor in state.items()}
    save_checkpoint(to, halved, metadata=described)


def draw(number: int) -> tuple[FrameFile, pa.Table]:
    """A file of pictures, and `tables.SAMPLES` of the people on them."""
    frames, people, _ = pictures(BUILD, number, takes=TAKES, frames=FRAMES, seed=SEED)
    known = frames.index.to_pandas()[["video_id", "frame"]]
    return frames, person_samples(pa.Table.from_pandas(known, preserve_index=False), people, frames.index)


if __name__ == "__main__":
    main()
