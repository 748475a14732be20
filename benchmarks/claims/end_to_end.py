"""One network for everything beside two detectors and a network for states: what that costs, and what it saves.

The detectors and `instance_pcp` are `demo.yaml`'s, on data like the demo's; `end_to_end` is that of the recipe that all
claims are measured with. All are trained on the same videos and scored on the same others.
"""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from benchmarks.claims.claim import Claim
from benchmarks.claims.detection import inference_of, trained
from benchmarks.claims.states import States
from tps_pipeline import recipe
from tps_pipeline.data.synthetic.cast import ACTIONS
from tps_pipeline.detection import two_stage
from tps_pipeline.methods import build
from tps_pipeline.recipe import Recipe

RECIPE, METHOD, RIVAL = "demo", "end_to_end", "instance_pcp"
"""What the detectors and the rival are taken from, and who is compared."""
LESS = 0.03
"""Mean PSC that the method may have less."""
SHARE = 0.5
"""Of the others' time that it may take."""


class Parsed(NamedTuple):
    """What was found in the test videos, and what it took."""

    mean_psc: float
    milliseconds: float
    """Of processor time a frame that is looked at."""


class AtOnce(States):
    """One seed's data, the detectors and both methods."""

    seeds = (42, 43, 44)
    """No setting was tried on these."""
    actions = tuple(ACTIONS)[:6]
    """The demo's."""
    videos = 420
    size = (256, 192)
    frames = 36

    def __init__(self, folder: Path, settings: Recipe, *, seed: int) -> None:
        demo = recipe.load(RECIPE)
        methods = {RIVAL: demo.methods[RIVAL], METHOD: settings.methods[METHOD]}
        super().__init__(folder, demo.model_copy(update={"methods": methods}), seed=seed)

    @classmethod
    def recipes(cls, named: str) -> tuple[str, ...]:
        """See `World`."""
        return named, RECIPE

    @cached_property
    def one(self) -> Parsed:
        """By the one network."""
        test, checkpoint = self.sources("test"), self.checkpoint(METHOD)
        began = time.process_time()
        found = build(self.settings.methods[METHOD]).predict(test, checkpoint)
        return self._parsed(METHOD, found, time.process_time() - began)

    @cached_property
    def several(self) -> Parsed:
        """By the detectors of people and of parts, then by the network for states."""
        frames = self.pictures("train", stride=self.settings.frames.train_stride)
        networks = [trained(self, kind, "label_swap", frames) for kind in ("person", "part")]
        checkpoint, pictures = self.checkpoint(RIVAL), self.pictures("test")
        began, inference = time.process_time(), inference_of(self.settings)
        boxes = two_stage.detect(pictures, *networks, settings=self.settings.two_stage, inference=inference)
        detected = time.process_time() - began
        test = self.sources("test", detections=boxes)
        began = time.process_time()
        found = build(self.settings.methods[RIVAL]).predict(test, checkpoint)
        return self._parsed(RIVAL, found, detected + time.process_time() - began)

    def _parsed(self, method: str, found: pa.Table, seconds: float) -> Parsed:
        scores = self.psc(method, found, self.sources("test"))
        frames = len(self.pictures("test").index)
        return Parsed(float(scores.to_pandas().psc.mean()), 1000 * seconds / frames)


def _right(world: AtOnce) -> tuple[float, float]:
    return world.one.mean_psc, world.several.mean_psc - LESS


def _fast(world: AtOnce) -> tuple[float, float]:
    return world.one.milliseconds, world.several.milliseconds * SHARE


CLAIMS = (
    Claim(
        "end_to_end",
        f"`{METHOD}` comes within {LESS} of `{RIVAL}` on the boxes of two stages",
        "mean PSC",
        True,
        (METHOD, f"{RIVAL}, less {LESS}"),
        _right,
    ),
    Claim(
        "end_to_end_time",
        f"`{METHOD}` takes less than half of the time of two stages and `{RIVAL}`",
        "milliseconds of processor time a frame",
        False,
        (METHOD, "half of the others'"),
        _fast,
    ),
)
