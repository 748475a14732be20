"""A stand-in of Kinetics-TPS's size through everything that is no network: `docs/scale.md`.

Every step is a process of its own: seconds of processor time, peak memory, and what it wrote. `--share 1` is the whole
size (4,741 videos, 575,000 label files), and two shares or more give the exponent with which each step grows. What was
measured stays in `--folder`: a run that is cut off goes on, and what failed is tried again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
BOUND_GB, BOUND_EXPONENT, BOUND_NOTHING_TO_DO = 4.0, 1.1, 15.0
LEAST_SECONDS = 5.0
"""From which on a step's growth says something: a process takes about one to start."""
NOTHING = "make run, nothing to do"
UI, RAY = "the Dagster UI", "by Ray"
RAY_SHARE = 0.1
"""Up to which size the shards go through Ray, too: more of them say no more."""

KEPT = "measured.json"
"""In a share's folder: what every step cost."""
FIGURES = "figures.json"
"""In a share's folder: what a step that measures something itself has found."""

Row = dict[str, Any]
"""What a step cost."""


def commands_of(folder: Path, share: float) -> dict[str, Callable[[], object]]:
    """What is measured, in order, by its name."""
    from benchmarks.full_size import elsewhere, stand_in
    from tps_pipeline.graph import Step, make
    from tps_pipeline.graph.ingestion import take_in
    from tps_pipeline.stages import graph_of

    run = stand_in.run_of(folder)
    graph = graph_of(run.recipe)
    store, data = ("--store", str(folder / "store")), ("--data", str(folder / "data"))

    def made(step: Step, only: Sequence[str] = ()) -> None:
        shards = only or (run.lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ())
        make(run, step, shards, force=True)  # what is measured once more is made once more

    def one_more() -> None:
        stand_in.one_more(folder / "data")
        (shard,) = take_in(run).shards
        for name in ("videos", "annotations", "frames"):
            made(graph.step(name), [shard])

    def another_submission() -> None:
        changed = replace(run, recipe=run.recipe.model_copy(update={"submission": "voting"}))
        make(changed, graph_of(changed.recipe).step("submission"))

    commands: dict[str, Callable[[], object]] = {
        "generate": lambda: stand_in.data_of(folder / "data", round(stand_in.VIDEOS * share), folder.parent / "drawn"),
        "tps data validate": partial(_tps, "data", "validate", str(folder / "data")),
        "shards": lambda: take_in(run),
    }
    for step in graph.steps:
        unreal = step.name in stand_in.MADE_UP or bool(step.learner and not step.learner.alone)
        name = f"made up: {step.name}" if unreal else step.name
        commands[name] = partial(made, stand_in.made_up(step) if unreal else step)
    return commands | {
        "tps recipe plan": partial(_tps, "recipe", "plan", str(folder / "recipe.yaml"), *store, *data),
        "tps lineage stale": partial(_tps, "lineage", "stale", "--recipe", str(folder / "recipe.yaml"), *store, *data),
        "tps lineage trace": partial(_tps, "lineage", "trace", "submission", *store),
        "make run, the first": partial(_make_run, folder),
        NOTHING: partial(_make_run, folder),
        "tps lineage trace, compacted": partial(_tps, "lineage", "trace", "submission", *store),
        "another submission": another_submission,
        "tps lineage diff": partial(_tps, "lineage", "diff", "submission", *store),
        "one video more, up to its frames": one_more,
        UI: partial(elsewhere.ui, folder),
        **({RAY: partial(elsewhere.by_ray, folder)} if share <= RAY_SHARE else {}),
    }


def _tps(*words: str) -> None:
    from tps_pipeline.cli.app import app

    if code := app(list(words), standalone_mode=False):
        raise SystemExit(code)


