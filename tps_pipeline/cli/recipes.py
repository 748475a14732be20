"""`tps recipe`: check a recipe, show it with its defaults, and what a run with it would do."""

from __future__ import annotations

from typing import Annotated

import typer

from tps_pipeline.cli.console import Json, Root, print_json
from tps_pipeline.cli.plan import Data, planned, show

recipes = typer.Typer(no_args_is_help=True, help="Recipes: check and show.")


@recipes.command("check")
def recipe_check(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    store: Annotated[str | None, typer.Option(help="Make sure that the weights it names are in this store.")] = None,
) -> None:
    """Say whether a recipe is valid, and what is wrong if not."""
    from tps_pipeline import recipe
    from tps_pipeline.models import pretrained
    from tps_pipeline.store import Store

    checked = recipe.load(name)
    if store is not None:
        pretrained.check(checked.model_dump(mode="json"), Store(store))
    typer.echo(f"{name}: valid")


@recipes.command("show")
def recipe_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Print a recipe with every default filled in."""
    import yaml

    from tps_pipeline import recipe

    typer.echo(yaml.safe_dump(recipe.load(name).model_dump(mode="json"), sort_keys=False), nl=False)


@recipes.command("plan")
def recipe_plan(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    store: Root = "store",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say what a run would make, keep and train with this recipe, and why, asset by asset; nothing is computed."""
    plan = planned(store, name, data)
    print_json(plan.to_dict()) if as_json else show(plan)
