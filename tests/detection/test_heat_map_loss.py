"""The loss of heat maps: cases by hand, invariants, and that minimising it finds each class where it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

from tps_pipeline.detection.detector import boxes_and_scores
from tps_pipeline.detection.heat_map_loss import BOX, FAINTEST, NARROWEST, SPREAD, HeatMapLoss, spread_of
from tps_pipeline.models.heat_maps import STRIDE, HeatMaps, Maps

SIZE, CLASSES = 64, 3
PLACES = SIZE // STRIDE
ANCHORS = torch.tensor([[16.0, 16], [16, 16], [16, 16]])


def maps(batch: int = 1) -> Maps:
    """Every place as likely as any other and as nowhere, every box its class's anchor."""
    return Maps(
        torch.zeros(batch, CLASSES, PLACES, PLACES, requires_grad=True),
        torch.zeros(batch, CLASSES, requires_grad=True),
        torch.zeros(batch, CLASSES, 4, PLACES, PLACES, requires_grad=True),
    )


def target(*box: float, image: int = 0, label: int = 0) -> Tensor:
    """A target of a centre and a size in pixels."""
    return torch.tensor([[image, label, *(value / SIZE for value in box)]])


def test_a_centre_is_spread_over_the_places_around_it_the_larger_the_box_the_farther() -> None:
    boxes = torch.tensor([[18.0, 30, 4, 4], [32, 32, 60, 30]])
    spread = spread_of(boxes, PLACES, PLACES)
    torch.testing.assert_close(spread.sum((1, 2)), torch.ones(2))
    assert divmod(int(spread[0].argmax()), PLACES) == (3, 2)
    middles = (torch.arange(PLACES) + 0.5) * STRIDE
    for summed, side in enumerate((60, 30)):
        shares, centre = spread[1].sum(summed), 32
        assert (shares * middles).sum().item() == pytest.approx(centre, abs=1e-3)
        deviation = math.sqrt(float((shares * (middles - centre) ** 2).sum()))
        assert deviation == pytest.approx(max(SPREAD * side, NARROWEST * STRIDE), rel=0.1)


def test_it_is_the_cross_entropy_of_places_and_the_boxes_complete_iou() -> None:
    total, parts = HeatMapLoss(ANCHORS)(maps(batch=2), target(30, 30, 16, 16))
    # All places and nowhere are alike: whatever is wanted of them costs the same.
    assert parts["place"].item() == pytest.approx(math.log(PLACES**2 + 1))
    # At a place the anchor's box is as far aside as the place's middle is from the centre; it counts as its share does.
    shares = spread_of(torch.tensor([[30.0, 30, 16, 16]]), PLACES, PLACES)[0]
    row, column = (shares > FAINTEST).nonzero(as_tuple=True)
    left, top = (column + 0.5) * STRIDE - 8, (row + 0.5) * STRIDE - 8
    there = torch.stack((left, top, left + 16, top + 16), 1)
    costs = complete_box_iou_loss(there, torch.tensor([[22.0, 22, 38, 38]]).expand(len(there), -1), reduction="none")
    by_hand = (costs * shares[row, column]).sum() / shares[row, column].sum().clamp(min=1)
    assert len(there) >= 4
    assert parts["box"].item() == pytest.approx(BOX * by_hand.item(), rel=1e-4)
    assert total.item() == pytest.approx(2 * (parts["place"] + parts["box"]).item())


def test_what_is_not_there_is_wanted_nowhere_and_what_is_there_is_not() -> None:
    given = maps()
    HeatMapLoss(ANCHORS)(given, target(30, 30, 16, 16, label=1))[0].backward()
    slopes = given.nowhere.grad
    assert slopes is not None
    assert given.boxes.grad is not None
    assert (slopes[0] < 0).tolist() == [True, False, True]
    assert given.boxes.grad[0, [0, 2]].eq(0).all()
    assert given.boxes.grad[0, 1].ne(0).any()


def test_a_batch_without_boxes_has_a_finite_loss() -> None:
    total, parts = HeatMapLoss(ANCHORS)(maps(), torch.zeros(0, 6))
    total.backward()
    assert torch.isfinite(total)
    assert parts["box"] == 0


def test_neither_the_order_of_boxes_matters_nor_that_one_is_given_twice() -> None:
    torch.manual_seed(0)
    given = Maps(*(torch.randn(each.shape) for each in maps(batch=2)))
    targets = torch.cat((target(20, 30, 12, 20), target(40, 44, 20, 12, label=2), target(9, 9, 8, 8, image=1)))
    loss = HeatMapLoss(ANCHORS)
    expected = loss(given, targets)[0]
    torch.testing.assert_close(loss(given, targets.flip(0))[0], expected)
    torch.testing.assert_close(loss(given, torch.cat((targets, targets)))[0], expected)
    assert not torch.allclose(loss(given, targets[1:])[0], expected)


def scene(rng: np.random.Generator, images: int) -> tuple[Tensor, Tensor]:
    """Pictures with rectangles of three colours, a class each, but for one that is missing; and their boxes."""
    pictures = rng.random((images, 3, SIZE, SIZE), dtype=np.float32) * 0.2
    rows = []
    for image in range(images):
        for label, quadrant in enumerate(rng.permutation(4)[:CLASSES]):
            if label == image % (CLASSES + 1):
                continue
            x, y = rng.integers(1, 8, 2) + np.array([quadrant % 2, quadrant // 2]) * SIZE // 2
            w, h = rng.integers(10, 24, 2)
            pictures[image, label, y : y + h, x : x + w] = 1
            rows.append([image, label, *(np.array([x + w / 2, y + h / 2, w, h]) / SIZE)])
    return torch.from_numpy(pictures), torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.mark.whole
def test_minimising_it_finds_every_box_and_what_is_not_there() -> None:
    torch.manual_seed(0)
    images, targets = scene(np.random.default_rng(1), images=4)
    model, loss = HeatMaps(classes=CLASSES, width=0.25, anchors=ANCHORS), HeatMapLoss(ANCHORS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=100)
    for _ in range(100):
        total, _ = loss(model(images), targets)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # with the batch's own statistics: the running ones lag behind so short a training
        boxes, scores = boxes_and_scores(model.decode(model(images)))
    there = torch.zeros(len(images), CLASSES, dtype=torch.bool)
    image, label = targets[:, :2].long().T
    there[image, label] = True
    likely = scores.diagonal(dim1=1, dim2=2)
    assert likely[there].min() > 0.5 > likely[~there].max()
    wanted = box_convert(targets[:, 2:] * SIZE, "cxcywh", "xyxy")
    assert box_iou(boxes[image, label], wanted).diagonal().min() > 0.7
