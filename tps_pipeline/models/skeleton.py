"""A network that reads the boxes of a person's parts over time as a skeleton, and names what the person does.

A graph whose nodes are the person's box and those of the parts, whose edges are learned beside the body's: ST-GCN++
(arXiv 2205.09443) learns them for all sequences alike, CTR-GCN (arXiv 2107.12213) adds what a sequence asks for. What
little data is left to learn from is why the network is small and pools by mean and spread over time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline.models.part_trajectory import FEATURES, features

BONES = (
    ("head", "hip"),
    ("head", "left_arm"),
    ("head", "right_arm"),
    ("left_arm", "left_hand"),
    ("right_arm", "right_hand"),
    ("hip", "left_leg"),
    ("hip", "right_leg"),
    ("left_leg", "left_foot"),
    ("right_leg", "right_foot"),
)
"""Parts that hang together, where there are such; the person's box belongs to all, and all other edges are learned."""
QUERIES = 8
"""Channels that two nodes are compared in, in each graph."""


def body(parts: Sequence[str]) -> Tensor:
    """The graph that learning begins with: each node's shares of its neighbours and of itself, `(nodes, nodes)`."""
    edges = torch.eye(1 + len(parts))
    edges[0], edges[:, 0] = 1, 1
    for one, other in BONES:
        if one in parts and other in parts:
            i, j = 1 + parts.index(one), 1 + parts.index(other)
            edges[i, j] = edges[j, i] = 1
    return edges / edges.sum(1, keepdim=True)


class Block(nn.Module):
    """A convolution over the graph and one over time, each added to what comes in."""

    def __init__(self, parts: Sequence[str], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.graph = nn.Parameter(body(parts).repeat(heads, 1, 1))
        self.adapts = nn.Parameter(torch.zeros(1))
        self.compare = nn.Linear(width, 2 * heads * QUERIES)
        self.before_graph, self.before_time = nn.LayerNorm(width), nn.LayerNorm(width)
        self.value, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.time = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, seen: Tensor) -> Tensor:
        """Mix nodes, then frames.

        Args:
            nodes: `(B, T, 11, C)`.
            seen: 1 where a box is there, `(B, T, 11, 1)`. Others say nothing to their neighbours but hear of them;
                frames without the person are as if outside the sequence.
        """
        batch, steps, boxes, _ = nodes.shape
        told = self.before_graph(nodes) * seen
        of_sequence = told.sum(1) / seen.sum(1).clamp(min=1)
        one, other = self.compare(of_sequence).view(batch, boxes, 2, self.heads, QUERIES).unbind(2)
        alike = torch.einsum("bnhc,bmhc->bhnm", one, other) / QUERIES**0.5
        graph = self.graph + self.adapts * torch.tanh(alike)
        values = self.value(told).view(batch, steps, boxes, self.heads, -1)
        mixed = torch.einsum("bhnm,btmhc->btnhc", graph, values).flatten(3)
        nodes = nodes + self.dropout(functional.gelu(self.mix(mixed)))
        lines = (self.before_time(nodes) * seen[:, :, :1]).permute(0, 2, 3, 1).flatten(0, 1)
        over_time = self.time(lines).unflatten(0, (batch, boxes)).permute(0, 3, 1, 2)
        return nodes + self.dropout(functional.gelu(over_time))


class SkeletonNet(nn.Module):
    """Logits of the actions for a person's sequence.

    Args:
        parts: Whose boxes come in after the person's.
        width: Channels of a node's description.
        blocks: How many mix nodes and frames, one after the other.
        heads: Learned graphs of a block; they share the channels.
        dropout: Share of features left out in training.
        classes: Outputs.
    """

    def __init__(
        self, parts: Sequence[str], *, width: int, blocks: int, heads: int, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES + 1, width)
        self.which = nn.Parameter(0.1 * torch.randn(1 + len(parts), width))
        self.blocks = nn.ModuleList(Block(parts, width, heads, dropout) for _ in range(blocks))
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Dropout(dropout), nn.Linear(2 * width, classes))

    def forward(self, corners: Tensor, confidences: Tensor) -> Tensor:
        """Read sequences.

        Args:
            corners: As `features` takes them, `(B, T, 1 + parts, 4)`.
            confidences: `(B, T, 1 + parts)`; 0 where there is no box.

        Returns:
            `(B, classes)`.
        """
        seen = (confidences > 0).float()[..., None]
        nodes = functional.gelu(self.embed(torch.cat((features(corners, confidences), seen), -1)) + self.which)
        for block in self.blocks:
            nodes = block(nodes, seen)
        frames, present = nodes.mean(2), seen[:, :, 0]
        length = present.sum(1).clamp(min=1)
        mean = (frames * present).sum(1) / length
        spread = (((frames - mean[:, None]) ** 2 * present).sum(1) / length + 1e-4).sqrt()
        return self.head(torch.cat((mean, spread), -1))
