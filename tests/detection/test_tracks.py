"""Who is linked to whom, on boxes made by hand and on generated scenes of which the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.data.synthetic.video import frames_of, shoot
from tps_pipeline.detection.tracks import track
from tps_pipeline.labels import PARTS

STRIDE = 5


def detections(rows: list[tuple[str, int, int, float, int]]) -> pa.Table:
    """People 40 pixels wide and 100 high (video, frame, person, score, left edge), with two parts each."""
    columns = ["video_id", "frame", "person", "person_score", "person_x1"]
    people = pd.DataFrame(rows, columns=columns).merge(pd.DataFrame({"part": PARTS[:2]}), how="cross")
    people = people.assign(person_y1=10, person_x2=people.person_x1 + 39, person_y2=109)
    return tables.conform(people.assign(part_score=0.5, **dict.fromkeys(tables.BOX, 0)), tables.DETECTIONS)


def tracks_of(rows: list[tuple[str, int, int, float, int]]) -> list[int]:
    """The tracks of people given in the order of their keys."""
    return track(detections(rows))["track_id"].to_numpy().tolist()


def test_two_who_pass_each_other_keep_their_tracks_whatever_their_order() -> None:
    rows = []
    for step in range(12):
        left, right = ("v", 0.9, 10 + 12 * step), ("v", 0.8, 150 - 12 * step)
        order = (left, right) if step % 3 else (right, left)
        rows += [(video, 1 + STRIDE * step, at, score, x) for at, (video, score, x) in enumerate(order)]
    found = dict(zip([(row[1], row[3]) for row in rows], tracks_of(rows), strict=True))
    assert len({who for (_, score), who in found.items() if score == 0.9}) == 1
    assert len({who for (_, score), who in found.items() if score == 0.8}) == 1
    assert set(found.values()) == {0, 1}


def test_everyone_has_a_track_and_the_faint_do_not_begin_one_for_others() -> None:
    rows = [("v", 1 + STRIDE * step, person, score, x) for step in range(3) for person, score, x in (
        (0, (0.9, 0.05, 0.9)[step], 20), (1, 0.02, 200))]  # fmt: skip
    assert tracks_of(rows) == [0, 1, 0, 2, 0, 3]


def test_videos_are_independent_and_the_result_repeats() -> None:
    rows = [("a", 1, 0, 0.9, 20), ("a", 6, 0, 0.9, 22), ("b", 1, 0, 0.9, 22), ("b", 6, 0, 0.9, 150)]
    assert tracks_of(rows) == [0, 0, 0, 1]
    assert tracks_of(rows[2:]) == [0, 1]
    table = detections(rows)
    assert track(table).equals(track(table))
    assert track(table).schema == tables.TRACKS
    assert track(tables.empty(tables.DETECTIONS)).num_rows == 0


def test_a_track_outlives_frames_in_which_nobody_is_seen_for_a_while() -> None:
    def after(frames: int) -> list[int]:
        return tracks_of([("v", frame, 0, 0.9, 20) for frame in (1, 6, 11, 11 + frames)])

    assert after(15) == [0, 0, 0, 0]
    assert after(200) == [0, 0, 0, 1]


def test_few_identities_are_switched_on_generated_scenes() -> None:
    """Couples that dance, a line of dancers, hops and lunges, with passers-by behind them.

    The generator lists people in one order, so that a person's place tells who it is where all are annotated.
    """
    switched, links = 0, 0
    for action in ("salsa_dancing", "country_line_dancing", "hopscotch", "lunge"):
        for seed in range(3):
            take = shoot(action, frames=75, size=(128, 96), rng=np.random.default_rng([5, seed]))
            shuffled, rows = np.random.default_rng(seed), []
            for frame, (_, label) in enumerate(frames_of(take, np.arange(75) % STRIDE == 0), 1):
                people = label["humans"] if label else []
                for at, who in enumerate(shuffled.permutation(len(people)).tolist()):
                    known = len(people) == len(take.persons)
                    rows.append(("v", frame, at, *people[who]["box"], who if known else None))
            listed = pd.DataFrame(rows, columns=[*tables.PEOPLE.names, "who"])
            found = track(tables.conform(listed, tables.PEOPLE)).to_pandas()
            true = listed.merge(found, on=["frame", "person"]).dropna(subset="who")
            of_person = true.groupby("who").track_id
            switched += sum(int((np.diff(ids) != 0).sum()) for _, ids in of_person)
            links += len(true) - of_person.ngroups
    assert links > 200
    assert switched <= 0.04 * links
