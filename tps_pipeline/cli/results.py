"""`tps evaluate`, `tps overlay`, `tps export`: a submission's score, what was found drawn, or in other formats."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from tps_pipeline.cli.console import DEMO_DATA, DEMO_STORE, Json, Root, print_json, print_table


def evaluate(
    gt: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with gt_*_result.json.")],
    pred: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with pred_*_result.json.")],
    as_json: Json = False,
) -> None:
    """Score a submission with the challenge's metric; of other parts than the challenge's it says so."""
    from tps_pipeline.data import submission

    result = submission.evaluate(gt, pred)
    if result.note:
        typer.echo(result.note, err=True)
    if as_json:
        print_json(dataclasses.asdict(result))
        return
    print_table("part state correctness", ["video", "PSC", "action"], [
        [video, f"{value:.4f}", "right" if result.correct[video] else "wrong"] for video, value in result.psc.items()
    ])  # fmt: skip
    typer.echo(f"score {result.score:.6f}")


def overlay(
    video: Annotated[str, typer.Argument(help="A video's id, as in the store's tables.")],
    method: Annotated[str, typer.Option(help="Whose predictions: a method, voting, stacked or by_category.")],
    store: Root = DEMO_STORE,
    data: Annotated[
        Path, typer.Option(envvar="TPS_DATA", exists=True, file_okay=False, help="The folder with the videos.")
    ] = DEMO_DATA,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="The MP4; VIDEO_METHOD.mp4 without.")] = None,
    truth: Annotated[bool, typer.Option("--truth", help="Show the annotation beside it.")] = False,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave people with a lower score out.")] = 0.3,
) -> None:
    """Draw people, their tracks (#0, #1, ...), parts, states, and the action with its score on every frame of a video.

    A frame shows the boxes of the nearest sampled frame: what the method said, nothing interpolated.
    """
    from tps_pipeline.drawing.overlay import overlay_video
    from tps_pipeline.store import Store

    out = out or Path(f"{video}_{method}.mp4")
    overlay_video(Store(store), data, video, method, out, truth=truth, min_score=min_score)
    typer.echo(str(out))


def export(
    to: Annotated[
        Literal["csv", "coco", "cvat", "ava", "labelstudio", "mot", "fiftyone"], typer.Option(help="Whose format.")
    ],
    store: Annotated[str, typer.Argument(envvar="TPS_STORE", help="The store: a folder or a URL.")] = DEMO_STORE,
    method: Annotated[
        str | None,
        typer.Option(help="Whose predictions: a method, voting or by_category; those that are submitted without."),
    ] = None,
    split: Annotated[Literal["train", "val", "test"] | None, typer.Option(help="Its videos alone.")] = None,
    annotations: Annotated[bool, typer.Option("--annotations", help="Instead: what is annotated.")] = False,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="The folder, empty or new; METHOD_FORMAT without.")
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave people with a lower score out.")] = 0.0,
    data: Annotated[
        Path, typer.Option(envvar="TPS_DATA", file_okay=False, help="The folder with the videos, for fiftyone.")
    ] = DEMO_DATA,
) -> None:
    """Write predictions or annotations in another tool's format: a file a video, or one of all (COCO and others).

    CSV and FiftyOne have everything, COCO no scores of states, CVAT and Label Studio no scores, AVA people and actions,
    MOT people alone.
    """
    from tps_pipeline import exporting, recipe
    from tps_pipeline.graph import frozen
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    if annotations and (method is not None or min_score):
        raise typer.BadParameter("--method and --min-score are about predictions; leave them or --annotations out")
    lineage = Lineage(Store(store))
    if annotations:
        out = out or Path(f"annotations_{to}")
        done = exporting.export_annotations(lineage, to, out, split=split, data=data)
    else:
        method = method or recipe.parse(frozen.last(lineage.store), Path(frozen.FOLDER)).submission
        out = out or Path(f"{method}_{to}")
        done = exporting.export_predictions(lineage, method, to, out, split=split, min_score=min_score, data=data)
    for note in done.notes:
        typer.echo(note, err=True)
    typer.echo(f"{done.videos} video(s) in {out}", err=True)
