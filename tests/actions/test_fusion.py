"""Several members' say becomes one; weights found on held-out videos; how often each is right."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tps_pipeline import recipe, tables
from tps_pipeline.actions import fusion
from tps_pipeline.actions.probabilities import as_table

NAMES = ["run", "sit", "wave"]


def said(*rows: list[float], names: list[str] = NAMES) -> pa.Table:
    return as_table([f"v{i:03d}" for i in range(len(rows))], names, list(rows))


def shown(*actions: str) -> pa.Table:
    videos = [f"v{i:03d}" for i in range(len(actions))]
    return tables.conform({"video_id": videos, "action": list(actions)}, tables.ACTIONS)


def probabilities(table: pa.Table) -> dict[str, float]:
    """Of the first video."""
    return dict(table.to_pylist()[0]["probabilities"])


def test_the_mean_of_members_names_what_they_agree_on():
    found = fusion.fuse({"swin": said([0.5, 0.4, 0.1]), "trajectory": said([0.1, 0.5, 0.4])})
    assert found["action"].to_pylist() == ["sit"]
    pooled = np.sqrt([0.05, 0.2, 0.04])
    assert probabilities(found) == pytest.approx(dict(zip(NAMES, pooled / pooled.sum(), strict=True)))


def test_a_single_member_is_left_as_it_is():
    alone = said([0.5, 0.4, 0.1], [0.2, 0.2, 0.6])
    assert fusion.fuse({"swin": alone}) is alone


def test_a_member_that_does_not_know_an_action_does_not_rule_it_out():
    members = {"swin": said([0.6, 0.4], names=["run", "sit"]), "trajectory": said([0.001, 0.001, 0.998])}
    assert probabilities(fusion.fuse(members))["wave"] > 0.4


def test_weights_are_those_under_which_what_is_annotated_is_likeliest():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    doubtful = np.full((600, 3), 0.3)
    doubtful[np.arange(600), np.where(rng.random(600) < 0.9, true, (true + 1) % 3)] = 0.4
    members = {"trajectory": said(*doubtful.tolist()), "swin": said(*rng.dirichlet([1, 1, 1], 600).tolist())}
    actions = shown(*(NAMES[i] for i in true))
    rows = fusion.fitted_weights(members, actions).to_pylist()
    weights = {row["member"]: row["weight"] for row in rows}
    assert weights["trajectory"] > 3  # it is right nine times out of ten, and says four
    assert weights["swin"] < 0.2

    def log_loss(**changes: float) -> float:
        tried = weights | changes
        table = tables.conform({"member": list(tried), "weight": list(tried.values())}, tables.ACTION_WEIGHTS)
        found = fusion.fuse(members, table).to_pylist()
        return -float(
            np.mean([np.log(dict(row["probabilities"])[NAMES[i]]) for row, i in zip(found, true, strict=True)])
        )

    least = log_loss()
    assert least < min(log_loss(trajectory=weights["trajectory"] * by) for by in (0.8, 1.25))
    assert least < log_loss(swin=weights["swin"] + 0.2)


def test_few_videos_do_not_make_a_member_surer_than_members_of_its_kind_are():
    """Whoever was right in all of them would count without bound, and be heard alone where it is wrong."""
    sure, doubtful = said(*[[0.98, 0.01, 0.01]] * 8), said(*[[0.4, 0.3, 0.3]] * 8)
    found = fusion.fitted_weights({"swin": sure, "statistics": doubtful}, shown(*["run"] * 8))
    weights = {row["member"]: row["weight"] for row in found.to_pylist()}
    assert 0.4 < weights["swin"] < 1
    assert 1.4 < weights["statistics"] < 4


def test_without_annotated_videos_all_weights_are_the_usual_ones():
    none = said()
    found = fusion.fitted_weights({"swin": none, "statistics": none}, shown())
    assert found.to_pydict() == {"member": ["swin", "statistics"], "weight": [0.5, 1.5]}


def test_every_member_has_a_usual_weight():
    assert {*recipe.ActionMembers.model_fields} == {*fusion.USUAL}


def test_each_member_s_accuracy_and_that_of_all():
    members = {"swin": said([0.9, 0.1, 0], [0.8, 0.1, 0.1]), "together": said([0.9, 0.1, 0], [0.1, 0.1, 0.8])}
    found = fusion.accuracy(members, shown("run", "wave"), split="val").to_pylist()
    assert [(row["member"], row["videos"], row["accuracy"]) for row in found] == [("swin", 2, 0.5), ("together", 2, 1)]
    assert fusion.accuracy(members, shown(), split="test").num_rows == 0
