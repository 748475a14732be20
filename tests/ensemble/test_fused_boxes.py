"""Boxes of several methods made one: against the paper's algorithm box by box, and on drawn methods."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from numpy.typing import NDArray

from tps_pipeline import recipe, tables
from tps_pipeline.boxes import paired_iou
from tps_pipeline.ensemble.fused_boxes import AGREED, Proposals, sources
from tps_pipeline.ensemble.stacked import fit, stacked
from tps_pipeline.outputs import LEADERBOARD, average_precision
from tps_pipeline.outputs import predictions as predictions_of
from tps_pipeline.parsing import annotated
from tps_pipeline.stages import graph_of

PARTS = ("head", "left_arm")
TRUE = {"person": (0, 0, 79, 159), "head": (20, 0, 59, 39), "left_arm": (0, 40, 29, 99)}
BEST, OTHER, WRONG = "best", "other", "wrong"
Numbers = NDArray[np.float64]


def fused(boxes: list[tuple[float, ...]], scores: list[float], counts: list[float]) -> tuple[list[float], float]:
    proposals = Proposals(np.array(boxes, float)[:, None], np.array(scores)[:, None])
    box, score = proposals.fused(counts)
    return box[0].round(9).tolist(), float(score[0])


def test_boxes_that_agree_become_their_mean_by_scores():
    assert fused([(0, 0, 9, 9), (0, 0, 12, 9)], [0.8, 0.4], [1, 1]) == ([0, 0, 10, 9], pytest.approx(0.6))
    assert fused([(0, 0, 9, 9), (0, 0, 12, 9)], [0.8, 0.8], [1, 0.5]) == ([0, 0, 10, 9], pytest.approx(0.8))


def test_of_boxes_that_do_not_agree_the_surer_is_taken_and_less_sure():
    assert fused([(0, 0, 9, 9), (50, 0, 59, 9)], [0.4, 0.8], [1, 1]) == ([50, 0, 59, 9], pytest.approx(0.4))
    assert fused([(0, 0, 9, 9), (0, 0, 0, 0)], [0.8, 0.0], [1, 1]) == ([0, 0, 9, 9], pytest.approx(0.4))
    assert fused([(0, 0, 9, 9), (50, 0, 59, 9)], [0.4, 0.8], [1, 0]) == ([0, 0, 9, 9], pytest.approx(0.4))


def plainly(boxes: Numbers, scores: Numbers) -> tuple[Numbers, float]:
    """The paper's algorithm for the boxes of one class by models that have one each, and the surest of the results."""
    clusters: list[list[int]] = []
    means: list[Numbers] = []
    for at in np.argsort(-scores, kind="stable"):
        overlaps = [float(paired_iou(mean, boxes[at])) for mean in means]
        if overlaps and max(overlaps) > AGREED:
            place = int(np.argmax(overlaps))
            clusters[place].append(int(at))
            members = clusters[place]
            means[place] = np.average(boxes[members], axis=0, weights=scores[members])
        else:
            clusters.append([int(at)])
            means.append(boxes[at])
    sure = [float(scores[each].mean()) * min(len(each), len(scores)) / len(scores) for each in clusters]
    best = int(np.argmax(sure))
    return means[best], sure[best]


def test_it_is_the_papers_algorithm():
    draw = np.random.default_rng(0)
    corner = draw.uniform(0, 30, (4, 200, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(20, 60, (4, 200, 2))], axis=2)
    scores = draw.uniform(0.05, 1, (4, 200))
    found, sure = Proposals(boxes, scores).fused([1, 1, 1, 1])
    for thing in range(200):
        box, score = plainly(boxes[:, thing], scores[:, thing])
        np.testing.assert_allclose(found[thing], box)
        assert sure[thing] == pytest.approx(score)


def test_boxes_that_several_methods_were_given_count_once():
    assert sources(["a", "b", "own", "c"], {"own"}) == [0, 2]
    assert sources(["own", "a", "other", "b"], {"own", "other"}) == [0, 1, 2]


def predictions(videos: list[str], draw: np.random.Generator, noise: dict[str, float]) -> pa.Table:
    """Everyone's boxes moved, of people and of parts by so many pixels; all parts are in one state."""
    rows = []
    for video in videos:
        person, *parts = (
            tuple(
                np.rint(np.array(box) + draw.normal(0, noise["person" if name == "person" else "parts"], 4)).astype(int)
            )
            for name, box in TRUE.items()
        )
        for part, box in zip(PARTS, parts, strict=True):
            rows.append((video, 1, 0, 0.9, *person, part, 0.8, *box, "bend", 0.7, {"bend": 0.7, "none": 0.3}))
    return tables.conform(pd.DataFrame(rows, columns=tables.PREDICTIONS.names), tables.PREDICTIONS)


