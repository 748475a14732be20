"""A network that reads the boxes of a person's parts over time as keypoints, and sees no pixels.

A person in a sampled frame is one vector of what is known of some boxes: the person's, and those of the parts.
Convolutions over time mix each of them with the frames around it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 10
"""Numbers that `features` gives for a box."""


def features(corners: Tensor, confidences: Tensor) -> Tensor:
    """Describe boxes by what the camera's distance and the person's place in the picture do not change.

    Args:
        corners: Continuous x1 y1 x2 y2, the person's first, `(B, T, 1 + parts, 4)`.
        confidences: 0 to 1, `(B, T, 1 + parts)`; at 0 there is no box, and nothing is read of it.

    Returns:
        `(B, T, 1 + parts, 10)`: centre (from the person's) and size in units of the person's box; size in units of the
        person's usual size (over the sequence, the square root of the area); how far the centre moved since the frame
        before in the same units, and whether that is known; confidence. All 0 where there is no box. Factors bring them
        to about one.
    """
    seen = (confidences > 0)[..., None]
    centres, sizes = (corners[..., :2] + corners[..., 2:]) / 2, (corners[..., 2:] - corners[..., :2]).clamp(min=1)
    person = seen[:, :, 0, 0]
    usual = torch.where(person, sizes[:, :, 0].log().mean(-1), torch.nan).nanmedian(1).values
    scale = usual.nan_to_num().exp()[:, None, None, None]
    moves, moved = torch.zeros_like(centres), torch.zeros_like(seen)
    moves[:, 1:] = (centres[:, 1:] - centres[:, :-1]) / scale
    moved[:, 1:] = seen[:, 1:] & seen[:, :-1]
    places = 4 * (centres - centres[:, :, :1]) / sizes[:, :, :1]
    shapes = torch.cat((4 * sizes / sizes[:, :, :1], 4 * sizes / scale), -1)
    motion = torch.cat((10 * moves.where(moved, 0), moved), -1)
    return torch.cat((places, shapes, motion, confidences[..., None]), -1).where(seen, 0)


class Block(nn.Module):
    """A convolution over time and a perceptron, each added to what comes in."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, frames: Tensor, present: Tensor) -> Tensor:
        """Mix frames.

        Args:
            frames: `(B, T, C)`.
            present: 1 where the person is seen, `(B, T, 1)`; other frames are as if outside the sequence.
        """
        mixed = self.time((self.norm(frames) * present).transpose(1, 2)).transpose(1, 2)
        frames = frames + functional.gelu(mixed)
        return frames + self.mlp(frames)


class PartTrajectoryNet(nn.Module):
    """Logits of every part's states in every frame of a sequence.

    Args:
        width: Channels of a frame's description.
        blocks: How many mix the frames, one after the other.
        kernel: Frames that a block's convolution sees, odd.
        parts: How many have boxes beside the person.
        labels: Outputs for each frame.
        actions: Number of actions whose probabilities come in; 0 for none.
    """

    def __init__(self, *, width: int, blocks: int, kernel: int, parts: int, labels: int, actions: int = 0) -> None:
        super().__init__()
        self.embed = nn.Linear((1 + parts) * (FEATURES + 1) + actions, width)
        self.blocks = nn.ModuleList(Block(width, kernel) for _ in range(blocks))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, labels))

    def forward(self, corners: Tensor, confidences: Tensor, actions: Tensor) -> Tensor:
        """Read sequences.

        Args:
            corners: As `features` takes them, `(B, T, 1 + parts, 4)`.
            confidences: `(B, T, 1 + parts)`.
            actions: Probabilities of the video's actions, `(B, actions)`; all 0 where nothing is known of it.

        Returns:
            `(B, T, labels)`.
        """
        seen = (confidences > 0).float()
        known = actions[:, None].expand(-1, corners.shape[1], -1)
        frames = functional.gelu(self.embed(torch.cat((features(corners, confidences).flatten(2), seen, known), -1)))
        for block in self.blocks:
            frames = block(frames, seen[:, :, :1])
        return self.head(frames)
