"""What a run that was killed leaves behind is no part of what the next one makes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workplace import make as workplace
from tests.workplace import pipeline
from tps_pipeline.graph import Run, ingestion, make
from tps_pipeline.graph.making import workspace_of
from tps_pipeline.learners import pretrained
from tps_pipeline.lineage import Record
from tps_pipeline.stages import graph_of

pytestmark = pytest.mark.whole

NETWORK = "checkpoints/person_detector"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace with all that the person detector learns from."""
    folder = workplace(tmp_path_factory.mktemp("ready") / "here", videos=4)
    run = pipeline(folder).run()
    ingestion.take_in(run)
    pretrained.take_shipped("people", run.store)
    for name in ("videos", "annotations", "frames", "datasets/person"):
        made(run, name)
    return folder


def made(run: Run, name: str) -> dict[str, Record]:
    graph = graph_of(run.recipe)
    step = graph.step(name)
    outcomes = make(run, step, run.lineage.latest().shards(*graph.splits[name]) if step.sharded else ())
    return outcomes[step.makes[0]].made


def half_written(resume: Path) -> None:
    resume.with_name(f".{resume.name}.4711.partial").write_bytes(b"half")


def damaged(resume: Path) -> None:
    resume.write_bytes(b"half")


@pytest.mark.parametrize("leave", [half_written, damaged])
def test_a_network_is_the_same_after_a_training_that_was_cut_off(
    ready: Path, tmp_path: Path, leave: Callable[[Path], None]
) -> None:
    versions, names = [], []
    for disturbed in (False, True):
        folder = shutil.copytree(ready, tmp_path / f"{disturbed}")
        run = pipeline(folder).run()
        workspace = workspace_of(run, graph_of(run.recipe).step(NETWORK))
        if disturbed:
            workspace.mkdir(parents=True)
            leave(workspace / "resume.ckpt")
        (record,) = made(run, NETWORK).values()
        versions.append(record.data_version)
        names.append(sorted(path.name for path in run.store.local(record.path).iterdir()))
    assert versions[0] == versions[1]
    assert names[0] == names[1]
