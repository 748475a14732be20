"""`tps lineage`: what came from what in a store, what is stale, and why two results differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_pipeline.cli.console import DEMO_STORE, Json, Root, example, print_json
from tps_pipeline.cli.plan import Data, planned

if TYPE_CHECKING:
    from tps_pipeline.lineage import Difference, Found, Lineage, Record

lineage = typer.Typer(no_args_is_help=True, help="What came from what in a store.")
"""`tps lineage`."""


@lineage.command("trace", epilog=example("lineage trace submission"))
def trace(
    output: Annotated[
        str | None, typer.Argument(help="An asset, or one of its shards: submission, frames/test-000.")
    ] = None,
    video: Annotated[str | None, typer.Option(help="Instead: everything there is on a video, by its id.")] = None,
    frame: Annotated[int | None, typer.Option(min=1, help="Of the video, one frame.")] = None,
    person: Annotated[int | None, typer.Option(min=0, help="Of the frame, one detected person.")] = None,
    store: Root = DEMO_STORE,
    as_json: Json = False,
) -> None:
    """Walk an output back to the videos, by version; or tell what is known of a video, a frame, a person."""
    from tps_pipeline.lineage import find

    if (output is None) == (video is None):
        raise typer.BadParameter("give either an output or --video")
    if (frame is not None and video is None) or (person is not None and frame is None):
        raise typer.BadParameter("--frame goes with --video, --person with --frame")
    records = _lineage(store)
    if video is not None:
        found = list(find(records, video, frame, person))
        print_json([_plain(f) for f in found]) if as_json else _print_found(found)
        return
    walked = list(records.trace(records.latest().key_of(str(output))))
    if as_json:
        print_json([{"depth": depth, **record.to_dict()} for depth, record in walked])
        return
    for depth, record in walked:
        typer.echo(f"{'  ' * depth}{_line(record)}")


@lineage.command("stale", epilog=example("lineage stale --store demo/store"))
def stale(
    recipe: Annotated[
        str | None, typer.Option(envvar="TPS_RECIPE", help="The recipe; the one of the store's last run without.")
    ] = None,
    data: Data = None,
    store: Root = DEMO_STORE,
    as_json: Json = False,
) -> None:
    """List what a run would make again, and why, exit 1 if anything; `tps recipe plan` says it asset by asset."""
    from tps_pipeline.errors import StoreError

    if not _lineage(store).latest().records:
        raise StoreError(f"{store} is no store, or nothing was ever made in it; name another (--store, TPS_STORE)")
    reasons = planned(store, recipe, data).due
    if as_json:
        print_json(reasons)
    else:
        for name, reason in reasons.items():
            typer.echo(f"{name}: {reason}")
        typer.echo("" if reasons else "everything is up to date", err=True, nl=not reasons)
    raise typer.Exit(1 if reasons else 0)


@lineage.command("diff", epilog=example("lineage diff leaderboard"))
def diff(
    output: Annotated[str, typer.Argument(help="An asset or a shard of one.")] = "submission",
    before: Annotated[
        str | None, typer.Option(help="A version of it, or how that begins; the one before --after.")
    ] = None,
    after: Annotated[str | None, typer.Option(help="The version to compare; the newest without.")] = None,
    other: Annotated[str | None, typer.Option("--with", help="Compare with the newest of this store.")] = None,
    store: Root = DEMO_STORE,
    as_json: Json = False,
) -> None:
    """Say why two versions of an output differ: inputs, recipe, code, packages; what merely follows comes last."""
    import dataclasses

    from tps_pipeline.graph.frozen import settings_in
    from tps_pipeline.lineage import differences

    records = _lineage(store)
    key = records.latest().key_of(output)
    sides = [records, _lineage(other)] if other else [records, records]
    if other is None and before is None:
        before = records.version_before(key, after)
    first, second = (
        [record for _, record in side.trace(key, version)] for side, version in zip(sides, (before, after), strict=True)
    )
    found = list(differences(first, second, settings_in(*(side.store for side in sides))))
    if as_json:
        print_json([dataclasses.asdict(difference) for difference in found])
        return
    typer.echo(f"{_line(first[0])}\n{_line(second[0])}", err=True)
    _print_differences(found)
    if not found:
        typer.echo("nothing differs", err=True)


@lineage.command("compact", epilog=example("lineage compact --store demo/store"))
def compact(store: Root = DEMO_STORE) -> None:
    """Merge the record files of a store into one."""
    typer.echo(f"{_lineage(store).compact()} files merged", err=True)


def _lineage(store: str) -> Lineage:
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    return Lineage(Store(store))


def _line(record: Record) -> str:
    made = f"{record.finished_at:%Y-%m-%d %H:%M:%S}"
    return f"{record.name}  {record.data_version[:12]}  code {record.code_version}  {made}"


def _print_differences(found: list[Difference]) -> None:
    """A line each; what is the same of several outputs once."""
    names: dict[tuple[str, ...], list[str]] = {}
    for d in found:
        said = d.note or f"{_side(d.kind, d.before)} -> {_side(d.kind, d.after)}"
        names.setdefault((d.kind, d.what and f"{d.what}: ", said), []).append(d.name)
    for (kind, what, said), (first, *more) in names.items():
        typer.echo(f"{kind:<8} {first}{f' and {len(more)} more' if more else ''}  {what}{said}")


def _side(kind: str, value: str | None) -> str:
    """A value as it is, a version or digest shortened."""
    return "none" if value is None else value if kind == "recipe" or "." in value else value[:12]


def _print_found(found: list[Found]) -> None:
    for f in found:
        overlap = "" if f.overlap is None else f"  overlap {f.overlap:.2f}"
        typer.echo(f"{_line(f.record)}  {f.rows.num_rows} row(s){overlap}")
        for network in f.networks:
            typer.echo(f"  by {network.path}  {network.data_version[:12]}")
        shown = f.rows.drop_columns([name for name in ("video_id", "state_scores") if name in f.rows.column_names])
        for row in shown.slice(0, 10).to_pylist():
            typer.echo("  " + ", ".join(f"{name} {_cell(value)}" for name, value in row.items() if value is not None))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(found: Found) -> dict[str, Any]:
    return {
        "output": found.record.name,
        "path": found.record.path,
        "data_version": found.record.data_version,
        "run_id": found.record.run_id,
        "networks": [vars(network) for network in found.networks],
        "inputs": [vars(i) for i in found.record.inputs],
        "overlap": found.overlap,
        "rows": found.rows.to_pylist(),
    }
