"""A stand-in of Kinetics-TPS's size through everything that is no network: `docs/scale.md`.

Videos of 24 actions at 64 x 64 with about 151 labelled frames each are generated; what networks would find (boxes, the
video's action, two methods' states) is made up from the annotations. Every step is a process of its own: seconds of
processor time, peak memory, and what it wrote. `--share 1` is the whole size (4,741 videos), and two shares give
the exponent with which each step grows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VIDEOS, TEST_SHARE, FRAMES = 4741, 932 / 4741, 151
"""Of Kinetics-TPS: videos, those of them that test, labelled frames a training video."""
ROOT = Path(__file__).parent.parent.parent
METHODS = ("video_level", "segment_level")
"""Whose states are made up."""
BOUND_GB, BOUND_EXPONENT = 4.0, 1.1


def recipe_of(folder: Path) -> None:
    """The demo's recipe with two methods that need a network, and one that only counts."""
    import yaml

    from tps_pipeline import recipe

    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["methods"] = {name: settings["methods"][name] for name in ("video_category", *METHODS)}
    settings["shards"] = {"videos_per_shard": 50, "val_fraction": 0.1}
    settings["video_action"]["members"] = {"swin": settings["video_action"]["members"]["swin"]}
    settings["submission"] = "by_category"
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))


def run_of(folder: Path) -> Any:
    """What steps work with."""
    from tps_pipeline import recipe
    from tps_pipeline.graph import Run
    from tps_pipeline.lineage import Lineage
    from tps_pipeline.store import Store

    return Run(recipe.load(str(folder / "recipe.yaml")), folder / "data", Lineage(Store(folder / "store")))


def steps_of(folder: Path) -> list[str]:
    """What is measured, in order."""
    from tps_pipeline.stages import graph_of

    made_up = {"detections/two_stage", "video_actions/swin", *(f"predictions/{name}" for name in METHODS)}
    names = []
    for step in graph_of(run_of(folder).recipe).steps:
        if step.learner and not step.learner.alone:
            continue
        names.append(f"made up: {step.name}" if step.name in made_up else step.name)
    return ["generate", "tps data validate", "shards", *names, "plan", "trace", "compact", "plan after it"]


def do(name: str, folder: Path, share: float) -> None:
    """One of them."""
    from tps_pipeline.graph import make
    from tps_pipeline.graph.ingestion import take_in
    from tps_pipeline.graph.plan import plan
    from tps_pipeline.stages import graph_of

    if name == "generate":
        from tps_pipeline.data.synthetic import generate

        size: dict[str, Any] = {"width": 64, "height": 64, "frames": FRAMES, "test_fraction": TEST_SHARE}
        generate(folder / "data", videos=round(VIDEOS * share), seed=0, **size)
        return
    if name == "tps data validate":
        from tps_pipeline.cli.app import app

        app(["data", "validate", str(folder / "data")], standalone_mode=False)
        return
    run = run_of(folder)
    graph = graph_of(run.recipe)
    if name == "shards":
        take_in(run)
    elif name.startswith("plan"):
        print(plan(run, graph).summary())
    elif name == "trace":
        print(sum(1 for _ in run.lineage.trace(("submission", None))))
    elif name == "compact":
        print(run.lineage.compact())
    elif name.startswith("made up: "):
        make_up(run, name.removeprefix("made up: "))
    else:
        step = graph.step(name)
        make(run, step, run.lineage.latest().shards(*graph.splits[name]) if step.sharded else ())


