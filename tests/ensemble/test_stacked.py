"""The stack and the vote by log-odds, on predictions made by hand and on drawn ones."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import tables
from tps_pipeline.ensemble import conditional_logit, stacking
from tps_pipeline.ensemble.evidence import SUREST
from tps_pipeline.ensemble.stacked import fit, stacked
from tps_pipeline.ensemble.stacking import ACTION, FOLDS, Stacking, fold_of
from tps_pipeline.ensemble.voting import voting
from tps_pipeline.parsing import Parsing, annotated

STATES = ("bend", "lift", "none")
PARTS = ("head", "left_arm", "right_arm")
BOX = (0, 0, 9, 9)
Rows = Mapping[tuple[str, str], Mapping[str, float]]
"""Scores of states by video and part."""


def predictions(rows: Rows) -> pa.Table:
    columns = []
    for (video, part), scores in rows.items():
        ordered = dict(sorted(scores.items(), key=lambda entry: -entry[1]))
        columns.append((video, 1, 0, 0.9, *BOX, part, 0.8, *BOX, next(iter(ordered)), max(scores.values()), ordered))
    return tables.conform(pd.DataFrame(columns, columns=tables.PREDICTIONS.names), tables.PREDICTIONS)


def ranked(*names: str) -> pa.Table:
    scores = [1 - 0.1 * place for place in range(len(names))]
    columns = {"method": names, "split": ["val"] * len(names), "videos": [9] * len(names), "score": scores}
    return tables.conform({**columns, "mean_psc": scores}, tables.RANKING)


def truth_of(states: Mapping[tuple[str, str], str]) -> Parsing:
    videos = sorted({video for video, _ in states})
    box = dict(zip(tables.BOX, BOX, strict=True))
    people = pd.DataFrame([{"video_id": video, "frame": 1, "person": 0, **box} for video in videos])
    parts = pd.DataFrame([
        {"video_id": video, "frame": 1, "person": 0, "part": part, "state": state, **box}
        for (video, part), state in states.items()
    ])  # fmt: skip
    frames = pd.DataFrame({"video_id": videos, "frame": 1, "n_people": 1})
    return annotated(
        tables.conform(frames, tables.LABELLED_FRAMES),
        tables.conform(people, tables.PEOPLE),
        tables.conform(parts, tables.PARTS),
    )


def actions_of(videos: list[str], action: str = "lunge") -> pa.Table:
    columns = {"video_id": videos, "action": [action] * len(videos), "score": [1.0] * len(videos)}
    return tables.conform({**columns, "probabilities": [{action: 1.0}] * len(videos)}, tables.VIDEO_ACTIONS)


def counts(states: Sequence[str] = STATES, parts: Sequence[str] = PARTS) -> pa.Table:
    rows = [("lunge", part, state, 10) for part in parts for state in states]
    return tables.conform(pd.DataFrame(rows, columns=tables.STATE_COUNTS.names), tables.STATE_COUNTS)


VIDEOS = [f"v{i}" for i in range(40)]
NEW = [f"new{i}" for i in range(60)]


class World:
    """Videos in drawn states, and methods that are right about a part with some probability, and say how sure they are.

    A method's accuracy may be given by part.
    """

    def __init__(self, videos: list[str], seed: int, **accuracy: float | Mapping[str, float]) -> None:
        draw = np.random.default_rng(seed)
        self.states = {(video, part): str(draw.choice(STATES)) for video in videos for part in PARTS}
        self.predictions = {
            name: predictions({
                key: self.said(draw, state, of[key[1]] if isinstance(of, Mapping) else of)
                for key, state in self.states.items()
            })
            for name, of in accuracy.items()
        }  # fmt: skip
        self.truth, self.actions = truth_of(self.states), actions_of(videos)

    @staticmethod
    def said(draw: np.random.Generator, state: str, accuracy: float) -> dict[str, float]:
        right = draw.random() < accuracy
        named = state if right else str(draw.choice([other for other in STATES if other != state]))
        sure = draw.uniform(0.6, 0.95) if right else draw.uniform(0.4, 0.7)
        return {each: float(sure if each == named else (1 - sure) / 2) for each in STATES}

    def right(self, table: pa.Table) -> float:
        rows = table.select(["video_id", "part", "state"]).to_pylist()
        return float(np.mean([row["state"] == self.states[row["video_id"], row["part"]] for row in rows]))

    def fit(self, *names: str) -> Stacking:
        return fit(self.predictions, ranked(*names), self.actions, counts(), self.truth, split="val")

    def stacked(self, learned: Stacking, *names: str, learned_from: bool = False) -> pa.Table:
        ranking = ranked(*names)
        made = stacked(self.predictions, ranking, self.actions, counts(), learned.weights, learned_from=learned_from)
        assert made.schema == tables.PREDICTIONS
        return made


KNOWS_HEADS = {"head": 0.95, "left_arm": 0.4, "right_arm": 0.4}
KNOWS_ARMS = {"head": 0.4, "left_arm": 0.85, "right_arm": 0.85}


def test_methods_that_know_different_parts_are_better_together():
    names = ("arms", "heads")
    seen, new = (World(videos, seed, arms=KNOWS_ARMS, heads=KNOWS_HEADS) for seed, videos in enumerate((VIDEOS, NEW)))
    learned = seen.fit(*names)
    (gain,) = learned.gain.to_pylist()
    assert gain["used"]
    assert (gain["method"], gain["parts"]) == ("arms", 120)
    assert gain["right"] > gain["right_of_method"] == pytest.approx(seen.right(seen.predictions["arms"]))
    best = max(new.right(new.predictions[name]) for name in names)
    assert new.right(new.stacked(learned, *names)) > best + 0.1
    assert new.right(voting(new.predictions, ranked(*names))) < best + 0.1
    weights = learned.weights.to_pandas().query("fold.isna() and member.notna()")
    of_part = weights.pivot(index="part", columns="member", values="weight")
    assert of_part.heads["head"] > of_part.arms["head"]
    assert of_part.arms["left_arm"] > of_part.heads["left_arm"]
    assert of_part.T["left_arm"].equals(of_part.T["right_arm"])  # mirror images learn together
    members = learned.members.to_pandas().astype({"member": str}).set_index("member")
    assert members["share"].sum() == pytest.approx(1)
    assert (members.reindex(list(names))[["right", "loss"]].to_numpy() > 0.05).all()  # neither can be done without


@pytest.mark.parametrize("seed", range(5))
def test_on_held_out_videos_it_is_never_worse_than_the_best_single_method(seed: int):
    names = ("good", "noise", "other")
    world = World(VIDEOS[: 6 + 8 * seed], seed, good=0.9, noise=0.34, other=0.5)
    learned = world.fit(*names)
    (gain,) = learned.gain.to_pylist()
    own = world.stacked(learned, *names, learned_from=True)
    best = max(world.right(world.predictions[name]) for name in names)
    assert world.right(own) >= best
    assert world.right(own) == pytest.approx(gain["right"])
    if not gain["used"]:
        assert own["state"].to_pylist() == world.predictions[gain["method"]]["state"].to_pylist()
        assert learned.weights.to_pandas()["member"].unique().tolist() == [gain["method"]]


def test_a_method_that_is_too_sure_is_calmed_by_silence_not_by_one_who_guesses():
    rng, n = np.random.default_rng(0), 400
    labels = rng.integers(3, size=n)
    said = np.where(rng.random(n) < 0.75, labels, (labels + 1) % 3)  # three in four are right
    features = np.stack([9.0 * np.eye(3)[said], rng.normal(0, 1.5, (n, 3))])
    picks, losses = stacking.pick({"head": stacking.Lesson(features, labels, np.zeros(n, np.int64))})
    silence = len(features)
    assert silence in picks[: 1 + int(np.argmin(losses))]
    assert picks.count(1) < picks.count(silence)


def test_a_stack_of_one_method_is_that_method():
    world = World(VIDEOS, 0, good=0.7)
    learned = world.fit("good")
    assert not learned.gain["used"].to_pylist()[0]
    for learned_from in (False, True):
        made = world.stacked(learned, "good", learned_from=learned_from)
        assert (
            made.drop_columns("state_scores")
            .drop_columns("state_score")
            .equals(world.predictions["good"].drop_columns("state_scores").drop_columns("state_score"))
        )
        shares = [sum(share for _, share in row["state_scores"]) for row in made.to_pylist()]
        assert np.allclose(shares, 1)


def test_what_a_video_is_given_does_not_know_its_labels(monkeypatch: pytest.MonkeyPatch):
    """A method that has memorised a video's labels is not rewarded for it there: other videos say what it is worth."""
    monkeypatch.setattr(stacking, "STRENGTHS", (3.0,))  # one choice for all videos: that alone they share
    monkeypatch.setattr(stacking, "STEPS", (1.0,))
    names = ("arms", "heads")
    world = World(VIDEOS, 0, arms=KNOWS_ARMS, heads=KNOWS_HEADS)
    before = world.fit(*names)
    fold = fold_of(VIDEOS[0])
    for row in world.predictions["arms"].to_pylist():
        if row["video_id"] == VIDEOS[0]:
            world.states[row["video_id"], row["part"]] = row["state"]
    world.truth = truth_of(world.states)
    after = world.fit(*names)
    assert before.gain["used"].to_pylist() == after.gain["used"].to_pylist() == [True]
    rows = [learned.weights.to_pandas() for learned in (before, after)]
    assert rows[0][rows[0].fold == fold].equals(rows[1][rows[1].fold == fold])
    assert not rows[0][rows[0].fold.isna()].equals(rows[1][rows[1].fold.isna()])


