"""What each step takes on this machine: all of a recipe's steps on a few videos, trainings for a few of their steps.

What a step takes is told by its videos, and by its shards, if it has any; a training's batches are timed by
themselves (`training.trial`). Networks have learned nothing then and would find anything, so as many people are
detected as the labels let expect.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa

from tps_pipeline import recipe as recipes
from tps_pipeline.cpu import cores, sharing_cores
from tps_pipeline.errors import TpsError
from tps_pipeline.estimates import stand_ins
from tps_pipeline.estimates.counts import Amount, Labels, amount
from tps_pipeline.estimates.neighbours import neighbours
from tps_pipeline.graph import Graph, Outcome, Run, Step, make
from tps_pipeline.graph.ingestion import take_in
from tps_pipeline.graph.work import work_of
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import CHECKPOINTS, SHARDS, SPLITS, VIDEOS, WEIGHTS, Output, dataset
from tps_pipeline.progress import progress
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.training.trial import Trial, Tried, trying

ACTIONS, EACH, TESTED = 3, 4, 5
"""Actions that videos are taken from, training videos of each, and test videos."""
SHARD, HELD_OUT = 4, 0.25
"""Videos of a shard at most, and the share of `val`: with the numbers above three shards, one, and two, of 2 or 3."""
SECONDS = 3.0
"""That each training's batches are timed for."""
MOST_FLOPS = 1e12
"""Of a batch that is computed where there is no GPU: some twenty seconds of a core. Greater ones are counted alone."""
TRAINED = 3
"""Forward passes that a step of training comes to."""
DETECTED = 2.0
"""People who are detected for one who is annotated: thresholds are low, and doubtful ones cost as much."""

UNIT = {dataset("person").key: "frames", dataset("single_stage").key: "frames", VIDEOS.key: "videos"}
"""What a training has a sample of, by the first output that it reads; else people."""


@dataclass(frozen=True)
class Cost:
    """What a step takes.

    Attributes:
        fixed: Seconds, once.
        shard: Seconds more for each shard.
        video: Seconds more for each video.
        bytes: Of what it makes: a video's, or all where it has no shards.
        shard_bytes: More for each shard.
        flops: Operations a video of the networks that it uses.
        tried: Where it trains a network, what a few steps told.
        computed: Whether a network in it was counted, not run: it is too large for this machine.
    """

    fixed: float = 0.0
    shard: float = 0.0
    video: float = 0.0
    bytes: float = 0.0
    shard_bytes: float = 0.0
    flops: float = 0.0
    tried: Tried | None = None
    computed: bool = False


@dataclass(frozen=True)
class Calibration:
    """What the steps of a recipe take here.

    Attributes:
        costs: By the step's name.
        failed: Steps that could not be tried, each with the reason.
        held_out: Videos of `val` that networks were measured on.
        density: Labelled frames of a video.
        cores: Of this machine, as many as may be used.
        gpu: Its name; None without one.
        speed: Floating-point operations a second of the network that was quickest.
    """

    costs: Mapping[str, Cost]
    failed: Mapping[str, str]
    held_out: int
    density: float
    cores: int
    gpu: str | None
    speed: float


def calibrate(run: Run, manifests: Mapping[str, pa.Table], labels: Labels) -> Calibration:
    """Try a run's steps on a few videos; nothing is written into its store.

    Args:
        run: The run.
        manifests: All shards that there are or will be, by name (`tables.SHARD`).
        labels: Labelled frames and people of each labelled training video (`counts.labelled`).

    Raises:
        TpsError: There are no labelled training videos.
    """
    chosen = sample(manifests, labels)
    settings = small(run.recipe, labels)
    with tempfile.TemporaryDirectory(prefix="tps-plan-") as folder:
        few = Run(settings, run.data, Lineage(Store(folder)), warn=lambda _: None)
        graph = graph_of(settings)
        _carry_weights(graph, run, few)
        take_in(few, only={str(row["path"]) for row in chosen})
        here = {shard: few.store.read(SHARDS.path(shard)) for shard in few.lineage.latest().shards(*SPLITS)}
        whole = amount(manifests, labels, ["train"])
        return _Trials(few, graph, here, labels, whole, Path(folder) / "work").all()


def sample(manifests: Mapping[str, pa.Table], labels: Labels) -> list[Mapping[str, Any]]:
    """Videos to try steps on (rows of `tables.SHARD`): some of several actions, and of the test videos."""
    by_action: dict[str, list[Mapping[str, Any]]] = {}
    tested: list[Mapping[str, Any]] = []
    for shard, manifest in sorted(manifests.items()):
        for row in manifest.to_pylist():
            if shard.startswith("test-"):
                tested.append(row)
            elif row["video_id"] in labels:
                by_action.setdefault(str(row["action"]), []).append(row)
    if not by_action:
        raise TpsError("there are no labelled training videos to estimate from; see `tps data validate`")
    most = max(map(len, by_action.values()))
    enough = sorted(action for action, rows in by_action.items() if len(rows) >= min(EACH, most))
    return [
        *(row for action in _spread(enough, ACTIONS) for row in _spread(by_action[action], EACH)),
        *_spread(tested, TESTED),
    ]


