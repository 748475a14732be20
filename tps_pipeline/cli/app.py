"""The command line, `tps`: results on stdout, everything else on stderr; exit 0, 1 for a failure, 2 for wrong usage.

A topic has a module. Heavy libraries are imported by the command that needs them, so that `tps --help` answers at once.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tps_pipeline import __version__
from tps_pipeline.cli.console import example
from tps_pipeline.cli.data import data, datasets, frames
from tps_pipeline.cli.lineage import lineage
from tps_pipeline.cli.predict import bundle, predict
from tps_pipeline.cli.recipes import recipes
from tps_pipeline.cli.results import evaluate, export, overlay
from tps_pipeline.cli.store import store
from tps_pipeline.cli.weights import weights
from tps_pipeline.errors import TpsError


class _Commands(TyperGroup):
    """Prints this package's errors as one message and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TpsError as error:
            typer.echo(f"tps: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
"""`tps`."""

app.add_typer(data, name="data")
app.add_typer(frames, name="frames")
app.add_typer(datasets, name="datasets")
app.add_typer(recipes, name="recipe")
app.add_typer(weights, name="weights")
app.add_typer(lineage, name="lineage")
app.add_typer(store, name="store")
app.command(epilog=example("predict me.mp4 --save json,mp4"))(predict)
app.command(epilog=example("bundle demo/store me.tps --method voting"))(bundle)
app.command(epilog=example("evaluate --gt demo/data/gt --pred demo/store/submission"))(evaluate)
app.command(epilog=example("overlay BpR1RcpCKAo_000046_000056 --method voting"))(overlay)
app.command(epilog=example("export demo/store --to cvat --split test"))(export)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tps {__version__}")
        raise typer.Exit


@app.callback()
def tps(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Part-level action parsing of video."""
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
