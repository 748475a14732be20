"""Voting and the choice by category, on predictions made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import tables
from tps_pipeline.ensemble.by_category import by_category, gain, method_by_category
from tps_pipeline.ensemble.ranking import ranking
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.labels import PARTS

SQUARE = (0, 0, 9, 9)


Row = tuple[str, int, int, tuple[int, int, int, int], str, str, float]


def predictions(*rows: Row) -> pa.Table:
    """Rows of (video, frame, person, person's box, part, state, state's score); a part's box tells whose it is."""
    columns = [
        (video, frame, person, 0.9, *box, part, 0.8, *box, state, score, {state: score})
        for video, frame, person, box, part, state, score in rows
    ]
    return tables.conform(pd.DataFrame(columns, columns=tables.PREDICTIONS.names), tables.PREDICTIONS)


def said(
    state: str,
    *,
    part: str = "head",
    video: str = "v",
    frame: int = 1,
    person: int = 0,
    box: tuple[int, int, int, int] = SQUARE,
    score: float = 0.5,
) -> Row:
    return video, frame, person, box, part, state, score


def ranked(*names: str, mean_psc: tuple[float, ...] | None = None) -> pa.Table:
    psc = mean_psc or [1 - 0.1 * place for place in range(len(names))]
    columns = {
        "method": names,
        "split": ["val"] * len(names),
        "videos": [9] * len(names),
        "score": psc,
        "mean_psc": psc,
    }
    return tables.conform(columns, tables.RANKING)


def vote(*of_methods: list[Row], **settings: Any) -> list[dict[str, Any]]:
    """The rows voted for, methods given from the best to the worst."""
    names = [f"m{place}" for place in range(len(of_methods))]
    order = ranked(*names, mean_psc=settings.pop("mean_psc", None))
    tables_of = {name: predictions(*rows) for name, rows in zip(names, of_methods, strict=True)}
    result = voting(tables_of, order, **settings)
    assert result.schema == tables.PREDICTIONS
    return result.to_pylist()


def states(*of_methods: list[Row], **settings: Any) -> list[str]:
    return [row["state"] for row in vote(*of_methods, **settings)]


def test_the_majority_wins_and_shares_are_of_the_votes():
    (row,) = vote([said("bend")], [said("hold")], [said("turn")], [said("hold")])
    assert (row["state"], row["state_score"]) == ("hold", 0.5)
    assert row["state_scores"] == [("hold", 0.5), ("bend", 0.25), ("turn", 0.25)]


def test_the_better_method_wins_ties():
    assert states([said("bend")], [said("hold")]) == ["bend"]
    assert states([said("turn")], [said("hold")], [said("bend")], [said("bend")], [said("hold")]) == ["hold"]


def test_boxes_and_people_are_those_of_the_best_method():
    moved = (1, 0, 10, 9)
    (row,) = vote([said("bend")], [said("hold", box=moved)], [said("hold", box=moved), said("x", part="hip")])
    assert row["state"] == "hold"
    assert tuple(row[name] for name in tables.BOX) == SQUARE
    assert tuple(row[name] for name in tables.PERSON_BOX) == SQUARE


def test_who_lacks_a_video_a_frame_a_person_or_a_part_has_no_vote():
    best = [
        said("bend", video=video, frame=frame, person=person, box=(x, 0, x + 9, 9), part=part)
        for video, frame, (person, x), part in itertools.product("ab", (1, 6), ((0, 0), (1, 50)), ("head", "hip"))
    ]
    less = [(*row[:5], "hold", 0.5) for row in best]
    lacks = {
        "a video": [row for row in less if row[0] != "a"],
        "a frame": [row for row in less if row[:2] != ("a", 1)],
        "a person": [row for row in less if row[:3] != ("a", 1, 0)],
        "a part": [row for row in less if row[:3] != ("a", 1, 0) or row[4] != "head"],
        "all": [],
    }
    for rows in lacks.values():
        given = {(*row[:3], row[4]) for row in rows}
        voted = vote(best, rows, rows)
        keys = [tuple(row[name] for name in tables.KEYS) for row in voted]
        assert len(voted) == len(best)
        assert [row["state"] for row in voted] == ["hold" if key in given else "bend" for key in keys]


def test_people_are_the_same_above_the_overlap_and_not_at_it():
    at, above = (0, 0, 9, 7), (0, 0, 9, 8)  # 80 and 90 of 100 pixels: both corners belong to a box
    assert states([said("bend")], [said("hold", box=at)], [said("hold", box=at)]) == ["bend"]
    assert states([said("bend")], [said("hold", box=above)], [said("hold", box=above)]) == ["hold"]
    assert states([said("bend")], [said("hold", box=at)], [said("hold", box=at)], iou=0.79) == ["hold"]


