"""All that learns has one shape: from it follow checkpoints, what they descend from, promotion and sharing."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tps_pipeline import device, recipe, tables
from tps_pipeline.graph import Run, make
from tps_pipeline.graph.step import Step
from tps_pipeline.learners import Learner, learners_of
from tps_pipeline.lineage import Lineage, Record, Work
from tps_pipeline.outputs import ACTIONS, SHARDS, Output, candidate, checkpoint
from tps_pipeline.reading import Reads
from tps_pipeline.stages.checkpoints import step_of
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS


@dataclass(frozen=True)
class Counter:
    """A learner of our own that nothing in the project knows: it counts videos, and is as good as it was told."""

    worth: float
    name: str = "counter"
    section: str = "two_stage"
    description: str = "Counts."
    figure: ClassVar[str] = "right"
    version: str = "1"
    weights: None = None
    alone: bool = False
    fit_reads: tuple[Output, ...] = (ACTIONS,)
    evaluate_reads: tuple[Output, ...] = (ACTIONS,)

    @property
    def code(self):
        return self.fit

    def fit(self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None):
        device.note("cuda (A)", "cuda (A)")
        counted = len(train(ACTIONS)), len(val(ACTIONS))
        (folder / WEIGHTS).write_text(f"{self.worth} {counted} {seed}")
        return {"videos": float(sum(counted))}

    def evaluate(self, checkpoint: Path, val: Reads) -> float:
        assert len(val(ACTIONS)) == 1
        return float((checkpoint / WEIGHTS).read_text().split()[0])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(recipe.load("demo"), tmp_path, Lineage(Store(tmp_path / "store")), retraining=True)
    for shard in ("train-000", "val-000"):
        add(made, shard)
    return made


def add(run: Run, shard: str, content: str = "a") -> None:
    table = tables.conform({"video_id": [shard], "action": [content]}, tables.ACTIONS)
    for output in (SHARDS, ACTIONS):
        written = run.store.write(output.path(shard), table)
        run.lineage.record(Work(output.key, shard, (), (), ""), written, run_id="")


def newest(run: Run, output: Output) -> Record | None:
    return run.lineage.latest().records.get(output.at())


def trained(run: Run, learner: Learner, **options: Any) -> Record:
    make(run, step_of(learner), **options)
    record = newest(run, checkpoint(learner.name))
    assert record is not None
    return record


def test_a_checkpoint_follows_from_the_learner_alone(run: Run):
    record = trained(run, Counter(0.5))
    assert (run.store.local(record.path) / WEIGHTS).read_text() == "0.5 (1, 1) 0"
    assert record.metrics == {"videos": 2.0}
    assert [i.key for i in record.inputs] == [ACTIONS.at("train-000"), ACTIONS.at("val-000")]
    assert record.device == "2 x cuda (A)"
    assert trained(run, Counter(0.5)) == record  # up to date


def test_new_shards_are_a_reason_only_in_a_retraining(run: Run):
    usual = replace(run, retraining=False)
    record = trained(usual, Counter(0.5))
    add(run, "train-001")
    assert trained(usual, Counter(0.6)) == record
    assert trained(run, Counter(0.6)) != record
    add(run, "train-000", "b")
    assert trained(usual, Counter(0.1)).inputs[0].data_version != record.inputs[0].data_version


@pytest.mark.parametrize(("worth", "refused"), [(0.49, True), (0.5, False), (0.6, False)])
def test_only_a_network_that_is_not_worse_takes_the_current_one_s_place(run: Run, worth: float, refused: bool):
    current = trained(run, Counter(0.5))
    add(run, "train-001")
    said: list[str] = []
    told = replace(run, warn=said.append)
    after = trained(told, Counter(worth))
    aside = newest(run, candidate("counter"))
    assert (after == current) == refused == (aside is not None)
    if aside:
        why = "the current counter stays: right 0.4900 of the new one, 0.5000 of the current one, on val-000"
        assert said == [why]
        assert (aside.metrics["before"], aside.metrics["after"], aside.device) == (0.5, 0.49, "2 x cuda (A)")
        assert run.store.exists(aside.path)
        trained(told, Counter(0.9))  # the same work: it is not done again
        assert "was refused" in said[1]
        assert newest(run, candidate("counter")) == aside
        add(run, "train-002")
        assert trained(told, Counter(0.9)) != current


def test_without_validation_shards_the_current_network_stays(tmp_path: Path):
    run = Run(recipe.load("demo"), tmp_path, Lineage(Store(tmp_path / "store")), retraining=True)
    add(run, "train-000")
    current = trained(run, Counter(0.5))
    add(run, "train-001")
    said: list[str] = []
    assert trained(replace(run, warn=said.append), Counter(1.0)) == current
    assert said == ["the current counter stays: no validation shard has all that it is compared on"]


def test_who_trains_the_same_shares_it_and_is_judged_by_itself(run: Run):
    first, second = trained(run, Counter(0.5)), trained(run, Counter(0.1, name="other"))
    assert first.path == second.path  # the other never learned: it would be worth 0.1
    assert (second.metrics, second.device) == (first.metrics, first.device)
    add(run, "train-001")
    retrained = trained(run, Counter(0.4))
    assert retrained == first  # worse, and put aside
    other = trained(run, Counter(0.1, name="other"))
    assert other == second
    aside = [newest(run, candidate(name)) for name in ("counter", "other")]
    assert None not in aside
    assert len({record.path for record in aside if record}) == 1


def test_what_is_forced_leaves_what_others_share_as_they_know_it(run: Run):
    first, second = trained(run, Counter(0.5)), trained(run, Counter(0.5, name="other"))
    forced = trained(run, Counter(0.7), force=True)
    assert forced.path != second.path == first.path
    assert (run.store.local(second.path) / WEIGHTS).read_text().startswith("0.5")


def test_every_learner_of_a_recipe_says_what_it_needs():
    for name in ("demo", "paper"):
        settings = recipe.load(name)
        for learner in learners_of(settings):
            step: Step = step_of(learner)
            assert settings.setting(learner.section) is not None
            assert step.sections == (learner.section, "seed")
            assert {output.key for output in step.reads} >= {output.key for output in learner.fit_reads}
            assert any(output.key.startswith("weights/") for output in step.reads) == bool(learner.weights)
            assert learner.figure in ("AP", "accuracy", "mean PSC")
    weights = {learner.name: learner.weights for learner in learners_of(recipe.load("paper"))}
    assert weights["part_state_detector"] == weights["person_detector"] == "yolov7x_coco"
    assert weights["video_category"] is weights["part_trajectory"] is None
