"""Landmarks as a person's features: where they lie in the box counts, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models.keypoints import Keypoints
from tps_pipeline.models.relations import People, Person, PersonContextPerson, PersonPerson

HEADS: dict[str, Callable[[bool], Person | PersonContextPerson | PersonPerson]] = {
    "person": lambda with_: Person(6, person=8, hidden=8, keypoints=with_),
    "person_context_person": lambda with_: PersonContextPerson(
        6, person=8, hidden=8, blocks=1, dropout=0.2, keypoints=with_
    ),
    "person_person": lambda with_: PersonPerson(6, person=8, hidden=8, blocks=1, dropout=0.2, keypoints=with_),
}


def made(kind: str) -> Person | PersonContextPerson | PersonPerson:
    """A head in eval mode whose every weight matters, those that begin as zero included."""
    torch.manual_seed(0)
    head = HEADS[kind](True)
    for weight in head.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.5)
    return head.eval()


def people(*clips: int, unknown: int | None = None) -> People:
    """People in random boxes with random landmarks, one of them without any."""
    random = torch.Generator().manual_seed(len(clips))
    corners = torch.rand(len(clips), 2, generator=random) * 0.5
    landmarks = torch.rand(len(clips), 33, 3, generator=random)
    if unknown is not None:
        landmarks[unknown] = torch.nan
    return People(torch.cat([corners, corners + 0.4], 1), torch.tensor(clips), landmarks=landmarks)


def some(everyone: People, rows: Tensor, *, clip: int = 0) -> People:
    assert everyone.landmarks is not None
    return People(everyone.boxes[rows], everyone.clips[rows] - clip, landmarks=everyone.landmarks[rows])


@pytest.mark.parametrize("kind", HEADS)
@torch.no_grad()
def test_before_anything_is_learned_a_head_is_what_it_is_without(kind: str) -> None:
    features, everyone = torch.randn(2, 6, 5, 5), people(0, 1, 1)
    torch.manual_seed(0)
    new, old = HEADS[kind](True).eval(), HEADS[kind](False).eval()
    old.load_state_dict({name: new.state_dict()[name] for name in old.state_dict()})
    torch.testing.assert_close(new(features, everyone), old(features, everyone))


@pytest.mark.parametrize("kind", HEADS)
@torch.no_grad()
def test_people_are_a_set_and_nobody_sees_another_clip_s(kind: str) -> None:
    head, features = made(kind), torch.randn(2, 6, 5, 5)
    everyone, order = people(0, 1, 0, 1, 1, unknown=3), torch.tensor([3, 1, 4, 2, 0])
    rows = head(features, everyone)
    assert rows.isfinite().all()
    torch.testing.assert_close(head(features, some(everyone, order)), rows[order])
    mine = torch.tensor([1, 3, 4])
    torch.testing.assert_close(head(features[1:], some(everyone, mine, clip=1)), rows[mine])
    assert everyone.landmarks is not None
    moved = everyone.landmarks.clone()
    moved[0, :, :2] = moved[0, :, :2].flip(0)
    changed = (head(features, everyone._replace(landmarks=moved)) - rows).abs().amax(1) > 1e-5
    assert changed.tolist() == [True, False, kind != "person", False, False]


@torch.no_grad()
def test_places_are_those_in_the_box_whatever_its_size_and_what_is_not_seen_is_nowhere() -> None:
    torch.manual_seed(0)
    keypoints = Keypoints(8)
    nn.init.normal_(keypoints.embed[-1].weight)  # pyright: ignore
    everyone = people(0, 0, 0, unknown=2)
    boxes, landmarks = everyone.boxes, everyone.landmarks
    assert landmarks is not None
    rows = keypoints(boxes, landmarks)
    assert not torch.allclose(rows[0], rows[1])
    assert torch.equal(rows[2], keypoints.unknown)
    elsewhere = landmarks.clone()
    elsewhere[..., :2] = landmarks[..., :2] * torch.tensor([0.5, 0.25]) + 0.125
    shrunk = boxes * torch.tensor([0.5, 0.25, 0.5, 0.25]) + 0.125
    torch.testing.assert_close(keypoints(shrunk, elsewhere), rows)
    hidden, moved = landmarks.clone(), landmarks.clone()
    hidden[:, 5, 2] = moved[:, 5, 2] = 0
    moved[:, 5, :2] += 0.3
    assert torch.equal(keypoints(boxes, moved), keypoints(boxes, hidden))


@pytest.mark.parametrize("kind", HEADS)
def test_what_only_landmarks_tell_is_learned_by_heart(kind: str) -> None:
    everyone, targets = people(0, 0, 1, 1, unknown=3), torch.tensor([0, 1, 1, 0])
    everyone = everyone._replace(boxes=torch.tensor([0.2, 0.2, 0.7, 0.7]).expand(4, 4))
    features = torch.ones(2, 6, 5, 5)  # all see the same
    torch.manual_seed(0)
    head = HEADS[kind](True)
    classify = nn.Linear(head.channels, 2)
    optimizer = torch.optim.AdamW([*head.parameters(), *classify.parameters()], 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(classify(head(features, everyone)), targets).backward()
        optimizer.step()
    with torch.no_grad():
        assert classify(head.eval()(features, everyone)).argmax(1).equal(targets)
