"""`make parts`: the part detector that is shipped, from nothing: varied pictures, a training, the file.

It takes some six minutes of one core. Pictures and weights are kept in build/parts; what is there is not made again.
docs/recipes.md says what beginning with it gains.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa

from benchmarks.people import ship
from benchmarks.varied_pictures import pictures
from tps_pipeline import recipe, tables
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.datasets import part_samples
from tps_pipeline.detection.train import train
from tps_pipeline.labels import PARTS
from tps_pipeline.learners.pretrained import SHIPPED
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import FrameFile

BUILD = Path("build/parts")
"""Where pictures and weights are kept."""

CHUNKS, TAKES, FRAMES, SEED = 16, 100, 3, 4321
"""Files of pictures, videos in each, pictures of each video, seed of the pictures."""

LEAST_PARTS = 3
"""People with fewer annotated parts are left out: of those who are small or covered few are annotated, there or not."""

SETTINGS = {
    "network": {"kind": "heat_maps", "variant": "tiny", "width": 0.25},
    "image_size": 192,
    "training": {
        "optimizer_steps": 3000, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.008, "weight_decay": 0.01,
        "ema": "auto", "warmup": 0.1,
    },
    "augment": {"scale": 0.3, "translate": 0.08, "value": 0.3, "saturation": 0.5, "hue": 0.3},
}  # fmt: skip
"""How it is trained, from the body of `people`."""


def main() -> None:
    """Make what is not there yet."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare_cpu()
    BUILD.mkdir(parents=True, exist_ok=True)
    chunks = [draw(number) for number in range(CHUNKS)]
    samples = pa.concat_tables([samples for _, samples in chunks], promote_options="permissive")
    metrics = train(
        recipe.Detector.model_validate(SETTINGS),
        samples.unify_dictionaries().combine_chunks(),
        [frames for frames, _ in chunks],
        PARTS,
        val_samples=tables.empty(tables.SAMPLES),
        val_frames=[],
        folder=BUILD / "trained",
        seed=0,
        weights=SHIPPED["people"],
    )
    ship(BUILD / "trained" / WEIGHTS, SHIPPED["parts"])
    print(f"{SHIPPED['parts']}: {SHIPPED['parts'].stat().st_size:,} bytes, {metrics}")


def draw(number: int) -> tuple[FrameFile, pa.Table]:
    """A file of pictures, and `tables.SAMPLES` of the parts of those people of whom enough are annotated."""
    frames, people, parts = pictures(BUILD, number, takes=TAKES, frames=FRAMES, seed=SEED)
    rows, person = parts.to_pandas(), ["frame", "person"]
    rows = rows[rows.groupby(person).part.transform("size") >= LEAST_PARTS]
    known = people.to_pandas().merge(rows[person].drop_duplicates(), on=person)
    people, parts = (pa.Table.from_pandas(each, preserve_index=False) for each in (known, rows))
    return frames, part_samples(people, parts, frames.index, margin=recipe.load("small").two_stage.crop_margin)


if __name__ == "__main__":
    main()
