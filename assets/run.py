"""`make run`: the whole graph once, on the same Dagster instance that the UI shows, with the recipe as it is now.

Assets over shards run as one Dagster run for each stretch of shards; what is up to date is skipped. Networks are
trained one after the other on a GPU; without one as many at a time as there are cores, each in a process of its own:
the threads of a network that is narrow enough for a CPU mostly wait for one another.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from multiprocessing import forkserver

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from rich.console import Console
from rich.markup import escape

from assets.console import SAID_ELSEWHERE
from assets.dead_runs import PROCESS
from assets.definitions import definitions_of
from assets.due import Due, ingestion_is_due
from assets.executors import GPU
from assets.history import kept_open
from assets.in_processes import wanted
from assets.progress import shown, trainings_of
from assets.resources import RECIPE, Pipeline
from assets.steps import SHARDS, key_of
from tps_pipeline.cpu import cores, threads_that_sleep
from tps_pipeline.device import has_gpu
from tps_pipeline.errors import TpsError, disk_failure
from tps_pipeline.graph import Graph, Step, ingestion
from tps_pipeline.mounts import of_several_machines
from tps_pipeline.outputs import ACTION_ACCURACY, CHECKS, LEADERBOARD, REPORT, SUBMISSION, UNREADABLE
from tps_pipeline.stages import graph_of

QUIET = {"loggers": {"console": {"config": SAID_ELSEWHERE}}}
PRELOADED = [
    "dagster._core.executor.multiprocess",
    "tps_pipeline.forked",
    "assets.quiet",
    "assets.definitions",
    "tps_pipeline.detection.train",
    "tps_pipeline.actions.swin",
    "assets.in_processes",
    "assets.settled",
]
"""Modules that processes that train side by side share; to import them anew takes each some five seconds. The first
is what Dagster would put there."""

console = Console(stderr=True, force_terminal=Console(stderr=True).is_terminal, emoji=False)
"""A terminal, if it is one at the start: others are told later that theirs is none (`progress.shown`)."""


def main() -> int:
    """Say what is due, run it and print the leaderboard.

    Returns:
        The exit code: 0, 1 if a stage failed, 130 if it was stopped by hand, or 143 if by SIGTERM.
    """
    begin = time.perf_counter()
    pipeline = Pipeline.from_environment()
    with _interrupts() as interrupted:
        try:
            ingestion.recognised(pipeline.run())  # before anything is written
            if said := _of_several_machines(pipeline):
                console.print(said, highlight=False, markup=False, soft_wrap=True)
            pipeline = pipeline.freeze()
            with dg.DagsterInstance.get() as instance, kept_open(instance):
                before = {record.record for record in pipeline.lineage.records()}
                materialize(pipeline, instance, interrupted)
                after = [record for record in pipeline.lineage.records() if record.record not in before]
        except BaseException as error:
            came = interrupted() or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
            if came:  # what it ended with may be anything
                console.print("stopped; what was finished stays: run it again to go on", highlight=False)
                return 128 + came
            disk = disk_failure(error, pipeline.store_root)  # Dagster's own records may be what has no room
            if not disk and not isinstance(error, (TpsError, dg.DagsterError)):
                raise
            failed = isinstance(error, DagsterAssetCheckFailedError)
            said = disk or str(error)
            for line in pipeline.lineage.latest().refusals() if failed else [said]:
                console.print(f"[red]failed:[/] {escape(line)}", highlight=False, soft_wrap=True)
            return 1
    made = sum(not record.asset.startswith(CHECKS) for record in after)
    pipeline.lineage.compact()
    _print_results(pipeline, made, time.perf_counter() - begin)
    return 0


def _of_several_machines(pipeline: Pipeline) -> str | None:
    """What to say of a store that other machines may reach, too."""
    kind = of_several_machines(pipeline.store_root) if pipeline.store.is_local else None
    if not kind:  # an object store's locks hold among machines
        return None
    return (
        f"{pipeline.store_root} is on {kind}: run from one machine at a time; its locks may hold on each machine alone"
    )


def materialize(
    pipeline: Pipeline, instance: dg.DagsterInstance, stopped: Callable[[], int | None] = lambda: None
) -> None:
    """Materialize every asset that is due, stage by stage, and print a line for each stage.

    Args:
        pipeline: What is made of what.
        instance: Whose runs they are.
        stopped: Tells of a signal to stop. One that comes while Dagster ends a run is dropped by it.

    Raises:
        KeyboardInterrupt: Such a signal has come.
    """
    pipeline = pipeline.freeze()
    graph = graph_of(pipeline.recipe)
    making = _Making(pipeline, instance, graph)
    if cores() > 1 and making.several_untrained():
        start_processes(pipeline)  # beside what comes first: it takes them seconds to import what trainings need
    with _stage("shards", stopped):
        if ingestion_is_due(pipeline.run(), instance):
            making.run([dg.AssetKey("shards")])
    due = making.due()
    planned = due.plan()
    console.print(planned.summary(), highlight=False, markup=False, soft_wrap=True)
    if faster_side_by_side(planned.networks()):
        start_processes(pipeline)
    for number, stage in enumerate(graph.stages, 1):
        steps, shards = due.of(stage)
        along: list[Step] = []
        if making.side_by_side(steps):
            along, shards = due.leading_to_training(stage, graph.stages[number:])
        elif steps and not steps[0].learner:
            along = due.along(steps, shards, graph.stages[number:])
        title = f"{_title(stage)}, with {_title(along)}" if along else _title(stage)
        with _stage(title, stopped):
            if steps:
                making.make(steps, along, shards)
                due = making.due()


@dataclass(frozen=True)
class _Making:
    """One pipeline's assets being materialized, on an instance."""

    pipeline: Pipeline
    instance: dg.DagsterInstance
    graph: Graph

    @cached_property
    def job(self) -> dg.JobDefinition:
        """All assets."""
        return definitions_of(self.pipeline, dg.in_process_executor).resolve_implicit_global_asset_job_def()

    def several_untrained(self) -> bool:
        """Whether several networks were never trained: known at once, before anything is planned."""
        known = self.pipeline.lineage.latest().records
        return sum((step.makes[0].key, None) not in known for step in self.graph.steps if step.learner) > 1

    def due(self) -> Due:
        """What is left to do now."""
        return Due(self.pipeline.run(), self.graph, self.instance)

    @property
    def tags(self) -> dict[str, str]:
        """What Dagster's runs say of the recipe and of this process."""
        return {RECIPE: self.pipeline.recipe_digest, PROCESS: str(os.getpid())}

    def make(self, steps: Sequence[Step], along: Sequence[Step], shards: Sequence[str]) -> None:
        """Make what some steps of a stage and some of later ones make; those over shards some shards."""
        if steps[0].learner:
            self.train(steps, along, shards)
        else:
            self.run(_keys([*steps, *along]), shards)

    def run(self, keys: Sequence[dg.AssetKey], shards: Sequence[str] = ()) -> None:
        """Materialize some assets here, those over shards for some of them."""
        for stretch in _stretches(shards, self.instance) if shards else [{}]:
            self.job.execute_in_process(
                asset_selection=list(keys), instance=self.instance, tags=self.tags | stretch, run_config=QUIET
            )

    def networks(self, stage: Sequence[Step]) -> list[Step]:
        """The networks among some trainings that are due; of those that share one the first."""
        planned = self.due().plan(stage)
        names = {step.learner.name: step for step in stage if step.learner}
        shared = [*planned.networks(), *planned.networks(sure=False)]
        return [names[name] for each in shared for name in [name for name in each if name in names][:1]]

    def side_by_side(self, stage: Sequence[Step]) -> bool:
        """Whether a stage is trainings that are faster side by side than one by one."""
        return bool(stage) and stage[0].learner is not None and faster_side_by_side(self.networks(stage))

    def train(self, stage: Sequence[Step], along: Sequence[Step], shards: Sequence[str]) -> None:
        """Train networks that are due: side by side where that is faster, else one by one.

        Of those that share one the first is trained; the others find it made. What leads to later networks is made
        beside them, as soon as what it needs is there, if it is of shards that one run takes.
        """
        due, stretches = self.networks(stage), [*_stretches(shards, self.instance)]
        along, tags = (along, dict(*stretches)) if len(stretches) < 2 else ([], {})
        with shown(trainings_of(self.pipeline.run(), [*due, *along]), console):
            if self.side_by_side(stage):
                self._in_processes([*due, *along], tags)
                stage, _ = self.due().of(stage)
            if stage:
                self.run(_keys(stage))

    def _in_processes(self, steps: Sequence[Step], tags: dict[str, str]) -> None:
        """Materialize some steps, each in a process of its own, as many at once as there are cores."""
        pools = self.instance.event_log_storage.get_pool_limits()
        if not any(pool.name == GPU and not pool.from_default for pool in pools):
            self.instance.event_log_storage.set_concurrency_slots(GPU, cores())
        job = dg.build_reconstructable_job("assets.in_processes", "job_of", (*self.pipeline.model_dump().values(),))
        start = {"forkserver": {"preload_modules": PRELOADED}}
        config = QUIET | {"execution": {"config": {"max_concurrent": cores(), "start_method": start}}}
        with threads_that_sleep():
            dg.execute_job(
                job, self.instance, run_config=config, asset_selection=_keys(steps), tags=self.tags | tags,
                raise_on_error=True,
            )  # fmt: skip


