"""Label spaces, targets, losses and predictions of the methods that name the states of all parts at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tps_pipeline import tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.part_state_loss import LongTail, Loss, part_state_loss, part_state_scores
from tps_pipeline.methods.part_states import LabelSpace, frequencies, targets_by, with_states

HEAD, LEFT_ARM, RIGHT_ARM = PARTS.index("head"), PARTS.index("left_arm"), PARTS.index("right_arm")
SPACE = LabelSpace(
    (("head", "none"), ("head", "turn"), ("left_arm", "bend"), ("left_arm", "raise"), ("right_arm", "bend"))
)


def annotated(rows: list[tuple[str, int, str, str]]) -> pa.Table:
    frame = pd.DataFrame(rows, columns=["video_id", "frame", "part", "state"])
    return tables.conform(frame.assign(person=0, **dict.fromkeys(tables.BOX, 0)), tables.PARTS)


def targets(**labels: int) -> np.ndarray:
    return np.array([labels.get(part, -1) for part in PARTS])


def test_the_label_space_is_the_vocabularys_and_survives_being_stored() -> None:
    parts = annotated([("a", 1, "head", "turn"), ("a", 2, "head", "turn"), ("a", 3, "head", "none"),
                       ("b", 1, "hip", "sit")])  # fmt: skip
    vocabulary = state_labels(parts)
    frequent = LabelSpace.of(vocabulary, pairs="most_frequent")
    assert frequent.pairs == (("head", "turn"), ("hip", "sit"))
    assert LabelSpace.of(vocabulary, pairs="all").pairs == (("head", "none"), ("head", "turn"), ("hip", "sit"))
    assert LabelSpace.from_json(frequent.to_json()) == frequent


def test_a_mirrored_target_has_left_and_right_exchanged() -> None:
    given = np.stack([targets(head=1, left_arm=2), targets(left_arm=3), targets(right_arm=4)])
    expected = [targets(head=1, right_arm=4), targets(), targets(left_arm=2)]  # nobody raises the right arm
    assert np.array_equal(SPACE.mirrored(given), expected)


states_of_frames = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.sampled_from(["left_arm", "head"]), st.sampled_from("xyz")),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(rows=states_of_frames, keys=st.sampled_from([["video_id"], ["video_id", "frame"]]))
def test_targets_are_the_most_frequent_states(rows: list[tuple[str, int, str, str]], keys: list[str]) -> None:
    space = LabelSpace((("head", "x"), ("head", "y"), ("left_arm", "y"), ("left_arm", "z")))
    found = targets_by(keys, annotated(rows), space).to_dict("index")
    counts: dict[Any, dict[str, Counter[str]]] = {}
    for video, frame, part, state in rows:
        key = (video, frame) if "frame" in keys else video
        counts.setdefault(key, {}).setdefault(part, Counter())[state] += 1
    assert list(found) == sorted(counts)
    for key, by_part in counts.items():
        for part in PARTS:
            ranked = sorted(by_part.get(part, Counter[str]()).items(), key=lambda item: (-item[1], item[0]))
            expected = space.labels.get((part, ranked[0][0]), -1) if ranked else -1
            assert found[key][part] == expected


def test_bce_asks_every_label() -> None:
    logits = torch.randn(2, len(SPACE))
    given = torch.from_numpy(np.stack([targets(head=0, left_arm=3), targets(right_arm=4)]))
    holds = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    expected = functional.binary_cross_entropy_with_logits(logits, holds)
    torch.testing.assert_close(part_state_loss(logits, given, SPACE, kind="bce"), expected)


def test_softmax_asks_for_one_state_of_each_labelled_part() -> None:
    logits = torch.randn(2, len(SPACE), requires_grad=True)
    given = torch.from_numpy(np.stack([targets(head=0, left_arm=3), targets(head=1)]))
    loss = part_state_loss(logits, given, SPACE, kind="softmax")
    head = functional.cross_entropy(logits[:, :2], torch.tensor([0, 1]), reduction="sum")
    arm = functional.cross_entropy(logits[:1, 2:4], torch.tensor([1]))
    torch.testing.assert_close(loss, (head + arm) / 3)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[1, 2:], torch.zeros(3))  # no target, nothing learned
    nothing = part_state_loss(logits, torch.full((2, len(PARTS)), -1), SPACE, kind="softmax")
    assert nothing.item() == 0


COUNTS = torch.tensor([900, 99, 9, 0, 12])
"""How often each label of SPACE is a target: two of the head, two of the left arm, one of the right."""


def tail_loss(kind: Loss, long_tail: LongTail) -> tuple[np.ndarray, np.ndarray, float]:
    """Logits, which labels hold, and the loss, as plain numbers."""
    logits = torch.randn(2, len(SPACE), generator=torch.Generator().manual_seed(3))
    given = np.stack([targets(head=0, left_arm=3), targets(head=1)])
    holds = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]])
    loss = part_state_loss(logits, torch.from_numpy(given), SPACE, kind=kind, long_tail=long_tail, counts=COUNTS)
    return logits.double().numpy(), holds, loss.item()


OF_HEAD, OF_ARM = slice(0, 2), slice(2, 4)
CHOSEN = ((0, OF_HEAD, 0), (0, OF_ARM, 1), (1, OF_HEAD, 1))
"""Row, the part's labels, and which of them is the target, as `tail_loss` has it."""


