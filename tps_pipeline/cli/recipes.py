"""`tps recipe`: check a recipe, show it with its defaults, and what a run with it would do."""

from __future__ import annotations

from typing import Annotated

import typer

from tps_pipeline.cli.console import DEMO_STORE, Json, Root, example, print_json
from tps_pipeline.cli.plan import Data, foreseen, show, show_cost

recipes = typer.Typer(no_args_is_help=True, help="Recipes: check and show.")
"""`tps recipe`."""


@recipes.command("check", epilog=example("recipe check demo"))
def recipe_check(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    store: Root = DEMO_STORE,
) -> None:
    """Say whether a recipe is valid, what is wrong if not, and whether the weights that it names are in the store."""
    from tps_pipeline import recipe
    from tps_pipeline.learners import pretrained
    from tps_pipeline.stages import graph_of
    from tps_pipeline.store import Store

    checked = recipe.load(name)
    graph_of(checked)
    typer.echo(f"{name}: valid")
    pretrained.check(checked.model_dump(mode="json"), Store(store))


@recipes.command("show", epilog=example("recipe show paper"))
def recipe_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Print a recipe with every default filled in."""
    import yaml

    from tps_pipeline import recipe

    typer.echo(yaml.safe_dump(recipe.load(name).model_dump(mode="json"), sort_keys=False), nl=False)


@recipes.command("plan", epilog=example("recipe plan demo --cost"))
def recipe_plan(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    store: Root = DEMO_STORE,
    data: Data = None,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="Also estimate time, disk and a GPU's memory: at first in minutes, from a few training steps.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a run would make, keep and train with this recipe, and why, asset by asset; nothing is made."""
    plan, estimate = foreseen(store, name, data, cost=cost)
    if as_json:
        print_json(plan.to_dict() | ({"cost": estimate.to_dict()} if estimate else {}))
        return
    show(plan)
    if estimate:
        show_cost(estimate)
