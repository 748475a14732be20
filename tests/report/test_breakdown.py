"""The report's figures by part and state, on an example small enough to count by hand."""

import pandas as pd
import pytest

from tps_pipeline import parsing, tables
from tps_pipeline.report.breakdown import NOT_FOUND, Breakdown, break_down

BOX, AWAY = (0, 0, 99, 99), (500, 0, 599, 99)
ANNOTATED = {"head": "turn", "hip": "sit", "left_arm": "bend", "right_arm": "bend"}


def people(box: tuple[int, int, int, int], states: dict[str, str], names: tuple[tuple[str, ...], ...]) -> pd.DataFrame:
    rows = [{"video_id": "v", "frame": 1, "person": 0, "part": part, "state": state} for part, state in states.items()]
    return pd.DataFrame(rows).assign(**{n: v for name in names for n, v in zip(name, box, strict=True)})


def predict(states: dict[str, str], box: tuple[int, int, int, int] = BOX) -> parsing.Parsing:
    scores = {"person_score": 1.0, "part_score": 1.0, "state_score": 1.0}
    rows = people(box, states, (tables.BOX, tables.PERSON_BOX)).assign(**scores)
    rows["state_scores"] = pd.Series([{}] * len(rows))
    return parsing.predicted(tables.conform(rows, tables.PREDICTIONS), FRAMES)


FRAMES = tables.conform({"video_id": ["v"], "frame": [1], "n_people": [1]}, tables.LABELLED_FRAMES)


@pytest.fixture(scope="module")
def breakdown():
    parts = tables.conform(people(BOX, ANNOTATED, (tables.BOX,)), tables.PARTS)
    persons = tables.conform(people(BOX, {"head": ""}, (tables.BOX,)), tables.PEOPLE)
    methods = {
        "right": predict(ANNOTATED),
        "half": predict({"left_arm": "bend", "right_arm": "lift", "hip": "sit", "left_foot": "step"}),
        "lost": predict(ANNOTATED, AWAY),
        "nobody": parsing.predicted(tables.empty(tables.PREDICTIONS), FRAMES),
    }
    return break_down(parsing.annotated(FRAMES, persons, parts), methods.items())


def test_correctness_by_part_and_by_state(breakdown: Breakdown):
    by_part = breakdown.mean_correctness("part")
    assert by_part.index.tolist() == ["head", "hip", "left_arm", "right_arm"]
    assert by_part["half"].tolist() == [0, 1, 1, 0]
    by_state = breakdown.mean_correctness("state")
    assert by_state.index[0] == "bend"
    assert by_state.loc["bend"].to_dict() == {"right": 1, "half": 0.5, "lost": 0, "nobody": 0, "boxes": 2}


def test_agreement_is_over_what_both_name(breakdown: Breakdown):
    agreement = breakdown.agreement()
    assert agreement.loc["right", "half"] == pytest.approx(2 / 3)
    assert agreement.loc["half", "half"] == 1
    assert agreement.isna().loc["right", "lost"]  # they share no part


def test_disagreement_counts_the_parts_that_methods_differ_on(breakdown: Breakdown):
    by_part = breakdown.disagreement("part")
    assert by_part.index[0] == "right_arm"
    assert by_part.loc["right_arm"].to_dict() == {"boxes": 1, "differ": 1, "some_right": 1, "all_right": 0}
    assert by_part.loc["head", "differ"] == 0
    by_both = breakdown.disagreement("part", "state")
    assert by_both.loc[("left_arm", "bend"), "differ"] == 0


def test_confusion_names_what_was_given_and_what_was_missed(breakdown: Breakdown):
    assert breakdown.confusion("half", "right_arm").loc["bend"].to_dict() == {"bend": 0, "other": 1}
    assert breakdown.confusion("half", "head").loc["turn"].to_dict() == {"turn": 0, NOT_FOUND: 1}
    assert breakdown.confusion("right", "hip").loc["sit"].to_dict() == {"sit": 1}
