"""`tps recipe plan`: what a run would make, keep and train, and why, and what that takes, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tps_pipeline.cli.console import DEMO_DATA, DEMO_STORE

if TYPE_CHECKING:
    from tps_pipeline.estimates import Estimate, Row
    from tps_pipeline.graph.plan import Plan, Planned

Data = Annotated[
    Path | None,
    typer.Option(
        envvar="TPS_DATA",
        help="The data folder, where new, changed and missing videos are looked for; without, the last run's.",
    ),
]
"""The option `--data` of commands that look at what is new in a data folder."""

SHOWN = 3
"""New videos, and reasons of one output, that are named."""


def planned(store: str, recipe: str | None, data: Path | None) -> Plan:
    """What a run would do with a store; see `foreseen`."""
    return foreseen(store, recipe, data)[0]


def foreseen(store: str, recipe: str | None, data: Path | None, *, cost: bool = False) -> tuple[Plan, Estimate | None]:
    """What a run would do with a store, and what it takes if that is asked and there is anything to do.

    Args:
        store: Its root.
        recipe: The recipe's name or file; None for that of the last run, as it is now, or as it was if it is gone.
        data: The data folder; None is the one that the store knows, and where that is gone leaves videos out.
        cost: Whether to estimate what it takes.

    Raises:
        StoreError: No recipe is named, and the store does not know of a run; or it was filled from another folder.
        DataError: What it takes is asked for, and there is no data folder.
    """
    from tps_pipeline import recipe as recipes
    from tps_pipeline.errors import DataError
    from tps_pipeline.graph import Run, frozen
    from tps_pipeline.graph.ingestion import look, place_of
    from tps_pipeline.graph.plan import plan
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.stages import graph_of
    from tps_pipeline.store import Store

    records = Lineage(Store(store))
    last = frozen.last_name(records.store)
    if recipe is None and last and recipes.path_of(last).is_file():
        recipe = last
    settings = recipes.load(recipe) if recipe else recipes.parse(frozen.last(records.store), Path(store, frozen.FOLDER))
    data = data or _known(place_of(records), store)
    run = Run(settings, data or Path(), records, store_name=store)
    graph, found = graph_of(settings), look(run) if data else None
    if not found and cost:
        raise DataError("to estimate what a run takes a few videos are tried: name the data folder (--data)")
    if not found:
        return plan(run, graph), None
    would = plan(run, graph, arrivals=found.changed, missing=[str(problem) for problem in found.missing])
    if not cost or not would.due:
        return would, None
    from tps_pipeline.estimates import estimated

    return would, estimated(run, graph, would, found.shards)


def _known(place: str | None, store: str) -> Path | None:
    """The data folder of a store, if it is there."""
    if place is None and store == DEMO_STORE and DEMO_DATA.is_dir():
        return DEMO_DATA
    if place and not Path(place).is_dir():
        typer.echo(f"its data folder, {place}, is not there: videos are left out; or name it (--data)", err=True)
        return None
    return Path(place) if place else None


def show(plan: Plan) -> None:
    """Print a plan for people: what is due asset by asset, then the sum."""
    if plan.arrivals:
        more = f" and {len(plan.arrivals) - SHOWN} more" if len(plan.arrivals) > SHOWN else ""
        named = ", ".join(plan.arrivals[:SHOWN])
        typer.echo(f"taken in first, new ones into shards of their own: {named}{more}")
    for problem in plan.missing:
        typer.echo(problem)
    if not plan.shards:
        typer.echo("no shards yet: what is made shard by shard is not counted")
    due = [each for each in plan.outputs if each.due]
    width = max((len(each.output.key) for each in due), default=0)
    for e in due:
        counts = f"make {len(e.make):>3}  follow {len(e.follow):>3}  keep {len(e.keep):>3}"
        typer.echo(f"{e.output.key:<{width}}  {counts}  {_why(e)}")
    for names in plan.networks(sure=False):
        typer.echo(f"{' = '.join(names)}: trained again if what it learned from turns out other than it was")
    typer.echo(plan.summary())


def _why(planned: Planned) -> str:
    """The reasons, each once, without the shard that it is of."""
    reasons = [why.replace(str(shard), "*") for shard, why in (planned.make | planned.follow).items()]
    distinct = list(dict.fromkeys(reasons))
    return "; ".join(distinct[:SHOWN]) + ("; ..." if len(distinct) > SHOWN else "")


def show_cost(estimate: Estimate) -> None:
    """Print for people what a plan takes: step by step, then all together."""
    from tps_pipeline.estimates import GPU_SPEED, GPUS, TOGETHER

    typer.echo(f"\n{'':<36} {'time':>9} {'disk':>9} {'GPU':>9}")
    for row in estimate.rows.values():
        typer.echo(f"{row.step:<36} {_cost(row)}")
    here = estimate.calibration
    machine = f"{here.cores} core{'s' * (here.cores > 1)} and {here.gpu or 'no GPU'}"
    typer.echo(f"in all {_time(estimate.seconds)} on this machine ({machine}), {_bytes(estimate.bytes)} on disk")
    times = ", ".join(f"{number}: {_time(estimate.on_gpus(number))}" for number in GPUS)
    how = "measured" if here.gpu else f"counted, at {GPU_SPEED / 1e12:.0f} TFLOP/s"
    typer.echo(
        f"with GPUs, {times} ({how}; of several each is taken for {TOGETHER:.0%} of one; nothing of it is tried)"
    )
    if any(not row.tried for row in estimate.rows.values()):
        typer.echo("~: a network in it is too large to be tried here, and its operations are counted")
    typer.echo("GPU: memory of a training, at least" + ("" if here.gpu else "; counted, not measured"))


def _cost(row: Row) -> str:
    if row.fails:
        return f"{'?':>9} {row.fails}"
    time = ("" if row.tried else "~") + _time(row.seconds)
    memory = _bytes(row.gpu_bytes) if row.gpu_bytes else "?" if row.trains else ""
    return f"{time:>9} {_bytes(row.bytes):>9} {memory:>9}".rstrip()


def _time(seconds: float) -> str:
    """In the largest unit of which there is more than one and a half."""
    units = (("d", 86400), ("h", 3600), ("min", 60))
    return next((f"{seconds / size:.1f} {unit}" for unit, size in units if seconds >= 1.5 * size), f"{seconds:.1f} s")


def _bytes(count: float) -> str:
    return next(
        (f"{count / size:.1f} {unit}" for unit, size in (("GB", 1e9), ("MB", 1e6)) if count >= size),
        f"{count / 1e3:.0f} kB",
    )
