"""What a person's landmarks add to the features of what is seen of them.

How a person stands is told by some numbers, whatever the picture is like; how these are joined with what the pixels say
is for the heads in `relations.py`, and who finds landmarks for `detection/pose.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps_pipeline.landmarks import LANDMARKS

REACH = 2.0
"""Half sides of a person's box by which a landmark lies off its middle at most: the box is around all that are seen."""

HIDDEN = 256
"""Features between the landmarks and what they add. Ours."""


class Keypoints(nn.Module):
    """Landmarks as features, which are added to a person's; adds nothing before it has learned to.

    A landmark is where it lies in the person's box and how surely it is seen, and counts by the latter. Who has no
    landmarks is known by that: a learned row stands for none.

    Args:
        channels: Of a person's features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(3 * len(LANDMARKS), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, channels))
        self.unknown = nn.Parameter(torch.zeros(channels))
        last = self.embed[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, boxes: Tensor, landmarks: Tensor) -> Tensor:
        """What is added to people's features.

        Args:
            boxes: Left, upper, right and lower edge as shares of the picture, `(N, 4)`.
            landmarks: x and y of each as shares of the picture, and visibility from 0 to 1, `(N, 33, 3)`; NaN for whom
                none are known.

        Returns:
            `(N, channels)`.
        """
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        middle, half = (low + high) / 2, ((high - low) / 2).clamp_min(1e-6)
        seen = landmarks[..., 2:]
        places = ((landmarks[..., :2] - middle) / half).clamp(-REACH, REACH)
        unknown = landmarks.isnan().flatten(1).any(1, keepdim=True)
        told = torch.cat((places * seen, seen), 2).nan_to_num().flatten(1)
        return torch.where(unknown, self.unknown, self.embed(told))
