"""`tps data`, `tps frames`, `tps datasets`: a data folder, its frames, and what detectors train on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tps_pipeline.cli.console import DEMO_DATA, DEMO_STORE, Json, Root, example, print_json, print_table

data = typer.Typer(no_args_is_help=True, help="Kinetics-TPS folders: check, make, describe.")
"""`tps data`."""

frames = typer.Typer(no_args_is_help=True, help="Frames of videos.")
"""`tps frames`."""

datasets = typer.Typer(no_args_is_help=True, help="What detectors train on.")
"""`tps datasets`."""

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the Kinetics-TPS layout.")]
"""The argument of commands that need a data folder."""


@data.command("validate", epilog=example("data validate demo/data"))
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


@data.command("stats", epilog=example("data stats demo/data"))
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


@data.command("synth", epilog=example("data synth drawn --videos 8 --seed 1"))
def data_synth(
    out: Annotated[Path, typer.Argument(help="The folder to make; it must be empty or new.")],
    videos: Annotated[int, typer.Option(min=1, help="How many, test videos included.")],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal bytes.")],
    width: Annotated[int, typer.Option(min=32)] = 320,
    height: Annotated[int, typer.Option(min=32)] = 240,
    frames: Annotated[int, typer.Option(min=2, help="Frames a video, about.")] = 120,
    classes: Annotated[str, typer.Option(help="How many actions, or their names with commas; all without.")] = "",
    varied: Annotated[
        bool, typer.Option("--varied", help="Pictures that vary as real ones do, for detectors.")
    ] = False,
    motion: Annotated[bool, typer.Option("--motion", help="Landmarks alone, boxes as of a pose source.")] = False,
    processes: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Make a data set of drawn people in the Kinetics-TPS layout."""
    from rich.progress import Progress

    from tps_pipeline.data.synthetic import generate

    if varied and motion:
        raise typer.BadParameter("give one of --varied and --motion", param_hint="--motion")
    kind = "varied" if varied else "motion" if motion else "plain"
    chosen = int(classes) if classes.isdigit() else classes.split(",") if classes else None
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("drawing videos", total=videos)
        generate(
            out, videos=videos, seed=seed, width=width, height=height, frames=frames, classes=chosen,
            kind=kind, processes=processes, progress=lambda done: progress.update(bar, completed=done),
        )  # fmt: skip
    typer.echo(f"{videos} videos in {out}", err=True)


@data.command("import", epilog=example("data import labels.xml mine --from cvat"))
def data_import(
    source: Annotated[Path, typer.Argument(help="The labels: a file, or a folder of such files.")],
    out: Annotated[Path, typer.Argument(help="The data folder: a new one, or one that they are added to.")],
    kind: Annotated[
        Literal["cvat", "coco", "ava", "labelstudio"], typer.Option("--from", help="Whose labels they are.")
    ],
    videos: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Where the videos are; beside the labels without."),
    ] = None,
) -> None:
    """Make a data folder of the labels of another tool, or add them to one; say what could not be carried over."""
    from tps_pipeline.data.formats.importing import import_labels

    for line in import_labels(source, out, kind, videos).lines():
        typer.echo(line)


@data.command("annotate", epilog=example("data annotate demo/data mine --recipe pose"))
def data_annotate(
    videos: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder of videos.")],
    out: Annotated[Path, typer.Argument(help="The data folder to make; it must be empty or new.")],
    store: Root = DEMO_STORE,
    method: Annotated[
        str, typer.Option(help="Whose states: a method or an ensemble of the store; `detections` for none.")
    ] = "detections",
    recipe: Annotated[str | None, typer.Option(help="A recipe instead of the store's: a name or a file.")] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave people with a lower score out.")] = 0.5,
) -> None:
    """Make a data folder of videos with what a store's networks find in them, to be corrected and trained on."""
    from tps_pipeline.predict.annotating import annotate
    from tps_pipeline.predict.parser import load

    parser = load(store, method=method, recipe=recipe)
    made = annotate(videos, out, parser, min_score=min_score, tell=lambda line: typer.echo(line, err=True))
    for line in made.lines():
        typer.echo(line)


@frames.command("export", epilog=example("frames export demo/store/frames/test-000.arrow pictures"))
def frames_export(
    source: Annotated[Path, typer.Argument(exists=True, help="A video, or a shard's extracted frames (.arrow).")],
    out: Annotated[Path, typer.Argument(help="Folder for <video>/img_00001.jpg, ...")],
    stride: Annotated[int, typer.Option(min=1, help="Of a video, frames 1, 1 + stride, ...")] = 1,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality, of a video's frames.")] = 95,
) -> None:
    """Write frames as pictures; of a video that is not whole those that can be decoded."""
    from tps_pipeline.errors import VideoError
    from tps_pipeline.video.frames import FrameFile, export, read_jpegs, sampled_frames
    from tps_pipeline.video.probe import probe

    if source.suffix == ".arrow":
        jpegs = iter(FrameFile(source))
    else:
        found = probe(source)
        if found.status != "ok":
            raise VideoError(found.error)
        if found.error:
            typer.echo(found.error, err=True)
        wanted = sampled_frames(found.n_frames, stride).tolist()
        jpegs = read_jpegs(source.stem, source, wanted, jpeg_quality=quality)
    typer.echo(f"{export(jpegs, out)} pictures in {out}", err=True)


@datasets.command("preview", epilog=example("datasets preview --out preview.png"))
def datasets_preview(
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    data: Annotated[
        Path,
        typer.Option(envvar="TPS_DATA", exists=True, file_okay=False, help="A folder in the Kinetics-TPS layout."),
    ] = DEMO_DATA,
    recipe: Annotated[str, typer.Option(envvar="TPS_RECIPE", help="A recipe's name or file.")] = "demo",
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
