"""One seed's generated data, which a subject's networks are trained and scored on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from tps_pipeline.data.kinetics_tps import Annotations, read_all
from tps_pipeline.data.layout import find_videos
from tps_pipeline.data.synthetic import generate
from tps_pipeline.evaluation import sampled
from tps_pipeline.recipe import Recipe
from tps_pipeline.video.frames import FrameFile, extract

ROOT = Path(__file__).parent.parent.parent
"""The checkout."""


class World:
    """Generated videos with their annotations; what they show is the subject's choice."""

    seeds: ClassVar[Sequence[int]] = (0, 1, 2)
    """What it is measured with unless `--seeds` says otherwise."""
    actions: ClassVar[Sequence[str]]
    videos: ClassVar[int]
    size: ClassVar[tuple[int, int]]
    """Width and height."""
    frames: ClassVar[int]

    def __init__(self, folder: Path, settings: Recipe, *, seed: int) -> None:
        self.folder, self.settings, self.seed = folder, settings, seed

    @classmethod
    def recipes(cls, named: str) -> tuple[str, ...]:
        """Those that its figures follow from, where `named` is that of all claims."""
        return (named,)

    @cached_property
    def data(self) -> Path:
        """The folder in the Kinetics-TPS layout; a quarter of the videos are held out (the test split)."""
        path = self.folder / "data"
        if not path.exists():
            width, height = self.size
            generate(
                path, videos=self.videos, seed=self.seed, classes=self.actions, test_fraction=0.25,
                width=width, height=height, frames=self.frames,
            )  # fmt: skip
        return path

    @cached_property
    def annotations(self) -> Annotations:
        """Of all videos."""
        return read_all(self.data)

    def pictures(self, split: Literal["train", "test"], *, stride: int | None = None, every: int = 1) -> FrameFile:
        """A split's labelled frames 1, 1 + stride, ... (by default those that are scored), of every so-manyth video."""
        name = split if stride is None and every == 1 else f"{split}_{stride}_{every}"
        path = self.folder / f"{name}.arrow"
        if not path.exists():
            labelled = sampled(
                self.annotations.labelled_frames, stride or self.settings.frames.sample_stride
            ).to_pandas()
            frames = labelled.astype({"video_id": str}).groupby("video_id").frame.agg(list)
            videos = [v for v in find_videos(self.data)[0] if v.folder == split and v.video_id in frames]
            extract([(v.video_id, self.data / v.path, frames[v.video_id]) for v in videos[::every]], path)
        return FrameFile(path)
