"""The Dagster UI as people use it: open the graph, materialize one shard of one asset, look at what came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workplace import ROOT, dagster_dev, environment, make, pipeline
from tps_pipeline.outputs import FRAMES
from tps_pipeline.video.frames import FrameFile

TIMEOUT = 180_000
"""Milliseconds."""


DAGSTER = str(Path(sys.executable).with_name("dagster"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all that the frames of one shard are extracted from, and no frames."""
    folder = make(tmp_path_factory.mktemp("ui"))
    annotations = 'key:"videos" or key:"annotations/*"'
    for options in (["--select", "shards"], ["--select", annotations, "--partition", "train-000"]):
        command = [DAGSTER, "asset", "materialize", *options]
        subprocess.run(command, cwd=ROOT, env=environment(folder), check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def url(workplace: Path) -> Iterator[str]:
    """Where `dagster dev` serves the workplace."""
    with dagster_dev(workplace) as url:
        yield url


def test_a_shard_is_materialized_from_the_graph_and_shows_its_picture(chromium: Any, url: str, workplace: Path) -> None:
    context = chromium.new_context(viewport={"width": 1400, "height": 1100})
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT)

    tab.goto(f"{url}/locations/tps/asset-groups/source")
    tab.get_by_text("25% filled").first.wait_for()  # videos: one of four shards
    assert tab.get_by_text("shards", exact=True).first.is_visible()

    tab.goto(f"{url}/assets/frames?view=partitions")
    tab.get_by_text("Missing (4)").wait_for()
    tab.get_by_text("train-000").first.click()
    tab.get_by_role("button", name="Materialize").first.click()
    tab.get_by_role("dialog").get_by_role("button", name="Launch 1 run").click()
    tab.get_by_text("Materialized (1)").wait_for()
    assert FrameFile(pipeline(workplace).store.local(FRAMES.path("train-000"))).videos

    tab.goto(f"{url}/assets/frames?view=partitions&partition=train-000")
    tab.get_by_text("[Show Markdown]").click()
    picture = tab.get_by_role("dialog").locator("img")
    picture.wait_for()
    assert picture.get_attribute("src").startswith("data:image/jpeg")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    context.close()
