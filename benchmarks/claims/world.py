"""One seed's generated data, which a subject's networks are trained and scored on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tps_pipeline.data.kinetics_tps import Annotations, read_all
from tps_pipeline.data.synthetic import generate
from tps_pipeline.recipe import Recipe


class World:
    """Generated videos with their annotations; what they show is the subject's choice."""

    actions: ClassVar[Sequence[str]]
    videos: ClassVar[int]
    size: ClassVar[tuple[int, int]]
    """Width and height."""
    frames: ClassVar[int]

    def __init__(self, folder: Path, settings: Recipe, *, seed: int) -> None:
        self.folder, self.settings, self.seed = folder, settings, seed

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
