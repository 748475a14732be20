"""Heat maps: what they say, by hand; that a mirror image is a mirror image; and that folded norms change nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tps_pipeline.models.heat_maps import STRIDE, HeatMaps, Maps
from tps_pipeline.models.weights import load_into
from tps_pipeline.models.yolov7 import YOLOv7

CLASSES, ROWS, COLUMNS = 2, 6, 8


def network() -> HeatMaps:
    torch.manual_seed(0)
    return HeatMaps(classes=CLASSES, width=0.25, anchors=[[8.0, 12.0], [16.0, 4.0]])


def silent() -> Maps:
    """Nothing is surely anywhere, and every box its class's anchor in the middle of its place."""
    return Maps(
        torch.full((1, CLASSES, ROWS, COLUMNS), -100.0),
        torch.zeros(1, CLASSES),
        torch.zeros(1, CLASSES, 4, ROWS, COLUMNS),
    )


def test_a_picture_gives_maps_of_an_eighth_of_its_size_and_a_box_of_each_class() -> None:
    model, images = network(), torch.rand(3, 3, 64, 96)
    maps = model.train()(images)
    assert (maps.places.shape, maps.nowhere.shape) == ((3, CLASSES, 8, 12), (3, CLASSES))
    decoded, _ = model.eval()(images)
    assert decoded.shape == (3, CLASSES, 5 + CLASSES)
    assert torch.equal(decoded[..., 5:], torch.eye(CLASSES).expand(3, -1, -1))
    assert ((decoded[..., 4] >= 0) & (decoded[..., 4] <= 1)).all()
    torch.testing.assert_close(maps.log_probabilities().exp().sum(2), torch.ones(3, CLASSES))


def test_a_peak_is_a_box_and_its_score_what_it_shares_with_nowhere() -> None:
    maps = silent()
    maps.places[0, 0, 2, 3] = 0.0  # as likely as nowhere
    maps.boxes[0, 0, :, 2, 3] = torch.tensor([0.25, -0.5, 0.0, torch.log(torch.tensor(2.0))])
    box, absent = network().decode(maps)[0]
    assert box[:5].tolist() == pytest.approx([(3.5 + 0.25) * STRIDE, (2.5 - 0.5) * STRIDE, 8, 24, 0.5])
    assert absent[4] < 1e-6


def test_two_places_side_by_side_are_one_box_between_them_and_far_ones_are_not() -> None:
    maps = silent()
    maps.nowhere[:] = -100
    maps.places[0, 0, 2, 3:5] = torch.tensor([0.0, torch.log(torch.tensor(3.0))])
    maps.places[0, 1, 0, 0], maps.places[0, 1, 5, 7] = 0.0, 1.0
    near, far = network().decode(maps)[0]
    assert near[:5].tolist() == pytest.approx([(0.1 * 3.5 + 0.9 * 4.5) * STRIDE, 2.5 * STRIDE, 8, 12, 1])
    assert far[:2].tolist() == pytest.approx([7.5 * STRIDE, 5.5 * STRIDE])
    assert far[4].item() == pytest.approx(torch.tensor([0.0, 1.0]).softmax(0)[1].item())


def test_the_likeliest_place_is_taken_not_the_middle_of_two_that_are_together_likelier() -> None:
    maps = silent()
    maps.nowhere[:] = -100
    maps.places[0, 0, 2, 1], maps.places[0, 0, 2, 4], maps.places[0, 0, 2, 6] = (
        torch.tensor([0.4, 0.3, 0.3]).log().tolist()
    )
    box = network().decode(maps)[0, 0]
    assert box[:5].tolist() == pytest.approx([1.5 * STRIDE, 2.5 * STRIDE, 8, 12, 0.4])


def test_mirrored_maps_are_mirrored_boxes() -> None:
    torch.manual_seed(1)
    maps = Maps(*(torch.randn(each.shape) for each in silent()))
    across = torch.tensor([-1.0, 1, 1, 1])[:, None, None]
    mirrored = Maps(maps.places.flip(3), maps.nowhere, maps.boxes.flip(4) * across)
    model = network()
    boxes, others = model.decode(maps), model.decode(mirrored)
    others[..., 0] = COLUMNS * STRIDE - others[..., 0]
    torch.testing.assert_close(boxes, others)


def test_folded_norms_change_nothing() -> None:
    model, images = network(), torch.rand(2, 3, 64, 64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    model.train()(images)  # norms that have seen something
    with torch.no_grad():
        before: Tensor = model.eval()(images)[0]
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.fuse().modules())
        torch.testing.assert_close(model(images)[0], before, rtol=1e-4, atol=1e-4)


def test_a_yolov7_s_body_is_taken_over_whole() -> None:
    model, other = network(), YOLOv7("tiny", classes=3, width=0.25)
    load_into(model, other.state_dict(), keep=["head.anchors"])
    own = {name for name in model.state_dict() if name.split(".")[0] in ("anchors", "maps", "nowhere")}
    for name, tensor in model.state_dict().items():
        assert name in own or torch.equal(tensor, other.state_dict()[name])
    assert len(own) == 1 + 2 * (3 + 1)
