"""Learning and using apart: what inference reads leaves networks alone, and entries that train alike share one."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.run import materialize
from tests import workplace
from tps_pipeline import recipe
from tps_pipeline.graph import Run
from tps_pipeline.graph.plan import plan
from tps_pipeline.graph.work import work_of
from tps_pipeline.lineage import Lineage
from tps_pipeline.recipe import Recipe
from tps_pipeline.recipe.section import Section
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store

KNOBS = {
    "person_detector.inference": ({"precision": "bf16-mixed"}, "person_detector", "detections/two_stage"),
    "part_detector.inference": ({"canvas": "rectangle"}, "part_detector", "detections/two_stage"),
    "methods.instance_pcp.inference": ({"person_threshold": 0.3}, "instance_pcp", "predictions/instance_pcp"),
    "methods.segment_level.inference": ({"key_frame_stride": 10}, "segment_level", "predictions/segment_level"),
    "methods.part_state_detector.inference": (
        {"choice": "vote"},
        "part_state_detector",
        "predictions/part_state_detector",
    ),
    "methods.part_state_detector.detector.inference": (
        {"canvas": "rectangle"},
        "part_state_detector",
        "predictions/part_state_detector",
    ),
    "methods.part_trajectory.inference": ({"part_threshold": 0.2}, "part_trajectory", "predictions/part_trajectory"),
}
"""What inference reads: another value, whose network it is, and what is made with it."""


def changed(name: str, values: dict[str, Any]) -> Recipe:
    """The demo's recipe with other values at a dotted name."""
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    at = content
    for step in name.split("."):
        at = at.setdefault(step, {})
    at.update(values)
    return Recipe.model_validate(content)


@pytest.mark.parametrize("name", KNOBS)
def test_what_inference_reads_makes_no_network_stale(name: str):
    values, network, used_by = KNOBS[name]
    demo, other = recipe.load("demo"), changed(name, values)
    for step in graph_of(demo).steps:
        same = demo.digest_of(step.sections) == other.digest_of(step.sections)
        assert same == (step.name not in (used_by, "report")), step.name
        assert step.learner is None or same
    assert f"checkpoints/{network}" in {step.name for step in graph_of(demo).steps}


def test_what_training_reads_makes_its_network_stale_and_nothing_beside():
    demo, other = recipe.load("demo"), changed("methods.instance_pcp.training", {"learning_rate": 0.1})
    stale = [s.name for s in graph_of(demo).steps if demo.digest_of(s.sections) != other.digest_of(s.sections)]
    assert stale == ["checkpoints/instance_pcp", "report"]


def test_a_new_setting_with_a_neutral_default_changes_no_digest():
    class Newer(recipe.TwoStage):
        knob: float = 0.0
        part: Section = Section()

    demo = recipe.load("demo")
    newer = Newer.model_validate(demo.two_stage.model_dump())
    assert demo.model_copy(update={"two_stage": newer}).digest_of(["two_stage"]) == demo.digest_of(["two_stage"])
    turned = newer.model_copy(update={"knob": 1.0})
    assert demo.model_copy(update={"two_stage": turned}).digest_of(["two_stage"]) != demo.digest_of(["two_stage"])


def test_a_store_of_the_time_before_members_keeps_its_network():
    """The digests that a recipe with the one network's settings had, and its checkpoint's name, stay what they were."""
    content = yaml.safe_load((recipe.RECIPES / "bench.yaml").read_text())
    content["video_action"] = content["video_action"]["members"]["swin"]
    before, now = Recipe.model_validate(content), recipe.load("bench")
    assert before == now
    step = graph_of(now).step("checkpoints/video_action")
    assert now.digest_of(step.sections) == "f9db391ea8c081f8"
    assert now.digest_of_0_1(("video_action", "seed")) == "44ad4426f8c26e0c"


def test_a_recipe_of_version_0_1_means_the_same():
    """Settings of inference stood beside those of training; a file may still have them there, but not twice."""
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    new = Recipe.model_validate(content)
    part_state = content["methods"]["part_state_detector"]
    part_state |= part_state.pop("inference")
    content["person_detector"] |= {"canvas": "square"}
    assert Recipe.model_validate(content) == new
    part_state["inference"] = {"box_threshold": 0.5}
    with pytest.raises(ValueError, match="box_threshold: given beside `inference` and in it"):
        Recipe.model_validate(content)


def test_the_paper_trains_a_network_once_that_several_entries_use(tmp_path: Path):
    paper = recipe.load("paper")
    networks = plan(Run(paper, tmp_path, Lineage(Store(tmp_path))), graph_of(paper)).networks()
    assert ["instance_pcp", "instance_pcp_sure", "instance_pcp_sure_again"] in networks
    assert sum(map(len, networks)) == 18
    assert len(networks) == 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store finished by a recipe two of whose entries differ in a threshold of inference only."""
    training = {"epochs": 1, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.001}
    entry = {"kind": "part_trajectory", "training": training}
    methods = {
        "statistics": {"kind": "video_category"},
        "trajectory": entry,
        "trajectory_sure": entry | {"inference": {"part_threshold": 0.9}},
    }
    made = workplace.make(tmp_path_factory.mktemp("sharing"), methods=methods, submission="voting")
    with dg.DagsterInstance.from_config(str(made / "home")) as instance:
        materialize(workplace.pipeline(made), instance)
    return made


@pytest.mark.whole
def test_entries_that_train_alike_share_one_checkpoint(folder: Path):
    records = Lineage(Store(folder / "store")).latest().records
    first, second = (records[f"checkpoints/{name}", None] for name in ("trajectory", "trajectory_sure"))
    assert first.path == second.path
    assert first.data_version == second.data_version
    assert len(list((folder / "store" / "checkpoints").glob("*/*/model.safetensors"))) == 6  # five others, this once
    used = [records[f"predictions/{name}", "test-000"] for name in ("trajectory", "trajectory_sure")]
    assert used[0].recipe_digest != used[1].recipe_digest


@pytest.mark.whole
def test_a_store_of_version_0_1_stays_as_it_is(folder: Path):
    """Records of that version have other digests and know of no inference parts: nothing is trained again for that."""
    lineage = Lineage(Store(folder / "store"))
    settings = workplace.pipeline(folder).recipe
    run = Run(settings, folder / "data", lineage)
    sections = {"checkpoints/trajectory": ("methods.trajectory", "seed"), "detections/two_stage": ("two_stage",)}
    sections |= {"predictions/trajectory": ("methods.trajectory",), "frames": ("frames",)}
    latest, graph = lineage.latest(), graph_of(settings)
    for name, old in sections.items():
        step = graph.step(name)
        (output,) = step.makes
        shard = "test-000" if step.sharded else None
        record = latest.records[output.at(shard)]
        before = vars(record) | {"recipe_sections": old, "recipe_digest": settings.digest_of_0_1(old)}
        work = work_of(run, step, output, shard, latest)
        assert work.means_the_same(type(record)(**before))
        other = settings.model_copy(update={"seed": 1, "two_stage": recipe.TwoStage(), "frames": recipe.Frames(
            jpeg_quality=5), "methods": {"trajectory": settings.methods["statistics"]}})  # fmt: skip
        assert not work.means_the_same(type(record)(**(before | {"recipe_digest": other.digest_of_0_1(old)})))
