"""A small generated data set, a recipe that trains for moments, and a Dagster home: what whole-graph tests run on."""

import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from assets.resources import Pipeline
from benchmarks.orchestration.ray_head import free_port
from tps_pipeline import recipe
from tps_pipeline.data.synthetic import generate

ROOT = Path(__file__).parent.parent


def make(folder: Path, *, videos: int = 16, videos_per_shard: int = 6, epochs: int = 1, **changes: Any) -> Path:
    """Make `data`, `recipe.yaml` and `home` in a folder; `changes` replace whole sections of the recipe."""
    generate(folder / "data", videos=videos, seed=3, width=128, height=96, frames=16, classes=2, test_fraction=0.25)
    settings = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    settings["shards"] = {"videos_per_shard": videos_per_shard, "val_fraction": 0.3}
    members = settings["video_action"]["members"]
    for section in (settings["person_detector"], settings["part_detector"], members["swin"]):
        section["image_size"] = 64
        section["training"] |= {"epochs": epochs, "batch_size": 8, "workers": 0}
    members["trajectory"]["training"]["epochs"] = epochs
    members["statistics"]["trees"] = 20
    for method in settings["methods"].values():
        trained = method.get("detector", method)
        if "training" in trained:
            trained["training"]["epochs"] = epochs
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings | changes))
    (folder / "home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "home" / "dagster.yaml")
    return folder


def pipeline(folder: Path) -> Pipeline:
    """The pipeline of such a folder, with its store beside the data."""
    return Pipeline(
        data=str(folder / "data"), recipe_name=str(folder / "recipe.yaml"), store_root=str(folder / "store")
    )


def environment(folder: Path) -> dict[str, str]:
    """What processes that work on the folder need to know."""
    of = pipeline(folder)
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(folder / "home"),
        "DAGSTER_MODULE_NAME": "assets.definitions",
        "TPS_DATA": of.data,
        "TPS_RECIPE": of.recipe_name,
        "TPS_STORE": of.store_root,
    }


def documented(command: str, part: str) -> str:
    """The first line of README.md and docs/ that begins with a command and has this in it."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = (line.strip() for page in pages for line in page.read_text(encoding="utf-8").splitlines())
    return next(line for line in lines if line.startswith(f"{command} ") and part in line)


def heed_interrupts() -> None:
    """Before a service starts: a shell's background job ignores interrupts, and Dagster then ignores SIGTERM, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def dagster_dev(folder: Path) -> Iterator[str]:
    """The UI and the daemon on such a folder; the URL, once it answers. All that was started ends with it."""
    port = free_port()
    command = [Path(sys.executable).with_name("dagster"), "dev", "-w", "workspace.yaml", "-p", str(port)]
    variables = {name: value for name, value in environment(folder).items() if name != "DAGSTER_MODULE_NAME"}
    with (folder / "dev.log").open("a") as log:
        server = psutil.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log, start_new_session=True, preexec_fn=heed_interrupts
        )
        started = []
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info", server)
            started = server.children(recursive=True)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


def _wait_for(url: str, server: psutil.Popen, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, "dagster dev has ended"
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(url)