def make_up(run: Any, name: str) -> None:
    """An output that a network would make, of the annotations."""
    import numpy as np
    import pyarrow as pa

    from tps_pipeline import tables
    from tps_pipeline.lineage import Work
    from tps_pipeline.outputs import ACTIONS, PARTS, PEOPLE, SPLITS

    rng = np.random.default_rng(0)
    stride = run.recipe.frames.sample_stride
    actions = ["action_a", "action_b"]
    for shard in run.lineage.latest().shards(*SPLITS):
        if name.startswith("video_actions"):
            truth = run.store.read(ACTIONS.path(shard))
            said = truth["action"].to_pylist()
            columns: dict[str, Any] = {
                "video_id": truth["video_id"].to_pylist(),
                "action": said,
                "score": [0.9] * len(said),
                "probabilities": [{action: 0.9, actions[action == actions[0]]: 0.1} for action in said],
            }
            schema = tables.VIDEO_ACTIONS
        else:
            people = run.store.read(PEOPLE.path(shard)).to_pandas()
            parts = run.store.read(PARTS.path(shard)).to_pandas()
            people = people.rename(columns={c: f"person_{c}" for c in tables.BOX})
            rows = parts[(parts["frame"] - 1) % stride == 0].merge(people, on=["video_id", "frame", "person"])
            found = rng.random(len(rows))
            moved = rng.integers(-1, 2, len(rows))  # all corners alike: a small box must not turn inside out
            for corner in (*tables.BOX, *tables.PERSON_BOX):
                rows[corner] += moved
            columns = {name: rows[name].to_numpy() for name in rows.columns}
            columns |= {"person_score": 0.5 + found / 2, "part_score": found}
            schema = tables.DETECTIONS
            if name.startswith("predictions"):
                wrong = rng.random(len(rows)) < 0.3
                columns["state"] = np.where(wrong, "none", rows["state"].astype(str))
                columns["state_score"] = found
                columns["state_scores"] = [[(state, 0.9)] for state in columns["state"]]
                schema = tables.PREDICTIONS
        table = tables.conform(columns, schema) if len(columns["video_id"]) else tables.empty(schema)
        assert isinstance(table, pa.Table)
        written = run.store.write(f"{name}/{shard}.parquet", table)
        run.lineage.record(Work(name, shard, (), (), ""), written, run_id="made up")


def measured(name: str, folder: Path, share: float) -> dict[str, Any]:
    """What a step costs: a process of its own that loads, does it, and ends."""
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    command = [sys.executable, "-m", "benchmarks.full_size", "--one", name, "--folder", str(folder)]
    command += ["--share", str(share)]
    print(f"{share:g}: {name}", file=sys.stderr, flush=True)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, cost = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and name in ("generate", "shards"):
        raise SystemExit(f"{name} failed: {said}")
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "name": name,
        "seconds": cost.ru_utime + cost.ru_stime,
        "gb": cost.ru_maxrss / 1e6,
        "files": len(paths) - files,
        "bytes": sum(path.stat().st_size for path in paths) - used,
        "failed": said.strip().splitlines()[-1] if process.returncode else "",
    }


def page(shares: list[float], folder: Path) -> str:
    """Measure; the figures as Markdown."""
    found: list[list[dict[str, Any]]] = []
    for share in shares:
        place = folder / f"{share:g}"
        place.mkdir()
        recipe_of(place)
        found.append([measured(name, place, share) for name in steps_of(place)])
    smallest, largest = found[0], found[-1]
    lines = [
        "# Kinetics-TPS as a whole",
        "",
        "Written by `python -m benchmarks.full_size`; do not edit. A stand-in of generated videos at 64 x 64 goes",
        "through every step that is no network; what networks would find is made up. Processor seconds of one process",
        "a step, its start (about a second) included; the exponent is that of the growth",
        f"from {shares[0]:g} to {shares[-1]:g} of the size ({VIDEOS} videos, {FRAMES} labelled frames each).",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- machine: {os.cpu_count()} CPU cores, no GPU; load average {os.getloadavg()[2]:.1f} over 15 minutes",
        "",
        f"| step | seconds at {shares[0]:g} | seconds at {shares[-1]:g} | exponent | peak memory | files | bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    for small, large in zip(smallest, largest, strict=True):
        if small["failed"] or large["failed"]:
            lines.append(f"| `{large['name']}` | failed: {(large['failed'] or small['failed'])[:100]} | | | | | |")
            continue
        grows = math.log(large["seconds"] / small["seconds"]) / math.log(shares[-1] / shares[0])
        lines.append(
            f"| `{large['name']}` | {small['seconds']:.1f} | {large['seconds']:.1f} | {grows:.2f} "
            f"| {large['gb']:.2f} GB | {large['files']} | {large['bytes'] / 1e6:.1f} MB |"
        )
    most = max(row["gb"] for row in largest)
    lines += ["", f"Peak memory: {most:.2f} GB (bound: {BOUND_GB:g} GB).", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, action="append", help="Of the whole size; two or more.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale.md")
    parser.add_argument("--folder", type=Path, help="Where to work; a new one that goes without.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        do(given.one, given.folder, given.share[0])
        return
    with tempfile.TemporaryDirectory() as scratch:
        text = page(given.share or [0.01, 0.1], given.folder or Path(scratch))
    given.out.write_text(text)
    print(json.dumps({"benchmark": "full_size", "page": str(given.out)}))


if __name__ == "__main__":
    main()