def test_neither_the_order_nor_the_grouping_of_what_is_given_matters():
    names = ("arms", "heads", "noise")
    world = World(VIDEOS, 1, arms=KNOWS_ARMS, heads=KNOWS_HEADS, noise=0.34)
    learned, again = world.fit(*names), world.fit(*names)
    given = dict(world.predictions)
    world.predictions = dict(reversed(given.items()))
    other = world.fit(*names)
    for name in ("weights", "members", "gain"):
        assert getattr(learned, name).equals(getattr(again, name))
        assert getattr(learned, name).equals(getattr(other, name))
    whole = world.stacked(learned, *names, learned_from=True)
    halves = []
    for videos in (sorted(VIDEOS)[:20], sorted(VIDEOS)[20:]):
        world.predictions = {
            name: table.filter(pa.array([v in videos for v in table["video_id"].to_pylist()]))
            for name, table in given.items()
        }
        halves.append(world.stacked(learned, *names, learned_from=True))
    assert pa.concat_tables(halves).to_pylist() == whole.to_pylist()


def test_without_annotated_videos_the_best_method_stands_for_it():
    world = World(VIDEOS[:2], 0, good=0.7, other=0.5)
    none = {name: table.slice(0, 0) for name, table in world.predictions.items()}
    nothing = annotated(*(tables.empty(s) for s in (tables.LABELLED_FRAMES, tables.PEOPLE, tables.PARTS)))
    empty = tables.empty(tables.VIDEO_ACTIONS)
    learned = fit(none, ranked("good", "other"), empty, counts(), nothing, split="val")
    (gain,) = learned.gain.to_pylist()
    assert (gain["parts"], gain["used"], gain["method"]) == (0, False, "good")
    assert learned.members.num_rows == 0
    made = world.stacked(learned, "good", "other")
    assert made["state"].to_pylist() == world.predictions["good"]["state"].to_pylist()


