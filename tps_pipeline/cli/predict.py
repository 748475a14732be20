"""`tps predict` and `tps bundle`: videos that are in no store, by a store's networks or a file of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tps_pipeline.cli.console import DEMO_STORE, Json, Root, print_json, print_table
from tps_pipeline.errors import TpsError, make_room, no_room

if TYPE_CHECKING:
    from tps_pipeline.predict.parser import Parser
    from tps_pipeline.predict.results import Result
    from tps_pipeline.predict.saving import Kind
    from tps_pipeline.predict.streaming import Frame


def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Videos: files, folders, patterns, a camera's number.")
    ],
    store: Root = DEMO_STORE,
    bundle: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Instead of a store: a file of `tps bundle`.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Whose states: a method, an ensemble, or `detections` for none; what the recipe submits without."
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe instead of the store's: a name or a file.")] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Look at every so many frames; as the recipe says without.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder for VIDEO_METHOD.json, ...")] = Path(
        "predictions"
    ),
    save: Annotated[str, typer.Option(help="With commas: json, csv, parquet, coco, cvat, mot, mp4.")] = "json,mp4",
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave people with a lower score out; of csv and parquet never.")
    ] = 0.3,
    stream: Annotated[
        bool, typer.Option("--stream", help="Follow files, too, as a camera: results at once, memory does not grow.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show in a window what is followed; q ends it.")] = False,
    allow_network: Annotated[bool, typer.Option("--allow-network", help="Open network addresses.")] = False,
    runtime: Annotated[
        Literal["torch", "onnx"], typer.Option(help="What runs the networks: onnx is ONNX Runtime, where installed.")
    ] = "torch",
    as_json: Json = False,
) -> None:
    """Find people, parts, states and the action in videos that are in no store; exit 1 if one of them failed.

    The store is only read. What it finds is what `make run` would find, to the last digit; of a camera, an address or
    with `--stream` states and the action are those of the last 60 frames, until Ctrl-C.
    """
    if show:
        _must_show()
    from tps_pipeline.predict.parser import load
    from tps_pipeline.predict.saving import KINDS, STREAMED
    from tps_pipeline.predict.sources import find

    found = list(find(sources, allow_network=allow_network))
    live = [source for source in found if isinstance(source, int | str) or (stream and isinstance(source, Path))]
    files = [source for source in found if isinstance(source, Path) and source not in live]
    kinds = _kinds(save, among=[*STREAMED] if live else KINDS)
    if show and not live:
        raise typer.BadParameter("shows what is followed: add --stream, or name a camera", param_hint="--show")
    parser = load(bundle or store, method=method, every=every, runtime=runtime, recipe=recipe)
    rows = [_refused(source) for source in found if isinstance(source, TpsError)]
    rows += _predict(parser, files, kinds, out, min_score=min_score)
    rows += _follow(parser, live, kinds, out, min_score=min_score, show=show, allow_network=allow_network)
    if as_json:
        print_json(rows)
    elif any("error" not in row for row in rows):
        done = [row for row in rows if "error" not in row]
        shown = ["seconds", "people", "action", "score", "fps"]
        cells = [[Path(row["video"]).name, *(row[name] for name in shown)] for row in done]
        print_table(f"by {parser.method}", ["video", *shown], cells)
    raise typer.Exit(1 if any("error" in row for row in rows) else 0)


def bundle(
    source: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder or a URL.")],
    out: Annotated[
        Path, typer.Argument(dir_okay=False, metavar="OUT.tps", help="The file; what is there is replaced.")
    ],
    method: Annotated[
        str | None, typer.Option(help="Whose states: a method or ensemble; what the recipe submits without.")
    ] = None,
) -> None:
    """Write one file with all that `tps predict --bundle` needs: the networks of a method and no others.

    Shows what is in it, with the licences of the weights that networks began with.
    """
    from tps_pipeline.predict.bundle import SUFFIX
    from tps_pipeline.predict.parser import load

    if out.suffix != SUFFIX:
        raise typer.BadParameter(f"{out}: the name of a bundle ends with {SUFFIX}", param_hint="OUT")
    parser = load(source, method=method)
    networks = parser.bundle(out)
    for network in networks:
        typer.echo(f"{network.name}  {network.size:,} bytes  {network.origin}")
    for network in networks:
        if not network.is_permissive:
            typer.echo(
                f"{network.name} {network.origin}: see what that licence asks of you before you pass {out} on", err=True
            )
    typer.echo(f"{parser.method}: {out}, {out.stat().st_size / 1e6:.1f} MB", err=True)


def _predict(
    parser: Parser, videos: Sequence[Path], kinds: Sequence[Kind], out: Path, *, min_score: float
) -> list[dict[str, Any]]:
    """A row of the table for each video; one that fails is told of, and the others are done."""
    from tps_pipeline.predict.saving import names, save, suffix

    rows = []
    called = names([f"{video.stem}_{parser.method}" for video in videos])
    for number, (video, name) in enumerate(zip(videos, called, strict=True), 1):
        typer.echo(f"[{number}/{len(videos)}] {video}", err=True)
        targets: dict[Kind, Path] = {kind: out / f"{name}{suffix(kind)}" for kind in kinds}
        try:
            _keep_sources(videos, video, targets)
            result = parser(video)
            for note in result.notes:
                typer.echo(note, err=True)
            with _written(out):
                for kind, target in targets.items():
                    save(result, kind, target, min_score=min_score)
        except (TpsError, OSError) as error:
            rows.append(_refused(error, video))
            continue
        rows.append(_row(result, targets, min_score=min_score))
    return rows


def _follow(
    parser: Parser,
    sources: Sequence[Path | int | str],
    kinds: Sequence[Kind],
    out: Path,
    *,
    min_score: float,
    show: bool,
    allow_network: bool,
) -> list[dict[str, Any]]:
    """The row of each source, which is followed to its end, or until somebody interrupts."""
    from tps_pipeline.predict import live
    from tps_pipeline.predict.saving import STREAMED, names, save_stream
    from tps_pipeline.predict.streaming import WINDOW

    rows = []
    called = names([f"{live.name_of(source)}_{parser.method}" for source in sources])
    for source, name in zip(sources, called, strict=True):
        targets: dict[Kind, Path] = {kind: out / f"{name}{STREAMED[kind]}" for kind in kinds}
        row: dict[str, Any] = {}
        try:
            _keep_sources(sources, source, targets)
            with live.opened(source, allow_network=allow_network) as opened:
                sliding = f"states and the action are those of the last {WINDOW} frames (docs/own_video.md)"
                typer.echo(f"{source}: {sliding}; Ctrl-C ends it", err=True)
                rate = opened.fps / parser.recipe.frames.sample_stride
                frames = _seen(parser.follow(opened), row, min_score=min_score, show=show)
                with _written(out):
                    save_stream(frames, out / name, kinds, rate=rate, min_score=min_score)
            if not row:
                raise TpsError(f"{source}: nothing came from it")
        except (TpsError, OSError) as error:
            rows.append(_refused(error, source))
            continue
        rows.append({"video": str(source), **row, "files": [str(target) for target in targets.values()]})
    return rows


def _seen(frames: Iterator[Frame], row: dict[str, Any], *, min_score: float, show: bool) -> Iterator[Frame]:
    """The same frames; the row of the table says what was seen so far."""
    began, people = time.perf_counter(), set[int]()
    for frame in frames:
        people.update(frame.people.track_id[frame.people.person_score >= min_score].dropna())
        row |= {"seconds": frame.seconds, "people": len(people), "action": frame.action, "score": frame.action_score}
        row["fps"] = frame.frame / (time.perf_counter() - began)
        if show and not _shown(frame, min_score=min_score):
            return
        yield frame


def _keep_sources(sources: Sequence[Path | int | str], source: Path | int | str, targets: Mapping[Kind, Path]) -> None:
    """Refuse to write over what is read, now or later."""
    read = {each.resolve() for each in sources if isinstance(each, Path)}
    for kind, target in targets.items():
        if target.resolve() in read:
            raise TpsError(f"{source}: its {kind.upper()} would be written over {target}; name another --out")


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """Tell in one line of a file that cannot be written."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or out
        why = make_room(out) if no_room(error) else f"{where} cannot be written ({error.strerror}); name another --out"
        raise TpsError(why) from error