def faster_side_by_side(networks: Sequence[object]) -> bool:
    """Whether so many trainings are faster side by side than one by one."""
    return len(networks) > 1 and cores() > 1 and not has_gpu()


def start_processes(pipeline: Pipeline) -> None:
    """Start the process that those of a pipeline's trainings are forked from, if none is there; wait for nothing."""
    with threads_that_sleep(), wanted(pipeline):
        multiprocessing.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()


def _keys(steps: Sequence[Step]) -> list[dg.AssetKey]:
    return [key_of(output) for step in steps for output in step.makes]


@contextmanager
def _interrupts() -> Iterator[Callable[[], int | None]]:
    """Tells which signal to stop has come meanwhile (Ctrl-C's or SIGTERM), whoever has handled it."""
    read, write = socket.socketpair()
    for end in (read, write):
        end.setblocking(False)
    before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)

    received = bytearray()

    def came() -> int | None:
        with suppress(BlockingIOError):
            received.extend(read.recv(4096))
        return next((number for number in (signal.SIGINT, signal.SIGTERM) if number in received), None)

    with read, write:
        try:
            yield came
        finally:
            signal.set_wakeup_fd(before)


@contextmanager
def _stage(title: str, stopped: Callable[[], int | None]) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if stopped():
        raise KeyboardInterrupt
    console.print(f"{escape(title):<58} [dim]{time.perf_counter() - begin:7.1f} s[/]", highlight=False, soft_wrap=True)


