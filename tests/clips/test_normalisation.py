"""Pictures as networks take them: a row at a time gives what a pixel at a time does, to the last bit."""

from __future__ import annotations

import torch

from tps_pipeline.clips.normalisation import IMAGENET, normalise


def test_every_pixel_is_normalised_by_its_colour() -> None:
    clips = torch.randint(0, 256, (2, 3, 5, 7, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values) for values in IMAGENET)
    expected = ((clips.float() - mean) / std).permute(0, 4, 1, 2, 3)
    assert torch.equal(normalise(clips, IMAGENET), expected)
    turned = clips.transpose(2, 3)  # not contiguous
    assert torch.equal(normalise(turned, IMAGENET), expected.transpose(3, 4))
