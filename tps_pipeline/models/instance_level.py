"""The network that names the states of each person's parts: SlowFast, a relation head and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps_pipeline.models.relations import People, Person, PersonContextPerson, PersonPerson
from tps_pipeline.models.slowfast import SlowFast


class InstanceNet(nn.Module):
    """All people of a clip from one look at it.

    Args:
        backbone: What the clips are seen by.
        head: Describes people from features with as many channels as both pathways of the backbone have together.
        labels: Outputs for each person.
    """

    def __init__(self, backbone: SlowFast, head: Person | PersonContextPerson | PersonPerson, *, labels: int) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        self.head = head
        self.classify = nn.Linear(head.channels, labels)

    def forward(self, clips: Tensor, people: People) -> Tensor:
        """Classify people.

        Args:
            clips: Normalised, `(B, 3, T, H, W)`.
            people: Who is in them at their key frames.

        Returns:
            Logits `(N, labels)`.
        """
        return self.relate(self.features(clips), people)

    def features(self, clips: Tensor) -> Tensor:
        """Both pathways' averages over time, side by side: `(B, C, H / 16, W / 16)`."""
        slow, fast = self.backbone(clips)
        return torch.cat([slow.mean(2), fast.mean(2)], 1)

    def relate(self, features: Tensor, people: People) -> Tensor:
        """Logits `(N, labels)` of the people in clips with such features."""
        return self.classify(self.head(features, people))