def _title(stage: Sequence[Step]) -> str:
    """The groups of some steps; of few steps their names."""
    if len(stage) <= 3:
        return ", ".join(step.name for step in stage)
    return ", ".join(dict.fromkeys(step.group for step in stage))


def _stretches(shards: Sequence[str], instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Run tags that cover the shards: a run takes partitions that are neighbours in the order they were added."""
    order = list(instance.get_dynamic_partitions(str(SHARDS.name)))
    wanted = sorted(order.index(shard) for shard in shards)
    start = None
    for here, following in zip_longest(wanted, wanted[1:]):
        start = here if start is None else start
        if following != here + 1:
            yield {
                "dagster/asset_partition_range_start": order[start],
                "dagster/asset_partition_range_end": order[here],
            }
            start = None


def _print_results(pipeline: Pipeline, made: int, seconds: float) -> None:
    from tps_pipeline.report.terminal import action_members, leaderboard, not_read

    out = Console(emoji=False)
    out.print(leaderboard(pipeline.read(LEADERBOARD)))
    for line in action_members(pipeline.read(ACTION_ACCURACY)):
        out.print(line, soft_wrap=True, highlight=False)
    out.print()
    store, command = pipeline.store, f"make dev DATA={pipeline.data} RECIPE={pipeline.recipe_name}"
    for what, path, why in (
        ("look first at", REPORT.path(), " (in a browser: scores, curves, the worst and best videos)"),
        ("to hand in", f"{SUBMISSION.path()}/submission.zip", ""),
    ):
        if store.exists(path):
            out.print(f"{what + ':':<15}{escape(store.full(path))}{why}", soft_wrap=True, highlight=False)
    out.print(f"{'every step:':<15}{escape(command)} STORE={pipeline.store_root}", soft_wrap=True, highlight=False)
    for line in not_read(pipeline.read(UNREADABLE)):
        out.print(f"[yellow]{escape(line)}[/]", soft_wrap=True, highlight=False)
    console.print(f"{made} outputs made; {seconds:.0f} s in all", highlight=False)


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    sys.exit(main())
