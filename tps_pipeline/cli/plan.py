"""`tps recipe plan`: what a run would make, keep and train, and why, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tps_pipeline.cli.console import DEMO_DATA, DEMO_STORE

if TYPE_CHECKING:
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
    """What a run would do with a store.

    Args:
        store: Its root.
        recipe: The recipe's name or file; None for that of the last run, as it is now, or as it was if it is gone.
        data: The data folder; None is the one that the store knows, and where that is gone leaves videos out.

    Raises:
        StoreError: No recipe is named, and the store does not know of a run; or it was filled from another folder.
    """
    from tps_pipeline import recipe as recipes
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
    found = look(run) if data else None
    if not found:
        return plan(run, graph_of(settings))
    return plan(run, graph_of(settings), arrivals=found.changed, missing=[str(problem) for problem in found.missing])


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
