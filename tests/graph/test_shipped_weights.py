"""Weights that come with the package are there for whatever asks for them first: no command has to be given before."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.workplace import make as workplace
from tests.workplace import pipeline
from tps_pipeline.errors import StoreError
from tps_pipeline.graph import ingestion, make
from tps_pipeline.graph.making import workspace_of
from tps_pipeline.lineage import Lineage
from tps_pipeline.outputs import weights
from tps_pipeline.stages import graph_of

pytestmark = pytest.mark.whole


def test_a_network_that_begins_with_shipped_weights_is_trained_in_a_new_store(tmp_path: Path) -> None:
    folder = workplace(tmp_path, videos=4)
    settings = yaml.safe_load((folder / "recipe.yaml").read_text())
    section = settings["person_detector"]
    section["network"] = {"variant": "tiny", "width": 0.25, "weights": "people"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    run = pipeline(folder).run()
    graph = graph_of(run.recipe)
    ingestion.take_in(run)
    for name in ("videos", "annotations", "frames", "datasets/person", "checkpoints/person_detector"):
        step = next(step for step in graph.steps if step.name == name)
        if step.learner:
            with pytest.raises(StoreError, match="weights/people"):
                workspace_of(run, step)  # to ask where it will learn, for what is shown of it, puts nothing there
        make(run, step, run.lineage.latest().shards(*graph.splits[name]) if step.sharded else ())
    assert not workspace_of(run, graph.step("checkpoints/person_detector")).exists()  # it is there now, and told
    (record,) = [each for each in Lineage(run.store).records() if each.asset == "checkpoints/person_detector"]
    assert weights("people").key in {each.asset for each in record.inputs}
    assert "people" in (Path(run.store.local(record.path)) / "weights.json").read_text()
