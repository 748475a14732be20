"""The command line, `tps`: results on stdout, everything else on stderr; exit 0, 1 for a failure, 2 for wrong usage.

Heavy libraries are imported by the command that needs them, so that `tps --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from tps_pipeline.cli.console import Json, Root, print_json, print_table
from tps_pipeline.cli.lineage import lineage
from tps_pipeline.cli.plan import Data, planned, show
from tps_pipeline.errors import TpsError


class _Commands(TyperGroup):
    """Prints this package's errors as one message and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TpsError as error:
            typer.echo(f"tps: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, help="Part-level action parsing of video.")
data = typer.Typer(no_args_is_help=True, help="Kinetics-TPS folders: check, make, describe.")
frames = typer.Typer(no_args_is_help=True, help="Frames of videos.")
datasets = typer.Typer(no_args_is_help=True, help="What detectors train on.")
recipes = typer.Typer(no_args_is_help=True, help="Recipes: check and show.")
weights = typer.Typer(no_args_is_help=True, help="Pre-trained weights: import and list.")
app.add_typer(data, name="data")
app.add_typer(frames, name="frames")
app.add_typer(datasets, name="datasets")
app.add_typer(recipes, name="recipe")
app.add_typer(weights, name="weights")
app.add_typer(lineage, name="lineage")

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the Kinetics-TPS layout.")]


@data.command("validate")
def data_validate(folder: Folder, as_json: Json = False) -> None:
    """Say what is wrong with a data set, file by file, and what to do; exit 1 if anything is."""
    from tps_pipeline.data.validation import validate

    problems = validate(folder)
    if as_json:
        print_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            typer.echo(str(problem))
        typer.echo(f"{len(problems)} problem(s) in {folder}", err=True)
    raise typer.Exit(1 if problems else 0)


@data.command("stats")
def data_stats(folder: Folder, as_json: Json = False) -> None:
    """Describe a data set: people a frame, parts a person, states, by action."""
    from tps_pipeline.data.kinetics_tps import read_all
    from tps_pipeline.data.statistics import statistics

    described = statistics(read_all(folder))
    if as_json:
        print_json({name: table.to_pylist() for name, table in described.items()})
        return
    for name, table in described.items():
        print_table(name, table.column_names, [list(row.values()) for row in table.to_pylist()])


@data.command("synth")
def data_synth(
    out: Annotated[Path, typer.Argument(help="The folder to make; it must be empty or new.")],
    videos: Annotated[int, typer.Option(min=1, help="How many, test videos included.")],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal bytes.")],
    width: Annotated[int, typer.Option(min=32)] = 320,
    height: Annotated[int, typer.Option(min=32)] = 240,
    frames: Annotated[int, typer.Option(min=2, help="Frames a video, about.")] = 120,
    classes: Annotated[str, typer.Option(help="How many actions, or their names with commas; all without.")] = "",
    processes: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Make a data set of drawn people in the Kinetics-TPS layout."""
    from rich.progress import Progress

    from tps_pipeline.data.synthetic import generate

    chosen = int(classes) if classes.isdigit() else classes.split(",") if classes else None
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("drawing videos", total=videos)
        generate(
            out, videos=videos, seed=seed, width=width, height=height, frames=frames, classes=chosen,
            processes=processes, progress=lambda done: progress.update(bar, completed=done),
        )  # fmt: skip
    typer.echo(f"{videos} videos in {out}", err=True)


@frames.command("export")
def frames_export(
    source: Annotated[Path, typer.Argument(exists=True, help="A video, or a shard's extracted frames (.arrow).")],
    out: Annotated[Path, typer.Argument(help="Folder for <video>/img_00001.jpg, ...")],
    stride: Annotated[int, typer.Option(min=1, help="Of a video, frames 1, 1 + stride, ...")] = 1,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality, of a video's frames.")] = 95,
) -> None:
    """Write frames as pictures."""
    from tps_pipeline.errors import VideoError
    from tps_pipeline.video.frames import FrameFile, export, read_jpegs, sampled_frames
    from tps_pipeline.video.probe import probe

    if source.suffix == ".arrow":
        jpegs = iter(FrameFile(source))
    else:
        found = probe(source)
        if found.error:
            raise VideoError(found.error)
        wanted = sampled_frames(found.n_frames, stride).tolist()
        jpegs = read_jpegs(source.stem, source, wanted, jpeg_quality=quality)
    typer.echo(f"{export(jpegs, out)} pictures in {out}", err=True)


@datasets.command("preview")
def datasets_preview(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="A folder in the Kinetics-TPS layout.")],
    recipe: Annotated[str, typer.Option(envvar="TPS_RECIPE", help="A recipe's name or file.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    detector: Annotated[
        Literal["person", "part", "single_stage", "part_state"], typer.Option(help="Whose data set to show.")
    ] = "part",
    augmentation: Annotated[
        list[str] | None, typer.Option(help="Show this one (repeat for more), also where the recipe has none of it.")
    ] = None,
    seed: int = 0,
) -> None:
    """Draw training images with their boxes, a row for each augmentation: left orange, right blue."""
    from PIL import Image

    from tps_pipeline import recipe as recipe_module
    from tps_pipeline.detection import preview

    if unknown := set(augmentation or ()) - set(preview.AUGMENTATIONS):
        message = f"{', '.join(sorted(unknown))}: there are {', '.join(preview.AUGMENTATIONS)}"
        raise typer.BadParameter(message, param_hint="--augmentation")
    settings = recipe_module.load(recipe)
    sheet = preview.preview(data, settings, detector=detector, augmentations=augmentation or (), seed=seed)
    Image.fromarray(sheet).save(out, format="PNG", optimize=True)
    typer.echo(str(out))


@app.command()
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


@app.command()
def overlay(
    video: Annotated[str, typer.Argument(help="A video's id, as in the store's tables.")],
    method: Annotated[str, typer.Option(help="Whose predictions: a method, voting or by_category.")],
    store: Root = "store",
    data: Annotated[
        Path, typer.Option(envvar="TPS_DATA", exists=True, file_okay=False, help="The folder with the videos.")
    ] = Path("demo/data"),
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="The MP4; VIDEO_METHOD.mp4 without.")] = None,
    truth: Annotated[bool, typer.Option("--truth", help="Show the annotation beside it.")] = False,
) -> None:
    """Draw people, parts, states and the action on every frame of a video, as an MP4.

    A frame shows the boxes of the nearest sampled frame: what the method said, nothing interpolated.
    """
    from tps_pipeline.drawing.overlay import overlay_video
    from tps_pipeline.store import Store

    out = out or Path(f"{video}_{method}.mp4")
    overlay_video(Store(store), data, video, method, out, truth=truth)
    typer.echo(str(out))


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


@weights.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The published checkpoint.")],
    name: Annotated[str, typer.Argument(help="What recipes call it, see `tps weights list`.")],
    kind: Annotated[str, typer.Option("--as", help="yolov7x, yolov7_tiny, video_swin, swin_imagenet, ...")],
    sha256: Annotated[str | None, typer.Option(help="The file's expected digest.")] = None,
    store: Root = "store",
) -> None:
    """Turn a published checkpoint into weights that recipes can name; nothing in the file is executed."""
    from tps_pipeline.models import pretrained
    from tps_pipeline.store import Store

    if kind not in pretrained.KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(pretrained.KINDS)}", param_hint="--as")
    target = Store(store)
    converted = pretrained.import_weights(file, name, kind=kind, store=target, sha256=sha256)
    typer.echo(f"{name}: {target.full(pretrained.path_of(name))}")
    typer.echo(f"classes: {converted.classes or 'no classifier'}")
    typer.echo(f"missing: {', '.join(converted.missing) or 'none'}")
    typer.echo(f"unexpected: {', '.join(converted.unexpected) or 'none'}")


@weights.command("list")
def weights_list(store: Root = "store", as_json: Json = False) -> None:
    """List the files we know, what they are, where to get them, and which of them this store has."""
    from tps_pipeline.models import pretrained
    from tps_pipeline.store import Store

    rows = pretrained.listing(Store(store))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['name']}: {row['what']}; {'imported' if row['imported'] else 'not imported'}")
        for key in ("kind", "file", "source", "licence", "normalisation", "sha256"):
            typer.echo(f"  {key:<14}{row[key] or 'unknown'}")
