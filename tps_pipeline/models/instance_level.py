"""The network that names the states of each person's parts: SlowFast, a relation head and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.models.relations import People, Person, PersonContextPerson, PersonPerson
from tps_pipeline.models.slowfast import SlowFast


class InstanceNet(nn.Module):
    """All people of a clip from one look at it.

    Args:
        settings: The recipe's entry.
        labels: Outputs for each person.
    """

    def __init__(self, settings: recipe.InstanceLevel, labels: int) -> None:
        super().__init__()
        self.backbone = SlowFast(settings.network)
        channels, widths = sum(self.backbone.channels), (settings.person_width, settings.relation_width)
        self.head = _head(settings, channels, *widths)
        self.classify = nn.Linear(self.head.channels, labels)

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


def _head(
    settings: recipe.InstanceLevel, channels: int, person: int, hidden: int
) -> Person | PersonContextPerson | PersonPerson:
    blocks, dropout = settings.relation_blocks, settings.relation_dropout
    match settings.relation:
        case "person":
            return Person(channels, person=person, hidden=hidden)
        case "person_context_person":
            return PersonContextPerson(channels, person=person, hidden=hidden, blocks=blocks, dropout=dropout)
        case "person_person":
            reach = settings.clips_per_video - 1 if settings.tracked else 0
            return PersonPerson(
                channels, person=person, hidden=hidden, blocks=blocks, dropout=dropout,
                reach=reach, step=settings.track_stride,
            )  # fmt: skip