def test_a_person_is_one_other_at_most_and_the_one_that_overlaps_most():
    big, nearer, farther = (0, 0, 99, 99), (0, 0, 99, 96), (0, 0, 99, 90)
    two = [said("farther", box=farther), said("nearer", person=1, box=nearer)]
    assert states([said("bend", box=big)], two, two) == ["nearer"]
    # The nearer one is the second's as well, and nearest to it: the first is left with the farther one.
    best = [said("bend", box=big), said("turn", person=1, box=nearer)]
    assert states(best, two, two) == ["farther", "nearer"]
    # Alike in every way: in the order of people.
    alike = [said("first", box=big), said("second", person=1, box=big)]
    assert states([said("a", box=big), said("b", person=1, box=big)], alike, alike) == ["first", "second"]


def test_votes_can_be_weighed():
    one, two, three = [said("bend", score=0.9)], [said("hold", score=0.3)], [said("hold", score=0.4)]
    assert states(one, two, three) == ["hold"]
    assert states(one, two, three, weigh_by="psc", mean_psc=(0.7, 0.3, 0.3)) == ["bend"]
    assert states(one, two, three, weigh_by="psc", mean_psc=(0.5, 0.3, 0.3)) == ["hold"]
    (row,) = vote(one, two, three, weigh_by="state_score")
    assert row["state"] == "bend"
    assert row["state_scores"] == [("bend", pytest.approx(0.9 / 1.6)), ("hold", pytest.approx(0.7 / 1.6))]
    without_scores = ranking(tables.empty(tables.PSC), ["a", "b"], split="val")
    by_psc = voting({"a": predictions(*one), "b": predictions(*two)}, without_scores, weigh_by="psc")
    assert by_psc["state_score"].to_pylist() == [0.5]


def test_one_method_is_its_own_ensemble():
    rows = [said("bend"), said("hold", part="hip")]
    assert states(rows) == ["bend", "hold"]
    assert states([], rows) == []


def test_neither_the_order_nor_the_grouping_of_what_is_given_matters():
    names = ["c", "a", "b", "d"]
    given = {
        name: predictions(*(
            said(f"s{hash_of(name, video, part)}", video=video, part=part) for video in "vw" for part in PARTS
        ))
        for name in names
    }  # fmt: skip
    results = [voting({name: given[name] for name in order}, ranked(*names)) for order in itertools.permutations(names)]
    assert all(result.equals(results[0]) for result in results)
    halves = [
        voting({name: rows.filter(in_video(rows, video)) for name, rows in given.items()}, ranked(*names))
        for video in "vw"
    ]
    assert pa.concat_tables(halves).to_pylist() == results[0].to_pylist()


def hash_of(name: str, video: str, part: str) -> int:
    return (ord(name) * 7 + ord(video) * 5 + PARTS.index(part) * 3) % 3


def in_video(rows: pa.Table, video: str) -> pa.BooleanArray:
    return pa.array([name == video for name in rows["video_id"].to_pylist()], pa.bool_())


Score = tuple[str, str, str, str, float]


def scored(rows: Sequence[Score]) -> pa.Table:
    """Rows of (video, method, split, action, PSC)."""
    columns = pd.DataFrame([(*row, True) for row in rows], columns=tables.PSC.names)
    return tables.conform(columns, tables.PSC)


def test_methods_are_ranked_by_their_score_on_the_split():
    rows = [(f"{split}{video}", method, split, "lunge", psc) for split, method, psc in (
        ("val", "weak", 0.2), ("val", "strong", 0.6), ("train", "weak", 0.9), ("train", "strong", 0.7)
    ) for video in range(3)]  # fmt: skip
    on_val = ranking(scored(rows), ["weak", "unscored", "strong"], split="val").to_pylist()
    assert [(row["method"], row["videos"]) for row in on_val] == [("strong", 3), ("weak", 3), ("unscored", 0)]
    assert on_val[0]["score"] == pytest.approx(0.6)
    on_train = ranking(scored(rows), ["weak", "strong"], split="train")
    assert on_train["method"].to_pylist() == ["weak", "strong"]
    nothing = ranking(tables.empty(tables.PSC), ["b", "a"], split="val")
    assert nothing["method"].to_pylist() == ["b", "a"]


def choice(
    rows: Sequence[Score],
    candidates: Sequence[str] = ("steady", "jumper"),
    *,
    split: str = "val",
    min_videos: int = 2,
    shrink: bool = False,
) -> dict[str, dict[str, Any]]:
    table = method_by_category(scored(rows), candidates, split=split, min_videos=min_videos, shrink=shrink)
    assert table.schema == tables.METHOD_BY_CATEGORY
    return {row["action"]: row for row in table.to_pylist() if row["chosen"]}


def of_two(steady: dict[str, list[float]], jumper: dict[str, list[float]], split: str = "val") -> list[Score]:
    return [
        (f"{split}_{action}_{i}", method, split, action, psc)
        for method, of_action in (("steady", steady), ("jumper", jumper))
        for action, values in of_action.items()
        for i, psc in enumerate(values)
    ]


