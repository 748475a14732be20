"""`tps predict`: videos that are in no store, by a store's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_pipeline.cli.console import DEMO_STORE, Json, Root, print_json, print_table
from tps_pipeline.errors import TpsError

if TYPE_CHECKING:
    from tps_pipeline.predict.parser import Parser
    from tps_pipeline.predict.results import Result
    from tps_pipeline.predict.saving import Kind


def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Videos: files, folders, patterns, a camera's number.")
    ],
    store: Root = DEMO_STORE,
    method: Annotated[
        str | None, typer.Option(help="Whose states: a method, voting or by_category; what the recipe submits without.")
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Look at every so many frames; as the recipe says without.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder for VIDEO_METHOD.json, ...")] = Path(
        "predictions"
    ),
    save: Annotated[str, typer.Option(help="What to write, with commas: json, csv, parquet, mp4.")] = "json,mp4",
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave people with a lower score out of JSON and MP4.")
    ] = 0.3,
    allow_network: Annotated[bool, typer.Option("--allow-network", help="Open network addresses.")] = False,
    as_json: Json = False,
) -> None:
    """Find people, parts, states and the action in videos that are in no store; exit 1 if one of them failed.

    The store is only read. What it finds is what `make run` would find, to the last digit.
    """
    from tps_pipeline.predict.parser import load
    from tps_pipeline.predict.sources import find

    kinds = _kinds(save)
    parser = load(store, method=method, every=every)
    found = list(find(sources, allow_network=allow_network))
    files = [source for source in found if isinstance(source, Path)]
    rows = [_refused(source) for source in found if not isinstance(source, Path)]
    rows += _predict(parser, files, kinds, out, min_score=min_score)
    if as_json:
        print_json(rows)
    else:
        done = [row for row in rows if "error" not in row]
        shown = ["video", "seconds", "people", "action", "score", "fps"]
        print_table(
            f"by {parser.method}",
            shown,
            [[Path(row["video"]).name, *(row[name] for name in shown[1:])] for row in done],
        )
    raise typer.Exit(1 if any("error" in row for row in rows) else 0)


def _predict(
    parser: Parser, videos: Sequence[Path], kinds: Sequence[Kind], out: Path, *, min_score: float
) -> list[dict[str, Any]]:
    """A row of the table for each video; one that fails is told of, and the others are done."""
    from tps_pipeline.predict.saving import names, save

    rows, read = [], {video.resolve() for video in videos}
    called = names([f"{video.stem}_{parser.method}" for video in videos])
    for number, (video, name) in enumerate(zip(videos, called, strict=True), 1):
        typer.echo(f"[{number}/{len(videos)}] {video}", err=True)
        targets: dict[Kind, Path] = {kind: out / f"{name}.{kind}" for kind in kinds}
        try:
            for kind, target in targets.items():
                if target.resolve() in read:
                    raise TpsError(f"{video}: its {kind.upper()} would be written over {target}; name another --out")
            result = parser(video)
            for note in result.notes:
                typer.echo(note, err=True)
            for kind, target in targets.items():
                save(result, kind, target, min_score=min_score)
        except (TpsError, OSError) as error:
            rows.append(_refused(error, video))
            continue
        rows.append(_row(result, targets, min_score=min_score))
    return rows


def _kinds(save: str) -> list[Kind]:
    from tps_pipeline.predict.saving import KINDS

    wanted = [kind.strip() for kind in save.split(",") if kind.strip()]
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown or not wanted:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: there are {', '.join(KINDS)}", param_hint="--save"
        )
    return [kind for kind in KINDS if kind in wanted]


def _row(result: Result, targets: dict[Kind, Path], *, min_score: float) -> dict[str, Any]:
    return {
        "video": str(result.path),
        "seconds": result.length,
        "people": len(result.people(min_score=min_score)),
        "action": result.action,
        "score": result.action_score,
        "fps": result.facts["n_frames"] / result.took,
        "files": [str(target) for target in targets.values()],
    }


def _refused(error: object, video: Path | None = None) -> dict[str, Any]:
    """Tell of a source that cannot be predicted, in one line."""
    typer.echo(f"tps: {error}", err=True)
    return {"video": video and str(video), "error": str(error)}
