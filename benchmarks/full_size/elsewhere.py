"""What of a full-size store goes through other programs: its pages in the Dagster UI, its shards by Ray.

Both work on a workplace that `python -m benchmarks.full_size` has made, and change nothing that is recorded but times.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.orchestration.ray_head import ray_head
from tests.workplace import ROOT, dagster_dev, environment

ROUNDS = 3
INGESTION = ("videos", "annotations/*", "frames")
PREDICTION = ("tracks", "predictions/video_category", "psc/video_category")
"""Those without a network."""


def ui(folder: Path) -> dict[str, Any]:
    """Milliseconds from asking for a page to what is looked for on it: the median of some, after one goes before."""
    from playwright.sync_api import sync_playwright

    pages = {
        "the asset `frames`": ("/assets/frames?view=partitions", re.compile(r"(Materialized|Missing) \(\d+\)")),
        "the graph of all groups": ("/asset-groups", re.compile("^checkpoints$")),
        "the graph of one, `evaluation`": ("/locations/tps/asset-groups/evaluation", re.compile("^leaderboard$")),
        "the runs": ("/runs", re.compile("Success")),
    }
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    taken: dict[str, float] = {}
    with dagster_dev(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=300_000
        )
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        for name, (path, sign) in pages.items():
            seconds = []
            for _ in range(ROUNDS + 1):
                begin = time.perf_counter()
                tab.goto(url + path, timeout=300_000)
                tab.get_by_text(sign).first.wait_for(timeout=300_000)
                seconds.append(time.perf_counter() - begin)
            taken[name] = 1000 * statistics.median(seconds[1:])
        browser.close()
    return taken


def by_ray(folder: Path) -> dict[str, Any]:
    """Seconds of the clock in which two runs at once make half of the shards each.

    On a head that gives out one core, on one that gives out two; and as two processes without Ray.
    """
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        shards = list(instance.get_dynamic_partitions("shards"))
    of_test = [shard for shard in shards if shard.startswith("test")]
    work = {"ingestion": (INGESTION, _halves(shards)), "prediction": (PREDICTION, _halves(of_test))}
    taken: dict[str, Any] = {"shards": {name: sum(map(len, halves)) for name, (_, halves) in work.items()}}
    for cores in (1, 2):
        with ray_head(gpus=0, cpus=cores) as address:
            variables = {"TPS_EXECUTOR": "ray", "RAY_ADDRESS": address, "TPS_GPUS": "0"}
            taken[str(cores)] = {name: _runs(folder, *of_work, variables) for name, of_work in work.items()}
    variables = {"TPS_EXECUTOR": "in_process"}
    return taken | {"in_process": {name: _runs(folder, *of_work, variables) for name, of_work in work.items()}}


def _halves(shards: list[str]) -> tuple[list[str], list[str]]:
    half = len(shards) // 2
    return shards[:half], shards[half : 2 * half]


def _runs(
    folder: Path, steps: tuple[str, ...], halves: tuple[list[str], list[str]], variables: dict[str, str]
) -> float:
    """Seconds in which as many runs as there are stretches of shards make some steps of them anew."""
    variables = environment(folder) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    force = {"ops": {step.removesuffix("/*").replace("/", "__"): {"config": {"force": True}} for step in steps}}
    command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize"]
    command += ["--select", " or ".join(f'key:"{step}"' for step in steps), "--config-json", json.dumps(force)]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        start = partial(subprocess.Popen[bytes], cwd=ROOT, env=variables, stdout=said, stderr=said)
        runs = [start([*command, "--partition-range", f"{shards[0]}...{shards[-1]}"]) for shards in halves]
        ended = [run.wait() for run in runs]
        if any(ended):
            said.seek(0)
            raise SystemExit(said.read().decode(errors="replace")[-3000:])
    return time.perf_counter() - begin
