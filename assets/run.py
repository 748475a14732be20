"""`make run`: the whole graph once, on the same Dagster instance that the UI shows.

Assets over shards run as one Dagster run for each stretch of shards; what is up to date is skipped. Networks that learn
from detections are trained after the detectors have been over the training videos, all others before. Networks are
trained one after the other on a GPU; without one as many at a time as there are cores, each in a process of its own:
the threads of a network that is narrow enough for a CPU mostly wait for one another.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager

import dagster as dg
from rich.console import Console

from assets.definitions import NETWORKS, definitions_of
from assets.executors import GPU
from assets.resources import SPLITS, Pipeline
from assets.shards import SHARDS
from tps_pipeline.cpu import cores
from tps_pipeline.errors import TpsError

QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
IMPORTED_ONCE = ["assets.definitions", "tps_pipeline.detection.train", "tps_pipeline.video_action"]
"""Modules that processes that train side by side share; to import them anew takes each some five seconds."""

console = Console(stderr=True)


def main() -> int:
    """Run everything that is due and print the leaderboard.

    Returns:
        The exit code: 0, or 1 if a stage failed.
    """
    pipeline = Pipeline.from_environment()
    begin = time.perf_counter()
    try:
        with dg.DagsterInstance.get() as instance:
            materialize(pipeline, instance)
    except (TpsError, dg.DagsterError) as error:  # the latter: a blocking check has failed
        console.print(f"[red]failed:[/] {error}", highlight=False)
        return 1
    pipeline.lineage.compact()
    _print_results(pipeline, time.perf_counter() - begin)
    return 0


def materialize(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    """Materialize every asset that is due, stage by stage."""
    definitions = definitions_of(pipeline, dg.in_process_executor)
    graph, job = definitions.resolve_asset_graph(), definitions.resolve_implicit_global_asset_job_def()
    per_shard = [key for key in graph.toposorted_asset_keys if graph.get(key).partitions_def == SHARDS]
    trained = {key for key in graph.toposorted_asset_keys if key.path[0] == "checkpoints"}
    after_training = {key for root in trained for key in _descendants(graph, root)}
    before = [key for key in graph.toposorted_asset_keys if key not in after_training | trained]

    def run(title: str, keys: Sequence[dg.AssetKey], splits: Sequence[str] | None = None) -> None:
        begin = time.perf_counter()
        stretches = list(_stretches(pipeline.shards(*splits), instance)) if splits else [{}]
        for tags in stretches:
            job.execute_in_process(asset_selection=list(keys), instance=instance, tags=tags, run_config=QUIET)
        console.print(f"{title:<58} {time.perf_counter() - begin:7.1f} s", highlight=False)

    datasets = [key for key in before if key.path[0] == "datasets"]
    run("shards", [dg.AssetKey("shards")])
    run("videos, annotations, frames", [key for key in before if key in per_shard and key not in datasets], SPLITS)
    run("data sets of the detectors", datasets, ("train", "val"))
    run("vocabulary", [key for key in before if key not in per_shard and key.path[0] != "shards"])
    learners = trained & after_training  # from what other networks make of the training videos
    for networks in (trained - learners, learners):
        learned_from = [key for key in per_shard if key in after_training and networks & _descendants(graph, key)]
        if learned_from:
            run("detections to train on", learned_from, ("train", "val"))
        _train_side_by_side(pipeline, instance, networks)
        if networks:
            run("checkpoints", [key for key in graph.toposorted_asset_keys if key in networks])
    for keys in _stages(graph, after_training - trained, per_shard):
        groups = ", ".join(dict.fromkeys(graph.get(key).group_name for key in keys))
        run(groups, keys, pipeline.recipe.predict_splits if keys[0] in per_shard else None)


def _train_side_by_side(pipeline: Pipeline, instance: dg.DagsterInstance, checkpoints: Set[dg.AssetKey]) -> None:
    """Make checkpoints that are due in several processes, where that is faster than one after the other."""
    import torch

    latest, stale = pipeline.lineage.latest(), {name for name, _ in pipeline.lineage.stale(pipeline.recipe)}
    due = {key for key in checkpoints if (name := "/".join(key.path)) in stale or (name, None) not in latest.records}
    at_once = min(len(due), cores())
    if torch.cuda.is_available() or at_once < 2:
        return
    console.print(f"training {len(due)} networks, {at_once} at a time", highlight=False)
    begin = time.perf_counter()
    if not any(pool.name == GPU and not pool.from_default for pool in instance.event_log_storage.get_pool_limits()):
        instance.event_log_storage.set_concurrency_slots(GPU, at_once)
    job = dg.build_reconstructable_job("assets.run", "networks_job", (*pipeline.model_dump().values(),))
    start = {"forkserver": {"preload_modules": IMPORTED_ONCE}}
    config = QUIET | {"execution": {"config": {"max_concurrent": at_once, "start_method": start}}}
    with _threads(cores() // at_once):
        dg.execute_job(job, instance, run_config=config, asset_selection=list(due), raise_on_error=True)
    console.print(f"{'networks':<58} {time.perf_counter() - begin:7.1f} s", highlight=False)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that start meanwhile give their networks so many threads (see `prepare_cpu`)."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def networks_job(data: str, recipe_name: str, store_root: str) -> dg.JobDefinition:
    """The job that trains a pipeline's networks in processes, which call this function, too."""
    pipeline = Pipeline(data=data, recipe_name=recipe_name, store_root=store_root)
    return definitions_of(pipeline, dg.multiprocess_executor).resolve_job_def(NETWORKS)