def _make_run(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    places = {name: str(folder / place) for name, place in (("DATA", "data"), ("RECIPE", "recipe.yaml"))}
    os.environ |= {f"TPS_{name}": place for name, place in places.items()}
    os.environ |= {"TPS_STORE": str(folder / "store"), "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    from assets.run import main as make_run

    if code := make_run():
        raise SystemExit(code)


def measured(name: str, folder: Path, share: float) -> Row:
    """What a step costs: a process of its own that loads, does it, and ends."""
    inside = folder / ("data" if name == "generate" else "store")
    before = _size(inside)
    command = [*_itself(folder, share), "--one", name]
    (folder / FIGURES).unlink(missing_ok=True)
    begin = time.perf_counter()
    with (folder / "said.txt").open("w+b") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
        _, status, cost = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        words = said.read().decode(errors="replace").strip().splitlines()
    files, size = (after - then for after, then in zip(_size(inside), before, strict=True))
    figures = folder / FIGURES
    return {
        "name": name,
        "figures": json.loads(figures.read_text()) if figures.exists() else {},
        "seconds": cost.ru_utime + cost.ru_stime,
        "wall": time.perf_counter() - begin,
        "gb": cost.ru_maxrss / 1e6,
        "files": files,
        "bytes": size,
        "failed": (words or ["no word"])[-1] if process.returncode else "",
    }


def _itself(folder: Path, share: float) -> list[str]:
    """This module in another process: one that is started has its parent's memory among its own peak."""
    return [sys.executable, "-m", "benchmarks.full_size", "--folder", str(folder), "--share", str(share)]


def _size(folder: Path) -> tuple[int, int]:
    """How many files are in a folder, and their bytes."""
    sizes = [os.stat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names]  # noqa: PTH116, PTH118 - a Path for each of half a million files
    return len(sizes), sum(sizes)


def rows_of(folder: Path, share: float) -> dict[str, Row]:
    """What every step costs at a share; what is known of it already is not measured again."""
    folder.mkdir(exist_ok=True, parents=True)
    names = subprocess.run([*_itself(folder, share), "--list"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    kept, rows = folder / KEPT, known(folder, share)
    for name in names.stdout.splitlines():
        if name not in rows or rows[name]["failed"]:
            rows[name] = measured(name, folder, share)
            kept.write_text(json.dumps(rows, indent=1))
            print(share, rows[name], file=sys.stderr, flush=True)
        if rows[name]["failed"] and name in ("generate", "shards"):
            raise SystemExit(f"{name} failed: {rows[name]['failed']}")
    return rows


def known(folder: Path, _share: float) -> dict[str, Row]:
    """What was measured in a share's folder."""
    kept = folder / KEPT
    return json.loads(kept.read_text()) if kept.exists() else {}


def page(found: dict[float, dict[str, Row]]) -> str:
    """The figures as Markdown.

    Args:
        found: What every step cost, by share; of a larger one some may be missing.
    """
    shares = sorted(found)
    lines = [
        "# Kinetics-TPS as a whole",
        "",
        "Written by `python -m benchmarks.full_size`; do not edit. A stand-in at 64 x 64 goes through every step that",
        "is no network; what networks would find is made up. Some seventy videos are drawn, the others are copies,",
        "each with bytes of its own. Seconds of the processor of one process a step, its start (about a second)",
        "included; the exponent is that of the growth between the two largest shares that were measured (1 is all:",
        "4,741 videos, 151 labelled frames a training video). Memory at its peak, files and bytes are of the largest,",
        "those of `generate` the data folder's, else the store's.",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- machine: {os.cpu_count()} CPU cores, no GPU; load average {os.getloadavg()[2]:.1f} over 15 minutes",
        "",
        f"| step | {' | '.join(f'{share:g}' for share in shares)} | exponent | peak memory | files | bytes |",
        f"|---|{'---|' * len(shares)}---|---|---|---|",
        *(_line(name, found) for name in found[shares[0]]),
    ]
    return "\n".join([*lines, "", *_bounds(found), "", *_ui(found), *_ray(found)])


def _line(name: str, found: dict[float, dict[str, Row]]) -> str:
    """A step's row of the table."""
    rows = {share: found[share].get(name) for share in sorted(found)}
    whole = [row for row in rows.values() if row and not row["failed"]]
    cells = ["" if row is None else row["failed"][:60] or f"{row['seconds']:.1f}" for row in rows.values()]
    grows = _exponent(name, found)
    cells.append("" if grows is None else f"{grows:.2f}")
    if whole:
        cells += [f"{whole[-1]['gb']:.2f} GB", str(whole[-1]["files"]), f"{whole[-1]['bytes'] / 1e6:.1f} MB"]
    return f"| `{name}` | {' | '.join(cells)} |"


def _exponent(name: str, found: dict[float, dict[str, Row]]) -> float | None:
    """How a step grows between the two largest shares that it is known of."""
    known = [(share, found[share][name]) for share in sorted(found) if name in found[share]]
    known = [(share, row["seconds"]) for share, row in known if not row["failed"]]
    if len(known) < 2:
        return None
    (small, before), (large, after) = known[-2:]
    return math.log(after / before) / math.log(large / small)


def _bounds(found: dict[float, dict[str, Row]]) -> list[str]:
    """What the bounds are held against, of all shares."""
    rows = [row for of_share in found.values() for row in of_share.values()]
    heaviest = max(rows, key=lambda row: row["gb"])
    slow = {row["name"] for row in rows if row["seconds"] > LEAST_SECONDS}
    steep = [f"`{name}`" for name in slow if (_exponent(name, found) or 0) > BOUND_EXPONENT]
    largest, of_largest = max(found.items())
    stored = [row for row in of_largest.values() if row["name"] != "generate"]
    idle = [of_share[NOTHING] for _, of_share in sorted(found.items()) if NOTHING in of_share][-1]
    said = f"{idle['wall']:.1f} s of the clock, {idle['seconds']:.1f} s of the processor"
    return [
        f"- the store at {largest:g}: {sum(row['files'] for row in stored)} files, "
        f"{sum(row['bytes'] for row in stored) / 1e6:.0f} MB",
        f"- most memory: {heaviest['gb']:.2f} GB, `{heaviest['name']}` (bound: {BOUND_GB:g} GB)",
        f"- nothing to do: {idle['failed'] or said} (bound: {BOUND_NOTHING_TO_DO:g} s)",
        f"- steeper than linear (exponent above {BOUND_EXPONENT:g}, of {LEAST_SECONDS:g} s or more): "
        f"{', '.join(sorted(steep)) or 'none'}",
    ]


def _ui(found: dict[float, dict[str, Row]]) -> list[str]:
    """How soon the Dagster UI's pages are there."""
    known = {share: rows[UI]["figures"] for share, rows in sorted(found.items()) if rows.get(UI, {}).get("figures")}
    if not known:
        return []
    return [
        "## The Dagster UI",
        "",
        "Milliseconds of the clock from asking for a page until Chromium shows what is looked for on it: the median of",
        "three, after one that goes before.",
        "",
        f"| page | {' | '.join(f'{share:g}' for share in known)} |",
        f"|---|{'---|' * len(known)}",
        *(
            f"| {page} | {' | '.join(f'{of_share[page]:.0f} ms' for of_share in known.values())} |"
            for page in next(iter(known.values()))
        ),
        "",
    ]


def _ray(found: dict[float, dict[str, Row]]) -> list[str]:
    """What a second core gains by Ray."""
    known = [(share, rows[RAY]["figures"]) for share, rows in sorted(found.items()) if rows.get(RAY, {}).get("figures")]
    if not known:
        return []
    share, figures = known[-1]
    return [
        "## By Ray",
        "",
        f"Two runs at once make half of the shards each, at {share:g} of the size: on a local head that gives out one",
        "core, on one that gives out two, and as two processes without Ray. Seconds of the clock; each step is a job,",
        "which starts Python. Efficiency is the gain by the second core, of two.",
        "",
        "| | shards | one core | two | efficiency | a shard, two cores | without Ray |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {shards} | {figures['1'][name]:.0f} s | {figures['2'][name]:.0f} s "
            f"| {figures['1'][name] / figures['2'][name] / 2:.0%} | {figures['2'][name] / shards:.1f} s "
            f"| {figures['in_process'][name]:.0f} s |"
            for name, shards in figures["shards"].items()
        ),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, action="append", help="Of the whole size; two or more.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale.md")
    parser.add_argument("--folder", type=Path, help="Where to work; a new one that goes without.")
    parser.add_argument("--known", action="store_true", help="Write the page of what is known; nothing is measured.")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.list:
        from benchmarks.full_size.stand_in import recipe_of

        recipe_of(given.folder)
        print(*commands_of(given.folder, given.share[0]), sep="\n")
        return
    if given.one:
        if isinstance(found := commands_of(given.folder, given.share[0])[given.one](), dict) and given.one in (UI, RAY):
            (given.folder / FIGURES).write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        of_share = known if given.known else rows_of
        text = page({share: of_share(folder / f"{share:g}", share) for share in given.share or [0.01, 0.1]})
    given.out.write_text(text)
    print(json.dumps({"benchmark": "full_size", "page": str(given.out)}))


if __name__ == "__main__":
    main()
