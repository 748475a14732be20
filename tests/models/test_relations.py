"""Relations between people: any number of them in any order, nobody of another clip, and what each head can learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models.relations import HighOrder, Interaction, People, Person, PersonContextPerson, PersonPerson

HEADS = {
    "person": lambda: Person(6, person=8, hidden=8),
    "person_context_person": lambda: PersonContextPerson(6, person=8, hidden=8, blocks=2, dropout=0.2),
    "person_person": lambda: PersonPerson(6, person=8, hidden=8, blocks=2, dropout=0.2),
}


@pytest.fixture(params=list(HEADS))
def head(request: pytest.FixtureRequest) -> nn.Module:
    """A head in eval mode whose every weight matters, those that begin as zero included."""
    torch.manual_seed(0)
    made = HEADS[request.param]()
    for weight in made.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.5)
    return made.eval()


def people(*clips: int) -> People:
    """People in random boxes of some clips."""
    corners = torch.rand(len(clips), 2, generator=torch.Generator().manual_seed(len(clips))) * 0.5
    return People(torch.cat([corners, corners + 0.4], 1), torch.tensor(clips, dtype=torch.int64))


@torch.no_grad()
def test_permuting_the_people_permutes_the_result(head: nn.Module) -> None:
    features, everyone, order = torch.randn(3, 6, 6, 5), people(0, 2, 2, 0, 2), torch.tensor([4, 0, 3, 1, 2])
    permuted = head(features, People(everyone.boxes[order], everyone.clips[order]))
    torch.testing.assert_close(permuted, head(features, everyone)[order])


@torch.no_grad()
def test_nobody_sees_the_people_of_another_clip(head: nn.Module) -> None:
    features, everyone = torch.randn(3, 6, 5, 5), people(0, 0, 1, 2, 2, 2)
    rows = head(features, everyone)
    assert rows.isfinite().all()
    for clip in range(3):
        mine = everyone.clips == clip
        alone = head(
            features[clip : clip + 1], People(everyone.boxes[mine], torch.zeros(int(mine.sum()), dtype=torch.int64))
        )
        torch.testing.assert_close(rows[mine], alone)


@torch.no_grad()
def test_a_neighbour_matters_to_relations_only(head: nn.Module) -> None:
    features, everyone = torch.randn(1, 6, 5, 5), people(0, 0)
    together = head(features, everyone)[:1]
    alone = head(features, People(everyone.boxes[:1], everyone.clips[:1]))
    assert torch.allclose(together, alone, atol=1e-4) == isinstance(head, Person)


def test_no_people_are_no_rows_and_can_be_trained_on(head: nn.Module) -> None:
    features = torch.randn(2, 6, 5, 5, requires_grad=True)
    rows = head.train()(features, People(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))
    assert rows.shape == (0, head.channels)
    rows.sum().backward()


@torch.no_grad()
def test_a_person_is_what_lies_in_the_box() -> None:
    features = torch.zeros(2, 1, 8, 16)
    features[1, 0, 2:4, 8:12] = 1
    boxes = torch.tensor([[0.5, 0.25, 0.75, 0.5], [0.0, 0.0, 0.4, 1.0], [0.5, 0.25, 0.75, 0.5]])
    found = People(boxes, torch.tensor([1, 1, 0])).of(features)
    assert found[:, 0].tolist() == pytest.approx([1, 0, 0])


@torch.no_grad()
def test_the_high_order_block_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    block, maps = HighOrder(4, 0.0).eval(), torch.randn(3, 4, 5, 6)
    query, key, value = block.query(maps), block.key(maps), block.value(maps)
    seen = torch.zeros_like(maps)
    for person in range(3):
        for row in range(5):
            for column in range(6):
                logits = torch.stack([query[person, :, row, column] @ k for k in key[:, :, row, column]]) / math.sqrt(4)
                seen[person, :, row, column] = logits.softmax(0) @ value[:, :, row, column]
    normed = functional.layer_norm(seen, seen.shape[1:])
    expected = maps + functional.conv2d(normed.relu(), block.out.weight)
    torch.testing.assert_close(block(maps, torch.ones(3, 3, dtype=torch.bool)), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_scene_and_tiled_person_are_convolved_as_one() -> None:
    torch.manual_seed(0)
    head = PersonContextPerson(6, person=8, hidden=4, blocks=0, dropout=0.0)
    features, everyone = torch.randn(2, 6, 5, 5), people(1, 0, 1)
    reduced = head.reduce(features)
    tiled = everyone.of(reduced)[:, :, None, None].expand(-1, -1, 5, 5)
    kernel = torch.cat([head.scene.weight, head.actor.weight[..., None, None]], 1)
    maps = functional.conv2d(torch.cat([reduced[everyone.clips], tiled], 1), kernel).relu()
    maps = functional.max_pool2d(head.around(maps).relu(), 3, stride=2, padding=1)
    torch.testing.assert_close(head(features, everyone)[:, 4:], maps.mean((2, 3)))


def test_the_sizes_are_acar_net_s() -> None:
    with torch.device("meta"):
        for blocks, millions in ((1, 13.69), (2, 25.23)):  # with 60 classes; two blocks have 3x3 convolutions at last
            head = PersonContextPerson(2304, person=1024, hidden=512, blocks=blocks, dropout=0.2)
            parameters = sum(weight.numel() for weight in head.parameters()) + 60 * 1024
            smaller = 8 * 512 * 512 * blocks * (blocks == 2)
            assert parameters + smaller == pytest.approx(millions * 1e6, abs=5e3)


@torch.no_grad()
def test_a_tracked_person_sees_themselves_in_other_clips_and_nobody_else_there(head: nn.Module) -> None:
    features, everyone = torch.randn(3, 6, 5, 5), people(0, 1, 1, 2)
    tracked = everyone._replace(tracks=torch.tensor([4, 4, 7, 9]))
    known = torch.eye(4, dtype=torch.bool)
    for one, other in ((0, 1), (1, 2)):
        known[one, other] = known[other, one] = True
    assert torch.equal(tracked.known(), known)
    changed = (head(features, tracked) - head(features, everyone)).abs().amax(1) > 1e-4
    assert changed.tolist() == [isinstance(head, PersonPerson)] * 2 + [False, False]


def accuracy(kind: str, features: Tensor, everyone: People, targets: Tensor) -> float:
    """How well a head learns targets by heart."""
    torch.manual_seed(0)
    head = HEADS[kind]()
    classifier = nn.Linear(head.channels, 2)
    optimizer = torch.optim.AdamW([*head.parameters(), *classifier.parameters()], 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(classifier(head(features, everyone)), targets).backward()
        optimizer.step()
    with torch.no_grad():
        return float((classifier(head.eval()(features, everyone)).argmax(1) == targets).float().mean())


def test_one_batch_is_learned_by_heart() -> None:
    torch.manual_seed(0)
    features, everyone, targets = (
        torch.randn(4, 6, 6, 6),
        people(0, 0, 1, 2, 2, 2, 3),
        torch.tensor([0, 1, 1, 0, 1, 1, 0]),
    )
    for kind in HEADS:
        assert accuracy(kind, features, everyone, targets) == 1


@pytest.mark.whole
def test_what_only_the_scene_or_a_neighbour_tells_is_learned_by_the_head_that_sees_it() -> None:
    noise = torch.randn(16, 6, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.01
    boxes = torch.tensor([0.0, 0.0, 0.4, 0.4]).expand(16, 4)
    first, second = People(boxes, torch.arange(16)), People(boxes + 0.5, torch.arange(16))
    targets = torch.arange(16) % 2
    scene = noise.clone()
    scene[:, 0, 4:, 4:] += targets[:, None, None] * 3.0
    both = People(torch.cat([first.boxes, second.boxes]), torch.cat([first.clips, second.clips]))
    alike = people_alike(scene)
    assert accuracy("person_context_person", alike, first, targets) == 1
    assert accuracy("person", alike, first, targets) < 0.8
    assert accuracy("person_person", alike, first, targets) < 0.8
    assert accuracy("person_person", alike, both, targets.repeat(2)) == 1
    earlier = second._replace(clips=first.clips + 16)
    tracked = People(torch.cat([first.boxes, earlier.boxes]), torch.cat([first.clips, earlier.clips]))
    two_clips, later = torch.cat([alike[:1].expand(16, -1, -1, -1), alike]), torch.arange(16).repeat(2)
    assert accuracy("person_person", two_clips, tracked, targets.repeat(2)) < 0.9
    assert accuracy("person_person", two_clips, tracked._replace(tracks=later), targets.repeat(2)) == 1


def people_alike(scene: Tensor) -> Tensor:
    """Scenes whose upper left is everywhere the same."""
    scene[:, :, :4, :4] = scene[:1, :, :4, :4]
    return scene


@torch.no_grad()
def test_others_of_a_track_are_seen_by_how_much_later_they_are() -> None:
    torch.manual_seed(0)
    head = PersonPerson(6, person=8, hidden=8, blocks=1, dropout=0.0, reach=2, step=5).eval()
    for weight in head.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.5)
    features = torch.randn(3, 6, 5, 5)
    tracked = people(0, 1, 2)._replace(tracks=torch.zeros(3, dtype=torch.int64))

    def at(*frames: int) -> torch.Tensor:
        return head(features, tracked._replace(frames=torch.tensor(frames)))

    torch.testing.assert_close(at(1, 6, 11), at(31, 36, 41))
    torch.testing.assert_close(at(1, 6, 11), at(0, 6, 12))  # to the nearest step
    torch.testing.assert_close(at(0, 10, 90), at(0, 10, 40))  # beyond its reach
    for other in (at(11, 6, 1), at(1, 6, 6), at(1, 1, 1)):
        assert ((at(1, 6, 11) - other).abs().amax(1) > 1e-4).all()
    block, rows = head.blocks[0], torch.randn(3, 8)
    assert isinstance(block, Interaction)
    later = torch.tensor([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]])
    seen = block(rows, rows, torch.ones(3, 3, dtype=torch.bool), later)
    for person in range(3):
        keys, values = (
            block.key(rows) + block.key_times[later[person] + 2],
            block.value(rows) + block.value_times[later[person] + 2],
        )
        weights = (keys @ block.query(rows[person]) / math.sqrt(8)).softmax(0)
        expected = rows[person] + block.out(block.norm(weights @ values).relu())
        torch.testing.assert_close(seen[person], expected)