def _stretches(shards: Sequence[str], instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Run tags that cover the shards: a run takes partitions that are neighbours in the order they were added."""
    order = list(instance.get_dynamic_partitions(str(SHARDS.name)))
    wanted = sorted(order.index(shard) for shard in shards)
    start = None
    for here, following in zip(wanted, [*wanted[1:], None], strict=True):
        start = here if start is None else start
        if following != here + 1:
            yield {
                "dagster/asset_partition_range_start": order[start],
                "dagster/asset_partition_range_end": order[here],
            }
            start = None


def _stages(
    graph: "dg.BaseAssetGraph", keys: Set[dg.AssetKey], per_shard: Sequence[dg.AssetKey]
) -> list[list[dg.AssetKey]]:
    """Some assets in the order of their making; a stage is over shards or without, as one run is."""
    stage: dict[dg.AssetKey, int] = {}
    for key in graph.toposorted_asset_keys:
        if key in keys:
            whole = key not in per_shard
            parents = graph.get(key).parent_keys & stage.keys()
            stage[key] = max([int(whole), *(stage[p] + ((p not in per_shard) != whole) for p in parents)])
    return [[key for key in stage if stage[key] == number] for number in sorted(set(stage.values()))]


def _descendants(graph: "dg.BaseAssetGraph", key: dg.AssetKey) -> set[dg.AssetKey]:
    found: set[dg.AssetKey] = set()
    todo = [key]
    while todo:
        for child in graph.get(todo.pop()).child_keys:
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _print_results(pipeline: Pipeline, seconds: float) -> None:
    from tps_pipeline.report.terminal import leaderboard

    out = Console()
    out.print(leaderboard(pipeline.read("leaderboard")))
    for name, path in (("submission", "submission/submission.zip"), ("report", "report.html")):
        if pipeline.store.exists(path):
            out.print(f"{name}: {pipeline.store.full(path)}", soft_wrap=True, highlight=False)
    out.print(
        f"UI: make dev DATA={pipeline.data} RECIPE={pipeline.recipe_name} STORE={pipeline.store_root}", soft_wrap=True
    )
    console.print(f"{seconds:.0f} s in all", highlight=False)


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    sys.exit(main())