def test_parts_that_training_videos_lack_keep_the_best_method_s_states():
    world = World(VIDEOS, 1, arms=KNOWS_ARMS, heads=KNOWS_HEADS)
    known = counts(parts=("left_arm", "right_arm"))
    ranking = ranked("arms", "heads")
    learned = fit(world.predictions, ranking, world.actions, known, world.truth, split="val")
    made = stacked(world.predictions, ranking, world.actions, known, learned.weights).to_pandas()
    own = world.predictions["arms"].to_pandas()
    heads = made["part"] == "head"
    assert made[heads]["state_scores"].tolist() == own[heads]["state_scores"].tolist()
    nothing = tables.empty(tables.STATE_COUNTS)
    learned = fit(world.predictions, ranking, world.actions, nothing, world.truth, split="val")
    kept = stacked(world.predictions, ranking, world.actions, nothing, learned.weights)
    assert kept["state"].to_pylist() == world.predictions["arms"]["state"].to_pylist()


def test_the_action_s_states_count():
    """Methods that cannot tell, and an action that is always in one state: its training videos tell."""
    world = World(VIDEOS, 5, good=0.5, other=0.45)
    world.states = dict.fromkeys(world.states, "lift")
    world.truth = truth_of(world.states)
    lifted = counts().to_pandas().assign(boxes=lambda rows: 1 + 50 * (rows.state == "lift"))
    known = tables.conform(lifted, tables.STATE_COUNTS)
    ranking = ranked("good", "other")
    learned = fit(world.predictions, ranking, world.actions, known, world.truth, split="val")
    assert ACTION in learned.members["member"].to_pylist()
    made = stacked(world.predictions, ranking, world.actions, known, learned.weights, learned_from=True)
    assert world.right(made) == 1


