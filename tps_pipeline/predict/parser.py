"""The networks of a store or a bundle, ready for videos: `tps_pipeline.load("store")("me.mp4")`."""

from __future__ import annotations

import difflib
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tps_pipeline import __version__, outputs
from tps_pipeline import recipe as recipes
from tps_pipeline.errors import BundleError, RecipeError, StoreError
from tps_pipeline.graph import Run, Step, frozen
from tps_pipeline.lineage import Input, Lineage
from tps_pipeline.models import onnx
from tps_pipeline.models.kept import Networks, Runtime, keeping
from tps_pipeline.predict import boxes_only, bundle, live, memory, sources, streaming
from tps_pipeline.predict.card import Network
from tps_pipeline.predict.results import Result
from tps_pipeline.predict.streaming import WINDOW, Frame
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store


def load(
    path: str | Path,
    *,
    method: str | None = None,
    every: int | None = None,
    runtime: Runtime = "torch",
    recipe: str | None = None,
) -> Parser:
    """Make the networks of a store or a bundle ready for videos that are in no store.

    Args:
        path: The store: a folder or a URL. Nothing is written to it. Or a bundle: a file; nothing in it is executed.
        method: A method of the recipe that the store was made with, or an ensemble; `detections` for people and parts
            without states; what the recipe submits, or the bundle was made for, without.
        every: Look at every so many frames; as the recipe says without.
        runtime: What runs the networks that see pictures or clips: `onnx` is ONNX Runtime, on the CPU, whose numbers
            are PyTorch's but for the last digits.
        recipe: A recipe in the place of the store's: a name or a file.

    Raises:
        WeightsError: ONNX Runtime is not installed.
        StoreError: It is no store, or a network that is needed was never trained or is not in the bundle.
        BundleError: The bundle is none, is damaged or unsafe, or is of another version.
        RecipeError: The recipe has no such method.
    """
    if bundle.is_bundle(path):
        if recipe is not None:
            raise BundleError(f"{path}: a bundle has its recipe in it; leave --recipe out, or name a store")
        return _of_bundle(Path(path), method, every, runtime)
    lineage = Lineage(Store(path))
    if not lineage.records():
        raise StoreError(f"{path} is no store, or nothing was ever made in it; name another")
    chosen = recipes.load(recipe) if recipe is not None else frozen.of_predictions(lineage)
    return Parser(lineage, chosen, method=method, every=every, runtime=runtime)


