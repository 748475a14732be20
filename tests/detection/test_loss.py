"""The detection loss: hand-computed cases, invariants, and that minimising it finds boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

from tps_pipeline.detection.detector import boxes_and_scores
from tps_pipeline.detection.loss import DetectionLoss, complete_iou_loss, match
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.models.yolov7 import YOLOv7, kmeans_anchors
from tps_pipeline.models.yolov7_layers import STRIDES

SIZE = 64
# At stride 8 one anchor of 16 x 16; the others are over four times as long or as short as any box below.
ONE_ANCHOR = [[[16, 16], [1, 1], [1, 1]], [[1, 1]] * 3, [[1, 1]] * 3]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def zero_maps(*, classes: int, batch: int = 1) -> list[Tensor]:
    """Maps that predict an anchor-sized box at each cell's centre, all probabilities one half."""
    return [torch.zeros(batch, 3, SIZE // s, SIZE // s, 5 + classes, requires_grad=True) for s in STRIDES]


def target(*box: float, image: int = 0, label: int = 0) -> Tensor:
    """A target of a centre and a size in pixels."""
    return torch.tensor([[image, label, *(value / SIZE for value in box)]])


def loss_for(classes: int, anchors: object = ONE_ANCHOR) -> DetectionLoss:
    return DetectionLoss(torch.tensor(anchors), STRIDES, classes=classes, image_size=SIZE)


def held(raw: Tensor) -> set[tuple[int, int, int]]:
    """(anchor, row, column) of the places in the first image that a box pulls at."""
    assert raw.grad is not None
    return {(a, row, column) for a, row, column in raw.grad[0, ..., :4].abs().sum(-1).nonzero().tolist()}


def test_a_perfect_box_costs_only_its_undecided_probabilities() -> None:
    total, parts = loss_for(4)(zero_maps(classes=4, batch=2), target(28, 28, 16, 16, label=3))
    ln2 = math.log(2)
    assert parts["box"].item() == pytest.approx(0, abs=1e-6)
    assert parts["objectness"].item() == pytest.approx(0.7 * (SIZE / 640) ** 2 * (4 + 1 + 0.4) * ln2)
    assert parts["classification"].item() == pytest.approx(0.3 * 4 / 80 * ln2)
    assert total.item() == pytest.approx(2 * sum(part.item() for part in parts.values()))


@pytest.mark.parametrize("size", [(60, 0), (0, 60), (0, 0)])
def test_a_box_that_rounding_leaves_no_size_learns_to_have_one(size: tuple[float, float]) -> None:
    box = torch.tensor([[48.0, 80.0, 48.0 + size[0], 80.0 + size[1]]], requires_grad=True)
    complete_iou_loss(box, torch.tensor([[54.0, 44.0, 72.0, 78.0]])).sum().backward()
    assert box.grad is not None
    assert box.grad.isfinite().all()
    assert box.grad.any()


def test_a_shifted_box_costs_its_complete_iou() -> None:
    raw = zero_maps(classes=1)
    total, parts = loss_for(1)(raw, target(30, 28, 16, 16))
    # 14 of 18 columns are shared; centres are 2 apart, the enclosing box is 18 x 16; sides have equal ratios.
    by_hand = 1 - (14 / 18 - 2**2 / (18**2 + 16**2))
    predicted, wanted = torch.tensor([[20.0, 20, 36, 36]]), torch.tensor([[22.0, 20, 38, 36]])
    assert complete_box_iou_loss(predicted, wanted).item() == pytest.approx(by_hand)
    assert parts["box"].item() == pytest.approx(0.05 * by_hand, rel=1e-5)
    total.backward()
    assert held(raw[0]) == {(0, 3, 3)}
    # The objectness is pulled towards the overlap: the slope of a cross-entropy is probability minus target.
    assert raw[0].grad is not None
    slopes = raw[0].grad[0, ..., 4] / (4 * 0.7 * (SIZE / 640) ** 2 / (3 * 8 * 8))
    assert slopes[0, 3, 3].item() == pytest.approx(0.5 - (1 - by_hand), rel=1e-4)
    assert slopes[0, 0, 0].item() == pytest.approx(0.5)


def test_candidates_are_the_centre_cell_and_the_two_nearest_inside_the_map() -> None:
    large = [[[60, 60]] * 3, [[1, 1]] * 3, [[1, 1]] * 3]
    for centre, cells in (
        ((27, 37), {(4, 3), (5, 3), (4, 2)}),  # in the left half of column 3, in the lower half of row 4
        ((2, 62), {(7, 0)}),  # both neighbours would lie outside
    ):
        raw = zero_maps(classes=1)
        loss_for(1, large)(raw, target(*centre, 60, 61))[0].backward()
        assert {(row, column) for _, row, column in held(raw[0])} == cells


def test_an_anchor_is_a_candidate_below_four_times_the_side() -> None:
    for side, assigned in ((63.9, 1), (4.1, 1), (3.9, 0)):
        raw = zero_maps(classes=1)
        loss_for(1)(raw, target(28, 28, 16, side))[0].backward()
        assert len(held(raw[0])) == assigned
        assert not held(raw[1])


def test_matching_takes_as_many_candidates_as_overlaps_add_up_to_and_settles_conflicts() -> None:
    overlap = torch.tensor([[0.9, 0.8, 0.7, 0.0, 0.1], [0.1, 0.2, 0.1, 0.1, 0.0]])
    cost = torch.tensor([[1.0, 2.0, 3.0, 9.0, 8.0], [5.0, 1.0, 7.0, 6.0, 4.0]])
    assert match(overlap, cost).tolist() == [0, 1, -1, -1, -1]  # 2 and 1 wanted; the second one is cheaper for 1
    assert match(overlap[:1], cost[:1]).tolist() == [0, 0, -1, -1, -1]
    assert match(torch.zeros(1, 2), torch.tensor([[3.0, 2.0]])).tolist() == [-1, 0]  # at least one


def test_images_are_assigned_apart() -> None:
    both = zero_maps(classes=2, batch=2)
    targets = torch.cat((target(30, 28, 16, 16), target(30, 28, 16, 16, image=1, label=1)))
    loss_for(2)(both, targets)[0].backward()
    assert both[0].grad is not None
    moved = both[0].grad[..., :4].abs().sum((-1, 1)).nonzero().tolist()
    assert moved == [[0, 3, 3], [1, 3, 3]]


@pytest.mark.parametrize("classes", [1, 5])
def test_a_batch_without_boxes_has_a_finite_loss_that_only_lowers_objectness(classes: int) -> None:
    raw = zero_maps(classes=classes, batch=2)
    total, parts = loss_for(classes)(raw, torch.zeros(0, 6))
    total.backward()
    assert torch.isfinite(total)
    assert parts["box"] == parts["classification"] == 0
    for level in raw:
        assert level.grad is not None
        assert (level.grad[..., 4] > 0).all()
        assert level.grad[..., :4].eq(0).all()
        assert level.grad[..., 5:].eq(0).all()


def test_a_single_class_has_no_class_loss() -> None:
    raw = zero_maps(classes=1)
    total, parts = loss_for(1)(raw, target(30, 28, 16, 16))
    total.backward()
    assert parts["classification"] == 0
    assert raw[0].grad is not None
    assert raw[0].grad[..., 5].eq(0).all()


def random_scene(rng: np.random.Generator, *, images: int, classes: int) -> tuple[Tensor, Tensor]:
    """Pictures with three rectangles each, a colour a class, on noise; and their boxes."""
    pictures = rng.random((images, 3, SIZE, SIZE), dtype=np.float32) * 0.2
    rows = []
    for image in range(images):
        for quadrant in rng.permutation(4)[:3]:
            x, y = rng.integers(1, 8, 2) + np.array([quadrant % 2, quadrant // 2]) * SIZE // 2
            w, h = rng.integers(10, 24, 2)
            label = int(rng.integers(classes))
            pictures[image, label, y : y + h, x : x + w] = 1
            rows.append([image, label, *(np.array([x + w / 2, y + h / 2, w, h]) / SIZE)])
    return torch.from_numpy(pictures), torch.tensor(np.array(rows), dtype=torch.float32)


def test_the_order_of_boxes_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    _, targets = random_scene(rng, images=3, classes=3)
    raw = [torch.randn(3, 3, SIZE // s, SIZE // s, 8) for s in STRIDES]
    loss = DetectionLoss(torch.full((3, 3, 2), 16.0), STRIDES, classes=3, image_size=SIZE)
    expected, _ = loss(raw, targets)
    shuffled, _ = loss(raw, targets[torch.randperm(len(targets))])
    torch.testing.assert_close(shuffled, expected)
    assert not torch.allclose(loss(raw, targets[1:])[0], expected)


@pytest.mark.whole
def test_minimising_it_ranks_every_box_before_anything_else() -> None:
    torch.manual_seed(0)
    images, targets = random_scene(np.random.default_rng(1), images=4, classes=3)
    boxes = box_convert(targets[:, 2:] * SIZE, "cxcywh", "xyxy")
    model = YOLOv7("tiny", classes=3, width=0.25, anchors=kmeans_anchors(targets[:, 4:].numpy() * SIZE))
    loss = DetectionLoss(model.head.anchors, STRIDES, classes=3, image_size=SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=120)
    for _ in range(120):
        total, _ = loss(model(images), targets)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # with the batch's own statistics: the running ones lag behind so short a training
        decoded = model.head.decode(model(images))
    for image, (found, _, labels) in enumerate(suppress(*boxes_and_scores(decoded), threshold=0.01, iou=0.5)):
        mine = targets[:, 0] == image
        overlap = box_iou(boxes[mine], found[: int(mine.sum())])
        assert (overlap.amax(1) > 0.7).all()
        assert torch.equal(labels[overlap.argmax(1)], targets[mine, 1].long())


def test_suppression_is_by_class_and_picture_best_first_and_limited() -> None:
    rows = torch.tensor(
        [
            [20.0, 20, 10, 20, 0.9, 0.5, 0.8],  # both classes
            [21.0, 20, 10, 20, 0.8, 0.1, 0.8],  # over the first one, weaker
            [60.0, 20, 10, 20, 0.5, 0.0, 0.9],
            [90.0, 20, 10, 20, 0.1, 0.0, 0.9],  # too faint
        ]
    )
    fainter = rows * torch.tensor([1.0, 1, 1, 1, 0.9, 1, 1])
    pictures = boxes_and_scores(torch.stack((rows, torch.zeros_like(rows), fainter)))
    found = suppress(*pictures, threshold=0.2, iou=0.5)
    wanted = torch.tensor([[15.0, 10, 25, 30], [15, 10, 25, 30], [55, 10, 65, 30]])
    for picture, share in ((0, 1.0), (2, 0.9)):
        boxes, scores, labels = found[picture]
        torch.testing.assert_close(boxes, wanted)
        torch.testing.assert_close(scores, share * torch.tensor([0.72, 0.45, 0.45]))
        assert labels.tolist() == [1, 0, 1]
    assert [tuple(values.shape) for values in found[1]] == [(0, 4), (0,), (0,)]
    assert [len(scores) for _, scores, _ in suppress(*pictures, threshold=0.2, iou=0.5, most=1)] == [1, 0, 1]
    assert len(suppress(*pictures, threshold=0.2, iou=0.95)[0][1]) == 4
    single = suppress(*boxes_and_scores(rows[None, :, :6]), threshold=0.2, iou=0.5)  # the objectness is the score
    assert single[0][1].tolist() == pytest.approx([0.9, 0.5])


def test_anchors_are_the_sizes_that_boxes_cluster_around() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[8, 20], [40, 12], [50, 90]])
    sizes = np.concatenate([centre * rng.uniform(0.9, 1.1, (200, 2)) for centre in centres])
    anchors = kmeans_anchors(rng.permutation(sizes), 3, seed=2)
    np.testing.assert_allclose(anchors, centres, rtol=0.05)
    nine = kmeans_anchors(sizes, seed=1)
    assert nine.shape == (9, 2)
    assert (np.diff(nine.prod(1)) >= 0).all()
    assert np.array_equal(nine, kmeans_anchors(sizes, seed=1))
    assert kmeans_anchors(centres[:2]).shape == (9, 2)
    with pytest.raises(ValueError, match="at least one box"):
        kmeans_anchors(np.zeros((3, 2)))