def odds(score: float) -> float:
    sure = min(max(score, SUREST), 1 - SUREST)
    return math.log(sure / (1 - sure))


def test_the_vote_by_log_odds_is_their_mean_over_who_knows_the_part():
    first = {("v", "head"): {"bend": 0.5, "none": 0.4}, ("v", "left_arm"): {"bend": 1.0}}
    second = {("v", "head"): {"none": 0.7, "lift": 0.2, "bend": 0.1}}
    given = {"first": predictions(first), "second": predictions(second)}
    head, arm = voting(given, ranked("first", "second"), weigh_by="log_odds").to_pylist()
    # The first leaves a tenth for what it does not name.
    logits = {
        "bend": (odds(0.5) + odds(0.1)) / 2,
        "lift": (odds(0.1) + odds(0.2)) / 2,
        "none": (odds(0.4) + odds(0.7)) / 2,
    }
    total = sum(math.exp(logit) for logit in logits.values())
    assert head["state"] == "none"
    assert dict(head["state_scores"]) == {
        state: pytest.approx(math.exp(logit) / total, rel=1e-5) for state, logit in logits.items()
    }
    assert [state for state, _ in head["state_scores"]] == ["none", "bend", "lift"]
    assert arm["state"] == "bend"


def test_the_regression_is_at_the_optimum_of_its_loss():
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(2, 30, 3)), draw.integers(0, 3, 30)
    prior, strength = np.array([0.5, 0.2]), 3.0
    weights, bias = conditional_logit.fit(features, labels, prior=prior, strength=strength)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        total = strength / 2 * (sum((weights - prior) ** 2) + sum(bias**2))
        for row, label in enumerate(labels):
            logits = [sum(weights * features[:, row, state]) + bias[state] for state in range(3)]
            total -= logits[label] - math.log(sum(math.exp(logit) for logit in logits))
        return total

    here = loss(weights, bias)
    for step in np.eye(5) * 1e-2:
        for sign in (1, -1):
            assert loss(weights + sign * step[:2], bias + sign * step[2:]) > here
    kept, none = conditional_logit.fit(features[:, :0], labels[:0], prior=prior, strength=strength)
    assert kept.tolist() == prior.tolist()
    assert none.tolist() == [0, 0, 0]


def test_a_video_s_fold_is_told_by_its_name_alone():
    assert {fold_of(video) for video in VIDEOS} == set(range(FOLDS))
    assert fold_of("v0") == fold_of("v0")
