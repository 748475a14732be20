"""`tps weights`: published weights that recipes can start from, and networks for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tps_pipeline.cli.console import DEMO_STORE, Json, Root, example, print_json

weights = typer.Typer(no_args_is_help=True, help="Weights: import, list, export.")
"""`tps weights`."""


@weights.command("import", epilog=example("weights import --as yolov7_tiny yolov7-tiny.pt yolov7_tiny_coco"))
def weights_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The published checkpoint.")],
    name: Annotated[str, typer.Argument(help="What recipes call it, see `tps weights list`.")],
    kind: Annotated[str, typer.Option("--as", help="yolov7x, yolov7_tiny, video_swin, swin_imagenet, ...")],
    sha256: Annotated[str | None, typer.Option(help="The file's expected digest.")] = None,
    store: Root = DEMO_STORE,
) -> None:
    """Turn a published checkpoint into weights that recipes can name; nothing in the file is executed."""
    from tps_pipeline.learners import pretrained
    from tps_pipeline.store import Store

    if kind not in pretrained.KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(pretrained.KINDS)}", param_hint="--as")
    target = Store(store)
    converted = pretrained.import_weights(file, name, kind=kind, store=target, sha256=sha256)
    typer.echo(f"{name}: {target.full(pretrained.path_of(name))}")
    typer.echo(f"classes: {converted.classes or 'no classifier'}")
    typer.echo(f"missing: {', '.join(converted.missing) or 'none'}")
    typer.echo(f"unexpected: {', '.join(converted.unexpected) or 'none'}")


@weights.command("list", epilog=example("weights list"))
def weights_list(store: Root = DEMO_STORE, as_json: Json = False) -> None:
    """List the files we know, what they are, where to get them, and which of them this store has."""
    from tps_pipeline.learners import pretrained
    from tps_pipeline.store import Store

    rows = pretrained.listing(Store(store))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['name']}: {row['what']}; {'imported' if row['imported'] else 'not imported'}")
        for key in ("kind", "file", "source", "licence", "normalisation", "sha256"):
            typer.echo(f"  {key:<14}{row[key] or 'unknown'}")


@weights.command("export", epilog=example("weights export person_detector --to onnx"))
def weights_export(
    name: Annotated[str, typer.Argument(help="A detector, video_action, a method of clips, or imported weights.")],
    to: Annotated[Literal["onnx"], typer.Option(help="Whose format.")] = "onnx",
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="The file; NAME.onnx without.")] = None,
    store: Root = DEMO_STORE,
) -> None:
    """Write a network of the store for other runtimes: detectors of any picture size, clips of the size in training."""
    from tps_pipeline.learners import onnx
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    out = out or Path(f"{name}.{to}")
    onnx.export(Lineage(Store(store)), name, out)
    typer.echo(str(out))