def _must_show() -> None:
    """Make sure that there is a display: without one OpenCV's Qt ends the process that asks, so another one does.

    OpenCV has to be there before PyAV, whose libxcb its Qt would take, so that windows hang (PyAV #978, opencv #29195).
    """
    import cv2  # noqa: F401  # pyright: ignore[reportUnusedImport]

    tried = [sys.executable, "-c", "import cv2; cv2.namedWindow('tps predict')"]
    if subprocess.run(tried, capture_output=True).returncode:
        raise TpsError("there is no display to show a window on; leave --show out")


def _shown(frame: Frame, *, min_score: float) -> bool:
    """Show a frame in a window; whether it is to go on."""
    import cv2

    cv2.imshow("tps predict", frame.draw(min_score=min_score)[..., ::-1])
    return cv2.waitKey(1) != ord("q")


def _kinds(save: str, among: Sequence[Kind]) -> list[Kind]:
    wanted = [kind.strip() for kind in save.split(",") if kind.strip()]
    unknown = [kind for kind in wanted if kind not in among]
    if unknown or not wanted:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: there are {', '.join(among)}", param_hint="--save"
        )
    return [kind for kind in among if kind in wanted]


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


def _refused(error: object, video: Path | int | str | None = None) -> dict[str, Any]:
    """Tell of a source that cannot be predicted, in one line."""
    typer.echo(f"tps: {error}", err=True)
    return {"video": None if video is None else str(video), "error": str(error)}