def small(settings: recipes.Recipe, labels: Labels) -> recipes.Recipe:
    """The recipe for a few videos: nothing is imported to start from, and as many people are found as will be."""
    import torch

    frames, people = (sum(column) for column in zip(*labels.values(), strict=True))
    values = _changed(settings.model_dump(mode="json"), gpu=torch.cuda.is_available())
    values["shards"] = {"videos_per_shard": SHARD, "val_fraction": HELD_OUT}
    most = min(values["two_stage"]["people_per_frame"], max(1, round(DETECTED * people / max(1, frames))))
    values["two_stage"] |= {"person_threshold": 0.0, "person_iou": 0.3, "people_per_frame": most}
    return recipes.Recipe.model_validate(values)


def _changed(values: Any, *, gpu: bool) -> Any:
    """Settings that begin with random weights, and train as a CPU can without a GPU."""
    if not isinstance(values, dict):
        return values
    changed: dict[str, Any] = {name: _changed(value, gpu=gpu) for name, value in values.items()}
    if changed.keys() & {"variant", "patch", "stem"}:
        changed["weights"] = None
    if not gpu and changed.get("precision") == "16-mixed":
        changed["precision"] = "bf16-mixed"
    return changed


def _spread(items: Sequence[Any], wanted: int) -> list[Any]:
    """So many of some things, evenly spaced."""
    count = min(wanted, len(items))
    return [items[at * len(items) // count] for at in range(count)]


def _carry_weights(graph: Graph, run: Run, few: Run) -> None:
    """Bring imported weights that steps use as they are."""
    latest = run.lineage.latest()
    for output in {read for step in graph.steps for read in step.reads if read.key.startswith(WEIGHTS)}:
        if record := latest.records.get(output.at()):
            with few.store.scratch() as scratch:
                shutil.copytree(run.store.local(record.path), scratch / "weights")
                written = few.store.keep(scratch / "weights", record.path)
            few.lineage.record(Work(output.key, None, (), (), ""), written, run_id=few.id)


@dataclass
class _Trials:
    """The steps of a run over a few videos, tried one after the other.

    Attributes:
        run: The run.
        graph: Its steps.
        shards: Its shards (`tables.SHARD`).
        labels: See `calibrate`.
        whole: All training videos.
        work: A folder to learn in.
        costs: By the step's name.
        failed: See `Calibration`.
        least: Seconds that a shard of so many videos took at least, by the step's name.
    """

    run: Run
    graph: Graph
    shards: Mapping[str, pa.Table]
    labels: Labels
    whole: Amount
    work: Path
    costs: dict[str, Cost] = field(default_factory=dict[str, Cost])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    least: dict[str, dict[int, float]] = field(default_factory=dict[str, dict[int, float]])

    def all(self) -> Calibration:
        """Try all steps."""
        import torch

        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        for step in progress(self.graph.steps, "trying each step"):
            among = 1 if gpu or not step.learner else self.graph.at_once(step)
            try:
                with sharing_cores(among), neighbours(min(among, cores()) - 1):
                    self.costs[step.name] = self._cost(step)
            except Exception as error:  # a method may be anybody's, and what needs what failed fails too
                self.failed[step.name] = next(iter(str(error).splitlines()), "") or type(error).__name__
        self._shared_out()
        here = amount(self.shards, self.labels, SPLITS)
        held_out = amount(self.shards, self.labels, ["val"]).videos
        return Calibration(self.costs, self.failed, held_out, here.frames / here.videos, cores(), gpu, self._speed())

    def _cost(self, step: Step) -> Cost:
        if step.learner:
            return self._learner(step)
        if not step.sharded:
            return self._whole(step)
        used = {key: self.costs[key] for key in (read.key for read in step.reads if read.key in self.costs)}
        networks = {key: cost.tried for key, cost in used.items() if key.startswith(CHECKPOINTS) and cost.tried}
        flops = sum(self._looks(key) * (each.flops or 0) / each.batch / TRAINED for key, each in networks.items())
        large = any(used[key].computed for key in networks)
        other = stand_ins.stand_in(step) if large else None
        cost = replace(self._sharded(stand_ins.sure(other or step)), flops=flops)
        return replace(cost, video=cost.video + flops / self._speed(), computed=True) if other else cost

    def _sharded(self, step: Step) -> Cost:
        """That of a step with shards: what the first takes longer is for what is loaded once.

        Each is made twice, and the least counts that shards of a size take: anything else at work only adds.
        """
        times: list[tuple[int, float]] = []
        sizes: list[tuple[int, float]] = []
        for shard in 2 * self.run.lineage.latest().shards(*self.graph.splits[step.name]):
            began = time.perf_counter()
            outcomes = make(self.run, step, [shard], force=True)
            times.append((self.shards[shard].num_rows, time.perf_counter() - began))
            sizes.append((self.shards[shard].num_rows, _made(outcomes)))
        if not times:  # no videos are of the splits that it is made for
            return Cost()
        least: dict[int, float] = {}
        for videos, seconds in times[1:]:
            least[videos] = min(seconds, least.get(videos, seconds))
        self.least[step.name] = least
        shard_bytes, video_bytes = line(sizes)
        return Cost(max(0.0, times[0][1] - least[times[0][0]]), bytes=video_bytes, shard_bytes=shard_bytes)

    def _shared_out(self) -> None:
        """What a shard takes, to be opened and recorded, is what the quickest step takes for one; the rest its videos.

        Shards of so few videos are nearly of one size, so what they take does not tell one from the other.
        """
        shard = min((seconds for least in self.least.values() for seconds in least.values()), default=0.0)
        for name, least in self.least.items():
            if cost := self.costs.get(name):
                video = fmean((seconds - shard) / videos for videos, seconds in least.items())
                self.costs[name] = replace(cost, shard=shard, video=cost.video + video)

    def _looks(self, key: str) -> float:
        """How often a network looks at a video when it is used: at all of it, at its frames, or at people in them."""
        learner, here = self.graph.step(key).learner, amount(self.shards, self.labels, SPLITS)
        assert learner
        reads, settings = learner.fit_reads[0].key, self.run.recipe.setting(learner.section)
        if isinstance(settings, recipes.VideoLevel | recipes.SwinAction):
            return 1.0
        people = DETECTED * here.people if UNIT.get(reads) is None else here.frames
        return people / here.videos

    def _whole(self, step: Step) -> Cost:
        """That of a step without shards."""
        began = time.perf_counter()
        outcomes = make(self.run, step)
        first = time.perf_counter() - began
        video = self._video(step, Trial(1.0))
        videos = amount(self.shards, self.labels, step.splits).videos
        return Cost(max(0.0, first - video * videos), 0.0, video, _made(outcomes))

    def _learner(self, step: Step) -> Cost:
        """That of a training without its batches: to read what it learns from."""
        assert step.learner
        unit = UNIT.get(step.learner.fit_reads[0].key, "people")
        here = amount(self.shards, self.labels, ["train"])
        times = getattr(self.whole, unit) / max(1.0, getattr(here, unit))
        import torch

        most = float("inf") if torch.cuda.is_available() else MOST_FLOPS
        with trying(Trial(times, SECONDS, most)) as trial:
            began = time.perf_counter()
            outcomes = make(self.run, step)
            ended = time.perf_counter()
        if trial.tried is None and not step.learner.alone:  # another entry's network is this one's
            return Cost()
        with trying(Trial(times)) as again:
            video = self._video(step, again)
        videos = amount(self.shards, self.labels, step.splits).videos
        first = (trial.began if trial.tried else ended) - began
        computed = trial.tried is not None and trial.tried.step is None
        fixed = max(0.0, first - video * videos)
        return Cost(fixed, 0.0, video, _made(outcomes), tried=trial.tried, computed=computed)

    def _video(self, step: Step, trial: Trial) -> float:
        """Seconds a video of a step without shards: what it takes longer with all shards than with few of them.

        Of a training until its first step would be taken, of all else to the end.
        """
        inputs = work_of(self.run, step, step.makes[0], None, self.run.lineage.latest()).inputs
        fewest = {}
        for shard in sorted(self.shards, key=lambda name: self.shards[name].num_rows, reverse=True):
            fewest[shard.partition("-")[0]] = shard
        times = []
        for shards in (set(fewest.values()), set(self.shards)):
            read = [i for i in inputs if i.partition is None or i.partition in shards]
            few = {shard: self.shards[shard] for shard in shards}
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
            began = time.perf_counter()
            step.make(replace(step.reader(self.run, tuple(read)), scratch=self.work, workspace=self.work))
            times.append((amount(few, self.labels, step.splits).videos, (trial.began or time.perf_counter()) - began))
        return line(times)[1]

    def _speed(self) -> float:
        """Operations a second of the network that was quickest; without any of a product of matrices, at half."""
        tried = [cost.tried for cost in self.costs.values() if cost.tried and cost.tried.step and cost.tried.flops]
        return max((each.flops / each.step for each in tried if each.flops and each.step), default=0.0) or _matrices()


def _made(outcomes: Mapping[Output, Outcome]) -> int:
    """Bytes of what was made."""
    return sum(record.bytes for outcome in outcomes.values() for record in outcome.made.values())


def line(times: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """What is always there (seconds, bytes), and what each video adds, of what some videos take; neither below nought.

    >>> line([(1, 3.0), (4, 9.0), (4, 9.0)])
    (1.0, 2.0)
    """
    fewest, most = min(times)[0], max(times)[0]
    low, high = (fmean(seconds for videos, seconds in times if videos == of) for of in (fewest, most))
    if fewest == most:
        return 0.0, low / fewest
    video = max(0.0, (high - low) / (most - fewest))
    return max(0.0, low - video * fewest), video


def _matrices(side: int = 1024) -> float:
    """Operations a second of a product of matrices, at half: what networks reach of it here."""
    import torch

    one = torch.ones(side, side)
    began = time.perf_counter()
    for _ in range(4):
        torch.mm(one, one)
    return 4 * side**3 / (time.perf_counter() - began)
