"""`tps store`: which data folders and videos a store has, and what is read though a check has failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tps_pipeline.cli.console import DEMO_STORE, Root, example

if TYPE_CHECKING:
    from tps_pipeline.lineage import Lineage

store = typer.Typer(no_args_is_help=True, help="A store: what is in it, taken out, or allowed.")
"""`tps store`."""

Because = Annotated[str, typer.Option("--because", help="Why, for its lineage.")]
"""The option `--because` of commands that change a store."""


@store.command("accept", epilog=example("store accept demo/data"))
def accept(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder with videos.")],
    store: Root = DEMO_STORE,
) -> None:
    """Let the videos of another data folder in, beside those that the store has; a run takes them in."""
    from tps_pipeline.graph import ingestion

    ingestion.accept(_lineage(store), folder)
    typer.echo(f"{folder} is a data folder of {store} now: make run DATA={folder} STORE={store}", err=True)


@store.command("remove", epilog=example("store remove test-000 --because 'not ours'"))
def remove(
    name: Annotated[str, typer.Argument(help="A shard, or a video's id.")],
    because: Because = "",
    undo: Annotated[bool, typer.Option("--undo", help="Put in again what was taken out.")] = False,
    store: Root = DEMO_STORE,
) -> None:
    """Take a shard or a video out for good; the next run makes again what was made from it."""
    from tps_pipeline.graph import ingestion

    if undo:
        ingestion.put_back(_lineage(store), name)
        typer.echo(f"the next run takes {name} in again, if it is in the data folder", err=True)
        return
    shard = ingestion.remove(_lineage(store), name, because)
    typer.echo(f"{name} is out of {shard}: the next run makes again what was made from it", err=True)


@store.command("allow", epilog=example("store allow frames/test-000 --because 'one frame less is fine'"))
def allow(
    output: Annotated[str, typer.Argument(help="What has failed a check, as the run names it: frames/test-000.")],
    because: Because = "",
    store: Root = DEMO_STORE,
) -> None:
    """Let an output be read as it is though a check has failed; another version of it is judged anew."""
    from tps_pipeline.graph.checking import allow

    for failed in allow(_lineage(store), output, because):
        typer.echo(f"allowed all the same: {failed}", err=True)


@store.command("check", epilog=example("store check"))
def check(
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete what is damaged: the next run makes it again.")
    ] = False,
    store: Root = DEMO_STORE,
) -> None:
    """Hash everything, and name what is missing or not what was recorded; exit 1 if anything is."""
    from concurrent.futures import ThreadPoolExecutor

    from tps_pipeline.errors import TpsError
    from tps_pipeline.graph import frozen
    from tps_pipeline.outputs import FOLDERS
    from tps_pipeline.training.checkpoint import LOGS

    lineage = _lineage(store)
    latest = lineage.latest().records.values()
    records = {record.path: record for record in latest if record.asset != FOLDERS.key}  # whose version is the folder's
    recipes = {frozen.path_of(digest): digest for digest in frozen.names(lineage.store)}

    def problem(path: str) -> str | None:
        try:
            if path in records:
                lineage.store.verify(path, records[path].data_version, unversioned=LOGS)
            else:
                frozen.intact(lineage.store, recipes[path])
        except TpsError as error:
            return str(error)
        return None

    paths = [*records, *recipes]
    with ThreadPoolExecutor() as hashing:
        wrong = {path: said for path, said in zip(paths, hashing.map(problem, paths), strict=True) if said}
    for path, said in wrong.items():
        typer.echo(f"{records[path].name if path in records else 'a recipe'}: {said}")
        if remove and lineage.store.exists(path):
            lineage.store.fs.rm(lineage.store.full(path), recursive=True)
    done = " and deleted, for the next run to make them again" if remove and wrong else ""
    counted = f"{len(records)} outputs and {len(recipes)} recipes" if recipes else f"{len(records)} outputs"
    typer.echo(f"{counted} checked, {len(wrong)} damaged or missing{done}", err=True)
    raise typer.Exit(1 if wrong else 0)


def _lineage(store: str) -> Lineage:
    from tps_pipeline.errors import StoreError
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    lineage = Lineage(Store(store))
    if not lineage.records():
        raise StoreError(f"{store} is no store, or nothing was ever made in it; name another (--store, TPS_STORE)")
    return lineage