class World:
    """Annotated videos, and methods: the best, one whose boxes are as good, and one whose parts are elsewhere."""

    def __init__(self, n: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.videos = [f"v{seed}_{i}" for i in range(n)]
        noise = {BEST: (4.0, 4.0), OTHER: (4.0, 4.0), WRONG: (4.0, 40.0)}
        self.predictions = {
            name: predictions(self.videos, draw, {"person": person, "parts": parts})
            for name, (person, parts) in noise.items()
        }
        columns = {"video_id": self.videos, "action": ["lunge"] * n, "score": [1.0] * n}
        self.actions = tables.conform({**columns, "probabilities": [{"lunge": 1.0}] * n}, tables.VIDEO_ACTIONS)
        frames = pd.DataFrame({"video_id": self.videos, "frame": 1, "n_people": 1})
        keys = [{"video_id": video, "frame": 1, "person": 0} for video in self.videos]
        corners = {name: dict(zip(tables.BOX, box, strict=True)) for name, box in TRUE.items()}
        people = pd.DataFrame([key | corners["person"] for key in keys])
        parts = pd.DataFrame([key | corners[p] | {"part": p, "state": "bend"} for key in keys for p in PARTS])
        self.truth = annotated(
            tables.conform(frames, tables.LABELLED_FRAMES),
            tables.conform(people, tables.PEOPLE),
            tables.conform(parts, tables.PARTS),
        )

    def stacked(self, weights: pa.Table, names: list[str], *, learned_from: bool = False) -> pa.Table:
        return stacked(
            self.predictions, ranked(names), self.actions, COUNTS, weights, iou=0.5, learned_from=learned_from
        )

    def weights(self, names: list[str], fuse: set[str]) -> pa.Table:
        return fit(
            self.predictions, ranked(names), self.actions, COUNTS, self.truth, iou=0.5, split="val", fuse=fuse
        ).weights


COUNTS = tables.conform(
    pd.DataFrame(
        [("lunge", part, state, 10) for part in PARTS for state in ("bend", "none")], columns=tables.STATE_COUNTS.names
    ),
    tables.STATE_COUNTS,
)


def ranked(names: list[str]) -> pa.Table:
    scores = [1 - 0.1 * place for place in range(len(names))]
    columns = {"method": names, "split": ["val"] * len(names), "videos": [9] * len(names), "score": scores}
    return tables.conform({**columns, "mean_psc": scores}, tables.RANKING)


def error(table: pa.Table, names: tuple[str, ...], thing: str) -> float:
    rows = table.filter(pa.array(table["part"].to_pandas() == thing)) if thing in PARTS else table
    found = np.stack([rows[name].to_numpy() for name in names], axis=1)
    return float(np.abs(found - np.array(TRUE[thing])).mean())


def test_boxes_of_methods_that_are_as_good_come_nearer_to_the_annotated_ones_in_new_videos():
    seen, new = World(60, 0), World(60, 1)
    names = [BEST, OTHER]
    weights = seen.weights(names, {OTHER})
    made, alone = (new.stacked(given, names) for given in (weights, seen.weights(names, set())))
    assert made.schema == tables.PREDICTIONS
    for columns, thing in ((tables.PERSON_BOX, "person"), (tables.BOX, "head"), (tables.BOX, "left_arm")):
        assert error(made, columns, thing) < 0.85 * error(alone, columns, thing)  # the mean of two: 0.71
    for column in ("video_id", "person", "part", "state", "state_scores"):
        assert made[column].to_pylist() == alone[column].to_pylist()
    assert made.select(["video_id", *tables.PERSON_BOX]).to_pandas().drop_duplicates().video_id.is_unique


def test_parts_that_are_elsewhere_are_left_out_though_people_are_fused():
    seen, names = World(60, 0), [BEST, WRONG]
    weights = seen.weights(names, {WRONG})
    made, alone = (seen.stacked(given, names, learned_from=True) for given in (weights, seen.weights(names, set())))
    assert error(made, tables.PERSON_BOX, "person") < error(alone, tables.PERSON_BOX, "person")
    for column in (*tables.BOX, "part_score"):
        assert made[column].to_pylist() == alone[column].to_pylist()


def test_what_is_made_of_a_video_that_was_learned_from_does_not_rest_on_it():
    seen, names = World(60, 0), [BEST, OTHER]
    rows = seen.weights(names, {OTHER}).to_pandas().query("feature == 'boxes'")
    assert rows.fold.isna().any()
    assert rows.fold.nunique() == 8
    none_held_out = tables.conform(rows[rows.fold.isna()], tables.STACKING)
    only_folds = rows.assign(weight=rows.weight.where(rows.member == BEST, 0.0))
    folds_say_no = tables.conform(
        pd.concat([rows[rows.fold.isna()], only_folds.dropna(subset="fold")]), tables.STACKING
    )
    boxes = [seen.stacked(each, names, learned_from=True)["x1"].to_pylist() for each in (none_held_out, folds_say_no)]
    assert boxes[0] != boxes[1]
    assert boxes[1] == seen.predictions[BEST]["x1"].to_pylist()


@pytest.mark.parametrize("boxes", ["best", "fused"])
def test_the_leaderboard_has_the_precision_of_all_that_has_boxes_of_its_own(tmp_path: Path, boxes: str):
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    content["methods"]["alone"] = yaml.safe_load((recipe.RECIPES / "bench.yaml").read_text())["methods"]["end_to_end"]
    content["ensemble"]["stacked"] = {"boxes": boxes}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    graph = graph_of(recipe.load(path))
    reads = graph.step(LEADERBOARD.key).reads
    assert average_precision("alone") in reads
    assert (average_precision("stacked") in reads) == (boxes == "fused")
    if boxes == "fused":
        assert predictions_of("stacked") in graph.step(average_precision("stacked").key).reads