class Parser:
    """Predicts videos, one after the other, with the steps of the graph.

    Args:
        lineage: The records of the store that the networks are in.
        recipe: The recipe that they were trained with.
        method: See `load`.
        every: See `load`.
        inputs: What there is to read; the store's newest without.
        runtime: See `load`.

    Attributes:
        method: Whose states are given.
        recipe: The recipe in force.

    Raises:
        StoreError: A network that is needed was never trained.
        RecipeError: The recipe has no such method, or `every` is no number of frames.
    """

    def __init__(
        self,
        lineage: Lineage,
        recipe: Recipe,
        *,
        method: str | None = None,
        every: int | None = None,
        inputs: tuple[Input, ...] | None = None,
        runtime: Runtime = "torch",
    ) -> None:
        if runtime == "onnx":
            onnx.must_be_installed(to_run=True)
        self.method = _known(method or recipe.submission, recipe)
        self.recipe = recipe if every is None else _sampling(recipe, every)
        self._networks = Networks(runtime)
        self._run = Run(self.recipe, Path(), lineage)
        self._steps = self._leading_to(self.method)
        self._inputs = memory.inputs_of(self._run, self._steps, among=inputs)

    def _leading_to(self, method: str) -> list[Step]:
        """The steps that lead to a method's people, parts and states, their tracks, and the action."""
        graph, detections = graph_of(self.recipe), self._run.meant(outputs.DETECTIONS)
        if method == boxes_only.METHOD:
            steps = memory.steps_for(graph, [detections, outputs.TRACKS])
            return steps + boxes_only.steps_of(detections)
        found = outputs.predictions(method)
        detects = any(detections in step.makes for step in memory.steps_for(graph, [found]))
        # Who finds people itself needs no detector: its people are linked as they are.
        wanted = [found, outputs.VIDEO_ACTIONS, *([detections, outputs.TRACKS] if detects else [])]
        return memory.steps_for(graph, wanted)

    def __call__(self, source: str | Path) -> Result:
        """Predict a video.

        Args:
            source: A file.

        Returns:
            What was found in it; the same as the graph finds in it, to the last digit.

        Raises:
            VideoError: It cannot be read, or is no video.
            UnreachableError: It cannot be read now.
        """
        began, notes = time.perf_counter(), list[str]()
        video = sources.video(source)
        run = replace(self._run, data=video.parent, warn=notes.append)
        with tempfile.TemporaryDirectory(prefix="tps_predict_") as scratch:
            with keeping(self._networks):
                made = memory.predict(run, self._steps, self._inputs, video, Path(scratch))
            return Result.of(video, self.method, made, notes=notes, took=time.perf_counter() - began)

    def stream(self, source: str | Path | int, *, window: int = WINDOW, allow_network: bool = False) -> Iterator[Frame]:
        """Predict a source while it goes on, in bounded memory: a camera, an address, a long file.

        This is the sliding form. People are detected as ever and keep their tracks; states and the action are those of
        the last `window` frames, also by methods that look at a whole video (`video_level`, the action).

        Args:
            source: A file, a camera's number, or a network address.
            window: Frames that states and the action are told from; results come half of it late.
            allow_network: Whether an address is opened.

        Yields:
            Each frame that was looked at.

        Raises:
            VideoError: The source cannot be opened.
            UnreachableError: It is a file that cannot be read now.
        """
        with live.opened(source, allow_network=allow_network) as opened:
            yield from self.follow(opened, window=window)

    def bundle(self, path: str | Path) -> list[Network]:
        """Write a file that `load` takes anywhere: the networks of this method and what else it reads, no others.

        Args:
            path: The file; it appears whole or not at all, and replaces one that is there.

        Returns:
            The networks in it, with the licences of the weights that they began with.

        Raises:
            BundleError: It cannot be written.
        """
        return bundle.write(Path(path), self._run, self._steps, self._inputs, self.method)

    def warn_of_other_code(self, manifest: bundle.Manifest) -> None:
        """Tell where this version gives other results than the one that a bundle was written with."""
        if changed := manifest.other_code(self._steps):
            self._run.warn(
                f"the bundle was written by tps_pipeline {manifest.tps_pipeline}; this version ({__version__}) gives "
                f"other results in: {', '.join(changed)}"
            )

    def follow(self, source: live.Live, *, window: int = WINDOW) -> Iterator[Frame]:
        """What `stream` does, of a source that is open."""
        return streaming.follow(
            source, self._run, self._steps, self._inputs, self._networks, method=self.method, window=window
        )


def _of_bundle(path: Path, method: str | None, every: int | None, runtime: Runtime) -> Parser:
    folder = Path(tempfile.mkdtemp(prefix="tps_bundle_"))
    try:
        manifest, recipe = bundle.unpack(path, folder)
        lineage = Lineage(Store(folder / bundle.STORE))
        parser = Parser(
            lineage,
            recipe,
            method=method or manifest.method,
            every=every,
            inputs=manifest.inputs,
            runtime=runtime,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(parser, shutil.rmtree, folder, ignore_errors=True)
    parser.warn_of_other_code(manifest)
    return parser


def _known(method: str, recipe: Recipe) -> str:
    if method not in (*recipe.scored, boxes_only.METHOD):
        meant = "".join(f" (did you mean {name}?)" for name in difflib.get_close_matches(method, recipe.scored, 1))
        raise RecipeError(f"the store's recipe has no method {method}{meant}; it has {', '.join(recipe.scored)}")
    return method


def _sampling(recipe: Recipe, every: int) -> Recipe:
    if every < 1:
        raise RecipeError(f"every {every} frames: name a number from 1 on")
    return recipe.model_copy(update={"frames": recipe.frames.model_copy(update={"sample_stride": every})})
