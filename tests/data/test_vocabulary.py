from random import Random

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_pipeline import tables
from tps_pipeline.data.vocabulary import action_names, state_labels


def parts(*rows: tuple[str, str, str]) -> pa.Table:
    """Boxes of (video, part, state), a frame each."""
    columns = {
        "video_id": pa.array([row[0] for row in rows], pa.string()),
        "part": pa.array([row[1] for row in rows], pa.string()),
        "state": pa.array([row[2] for row in rows], pa.string()),
        "frame": pa.array(range(1, len(rows) + 1), pa.int32()),
        **{name: pa.array([1] * len(rows), pa.int16()) for name in ("person", *tables.BOX)},
    }
    return tables.conform(pa.table(columns), tables.PARTS)


def test_all_pairs_and_each_videos_most_frequent():
    table = parts(
        ("v1", "left_arm", "bend"),
        ("v1", "left_arm", "bend"),
        ("v1", "left_arm", "none"),
        ("v1", "right_arm", "none"),
        ("v2", "left_arm", "none"),
        ("v2", "left_arm", "lift"),
        ("v2", "head", "turn"),
    )
    found = state_labels(table)
    assert found.schema == tables.STATE_LABELS
    assert {(row["part"], row["state"]): row["most_frequent"] for row in found.to_pylist()} == {
        ("head", "turn"): True,
        ("left_arm", "bend"): True,
        ("left_arm", "lift"): True,  # as often as none in v2, and before it by name
        ("left_arm", "none"): False,
        ("right_arm", "none"): True,
    }


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["head", "left_arm"]), st.sampled_from("stuv")), max_size=30
)


@settings(max_examples=50, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_shards_does_not_matter(rows: list[tuple[str, str, str]], random: Random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    half = len(rows) // 2
    joined = pa.concat_tables([parts(*shuffled[half:]), parts(*shuffled[:half])])
    found = state_labels(joined)
    assert found.equals(state_labels(parts(*rows)))
    pairs = [(row["part"], row["state"]) for row in found.to_pylist()]
    assert pairs == sorted({row[1:] for row in rows})
    for video, part in {row[:2] for row in rows}:
        states = [row[2] for row in rows if row[:2] == (video, part)]
        top = min(states, key=lambda state: (-states.count(state), state))
        assert {"part": part, "state": top, "most_frequent": True} in found.to_pylist()


def test_action_names():
    table = tables.conform({"video_id": ["a", "b", "c"], "action": ["push_up", "lunge", "push_up"]}, tables.ACTIONS)
    found = action_names(pa.concat_tables([table.slice(2), table.slice(0, 2)]))
    assert found.schema == tables.ACTION_NAMES
    assert found["action"].to_pylist() == ["lunge", "push_up"]
    assert action_names(tables.empty(tables.ACTIONS)).num_rows == 0
