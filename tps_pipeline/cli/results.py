"""`tps evaluate` and `tps overlay`: the score of a submission, and a video with what was found on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tps_pipeline.cli.console import DEMO_DATA, DEMO_STORE, Json, Root, print_json, print_table


def evaluate(
    gt: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with gt_*_result.json.")],
    pred: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with pred_*_result.json.")],
    as_json: Json = False,
) -> None:
    """Score a submission with the challenge's metric."""
    from tps_pipeline.data import submission

    result = submission.evaluate(gt, pred)
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