def test_every_action_gets_its_best_method_and_rare_ones_the_best_of_all():
    steady = {"run": [0.8, 0.8, 0.8], "jump": [0.4, 0.5], "rare": [0.3]}
    jumper = {"run": [0.1, 0.2, 0.3], "jump": [0.7, 0.6], "rare": [0.9]}
    chosen = choice(of_two(steady, jumper))
    assert {action: row["method"] for action, row in chosen.items()} == {
        "run": "steady", "jump": "jumper", "rare": "steady"
    }  # fmt: skip
    assert chosen["jump"]["psc"] == pytest.approx(0.65)
    assert chosen["jump"]["gain"] == pytest.approx(0.2)
    assert chosen["jump"]["gain_error"] == pytest.approx(0.1)  # gains of 0.3 and 0.1
    assert (chosen["run"]["gain"], chosen["run"]["gain_error"]) == (0, 0)
    assert (chosen["rare"]["gain"], chosen["rare"]["gain_error"]) == (0, None)
    assert choice(of_two(steady, jumper), min_videos=1)["rare"]["method"] == "jumper"
    total = gain(method_by_category(scored(of_two(steady, jumper)), ["steady", "jumper"], split="val", min_videos=2))
    assert total == {"gain": pytest.approx(0.4 / 6), "gain_error": pytest.approx(0.1 * 2 / 6)}


def test_shrunk_an_action_gets_another_method_only_for_more_than_chance():
    steady = {"run": [0.8, 0.8, 0.8, 0.8], "jump": [0.5, 0.5], "fall": [0.5, 0.5], "rare": [0.1]}
    jumper = {"run": [0.1, 0.2, 0.3, 0.3], "jump": [0.7, 0.6], "fall": [0.9, 0.2], "rare": [0.9]}
    rows = of_two(steady, jumper)
    assert {a: row["method"] for a, row in choice(rows, min_videos=1).items()} == {
        "run": "steady", "jump": "jumper", "fall": "jumper", "rare": "jumper"
    }  # fmt: skip
    shrunk = choice(rows, min_videos=1, shrink=True)
    # Gains of 0.2 and 0.1 are above their error of 0.05; those of 0.4 and -0.3 are not; of one video there is no error.
    assert {a: row["method"] for a, row in shrunk.items()} == {
        "run": "steady", "jump": "jumper", "fall": "steady", "rare": "steady"
    }  # fmt: skip
    assert shrunk["fall"]["gain"] == 0


def test_the_choice_is_made_on_one_split_only():
    on_val = of_two({"jump": [0.2, 0.2]}, {"jump": [0.6, 0.6]})
    on_train = of_two({"jump": [0.9, 0.9]}, {"jump": [0.7, 0.7]}, split="train")
    assert choice(on_val + on_train)["jump"]["method"] == "jumper"
    assert choice(on_val + on_train, split="train")["jump"]["method"] == "steady"


def test_equal_methods_are_chosen_by_all_videos_and_then_by_order():
    steady, jumper = {"run": [0.5, 0.5], "jump": [0.4, 0.4]}, {"run": [0.6, 0.6], "jump": [0.4, 0.4]}
    assert choice(of_two(steady, jumper))["jump"]["method"] == "jumper"
    assert choice(of_two(steady, steady))["jump"]["method"] == "steady"
    assert choice(of_two(steady, steady), candidates=("jumper", "steady"))["jump"]["method"] == "jumper"


def actions_of(**actions: str) -> pa.Table:
    columns = {"video_id": [*actions], "action": [*actions.values()], "score": [1.0] * len(actions)}
    return tables.conform({**columns, "probabilities": [{}] * len(actions)}, tables.VIDEO_ACTIONS)


def test_a_video_goes_by_its_predicted_action():
    steady = {"run": [0.8, 0.8, 0.8], "jump": [0.4, 0.5]}
    table = method_by_category(
        scored(of_two(steady, {"run": [0.1] * 3, "jump": [0.9, 0.9]})), ["steady", "jumper"], split="val", min_videos=2
    )
    given = {
        name: predictions(*(said(name, video=video, frame=frame) for video in "abc" for frame in (1, 6)))
        for name in ("jumper", "steady")
    }
    actions = actions_of(a="run", b="jump", c="unheard of")
    taken = by_category(given, actions, table)
    assert taken.schema == tables.PREDICTIONS
    expected = {"a": "steady", "b": "jumper", "c": "steady"}
    assert [(row["video_id"], row["frame"], row["state"]) for row in taken.to_pylist()] == [
        (video, frame, state) for video, state in expected.items() for frame in (1, 6)
    ]
    # Without a scored video there is nothing to choose by.
    unknown = method_by_category(tables.empty(tables.PSC), ["jumper", "steady"], split="val")
    assert unknown.num_rows == 0
    assert gain(unknown) == {}
    assert set(by_category(given, actions, unknown)["state"].to_pylist()) == {"jumper"}