def softmax_losses(logits: np.ndarray) -> np.ndarray:
    return np.array([np.log(np.exp(logits[row, part]).sum()) - logits[row, part][at] for row, part, at in CHOSEN])


def sigmoid_losses(logits: np.ndarray, holds: np.ndarray) -> np.ndarray:
    chances = 1 / (1 + np.exp(-logits))
    return -np.log(np.where(holds == 1, chances, 1 - chances))


def test_focal_makes_little_of_what_is_likely() -> None:
    logits, _, loss = tail_loss("softmax", "focal")
    plain = softmax_losses(logits)
    assert loss == pytest.approx(np.mean(plain * (1 - np.exp(-plain)) ** 2), rel=1e-5)
    logits, holds, loss = tail_loss("bce", "focal")
    plain = sigmoid_losses(logits, holds)
    assert loss == pytest.approx(np.mean(plain * (1 - np.exp(-plain)) ** 2), rel=1e-5)


def test_class_balanced_weighs_by_the_effective_number() -> None:
    weight = np.array([(1 - 0.999) / (1 - 0.999**n) for n in (900, 99, 9, 1, 12)])  # of none as of one
    for part in (OF_HEAD, OF_ARM, slice(4, 5)):
        weight[part] /= weight[part].mean()
    logits, _, loss = tail_loss("softmax", "class_balanced")
    assert loss == pytest.approx(np.mean(softmax_losses(logits) * weight[[0, 3, 1]]), rel=1e-4)
    logits, holds, loss = tail_loss("bce", "class_balanced")
    assert loss == pytest.approx(np.mean(sigmoid_losses(logits, holds) * weight), rel=1e-4)


def test_logit_adjusted_adds_how_frequent_a_state_is() -> None:
    share = np.array([901 / 1001, 100 / 1001, 10 / 11, 1 / 11, 13 / 14])  # one more of each
    logits, _, loss = tail_loss("softmax", "logit_adjusted")
    assert loss == pytest.approx(np.mean(softmax_losses(logits + np.log(share))), rel=1e-5)
    logits, holds, loss = tail_loss("bce", "logit_adjusted")
    assert loss == pytest.approx(np.mean(sigmoid_losses(logits + np.log(share / (1 - share)), holds)), rel=1e-5)


@pytest.mark.parametrize("kind", ["bce", "softmax"])
@pytest.mark.parametrize("long_tail", ["class_balanced", "focal", "logit_adjusted"])
def test_a_batch_without_targets_teaches_no_state_of_a_part(kind: Loss, long_tail: LongTail) -> None:
    logits = torch.randn(2, len(SPACE), requires_grad=True)
    nothing = torch.full((2, len(PARTS)), -1)
    loss = part_state_loss(logits, nothing, SPACE, kind=kind, long_tail=long_tail, counts=COUNTS)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_scores_are_probabilities_that_rank_as_the_logits() -> None:
    logits = torch.randn(7, len(SPACE))
    shares = part_state_scores(logits, SPACE, kind="softmax")
    torch.testing.assert_close(shares[:, :2].sum(1), torch.ones(7))
    torch.testing.assert_close(shares[:, 4], torch.ones(7))  # the right arm's only state
    for kind in ("bce", "softmax"):
        scores = part_state_scores(logits, SPACE, kind=kind).numpy()
        assert np.array_equal(SPACE.best(scores), SPACE.best(logits.numpy()))
    assert (SPACE.best(logits.numpy())[:, PARTS.index("hip")] == -1).all()


def test_frequencies_are_shares_of_a_parts_targets() -> None:
    shares = frequencies(np.stack([targets(head=0), targets(head=1), targets(head=1, right_arm=4)]), SPACE)
    assert shares.tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0, 1])


def test_each_detected_part_gets_one_state_and_its_likeliest_five() -> None:
    space = LabelSpace((*(("head", f"state_{n}") for n in range(7)), ("left_arm", "bend")))
    rows = [("a", 1, "head"), ("a", 1, "hip"), ("a", 1, "left_arm"), ("a", 6, "head")]
    frame = pd.DataFrame(rows, columns=["video_id", "frame", "part"]).assign(person=0, person_score=1.0, part_score=1.0)
    boxes = dict.fromkeys((*tables.BOX, *tables.PERSON_BOX), 0)
    detections = tables.conform(frame.assign(**boxes), tables.DETECTIONS)
    scores = np.array([[0.1, 0.2, 0.9, 0.3, 0.0, 0.05, 0.15, 0.4], [0.6, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    found = with_states(detections, space, scores, np.array([0, 0, 0, 1]))
    assert found.schema.equals(tables.PREDICTIONS)
    assert found["state"].to_pylist() == ["state_2", "none", "bend", "state_0"]
    assert found["state_score"].to_pylist() == pytest.approx([0.9, 1.0, 0.4, 0.6])
    assert [name for name, _ in found["state_scores"][0].as_py()] == [f"state_{n}" for n in (2, 3, 1, 6, 0)]
