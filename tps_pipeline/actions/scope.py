"""What members that see how people move have in common: what their files say beside tensors, and how they are asked.

What a member makes of the people of one video is its own; here stands which actions it tells apart, and what is said
of a video in which nobody is detected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe
from tps_pipeline.actions.people import People, people_of
from tps_pipeline.actions.probabilities import action_indices, as_table, frequencies, ids
from tps_pipeline.labels import PARTS

Settings = TypeVar("Settings", recipe.TrajectoryAction, recipe.StatisticsAction)
Say = Callable[[People], NDArray[np.float64]]
"""Probabilities of the actions, `(actions,)`, by the people of a video."""
Seen = tuple[pa.Table, Mapping[str, People]]
"""Videos, `tables.VIDEOS`, and who was detected in them (`people_of`)."""


@dataclass(frozen=True)
class Scope(Generic[Settings]):
    """What a member tells apart, and what it was trained on.

    Attributes:
        settings: The recipe's section.
        actions: What it tells apart, in the order of its probabilities.
        frequencies: How often each of them was trained on, as shares.
        parts: Whose boxes it takes.
    """

    settings: Settings
    actions: list[str]
    frequencies: list[float]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, videos: pa.Table, actions: list[str], settings: Settings, parts: tuple[str, ...]) -> Scope[Settings]:
        """That of some training videos.

        Raises:
            DataError: A video shows an action that is not among `actions`.
        """
        return cls(settings, actions, frequencies(action_indices(videos, actions), len(actions)), parts)

    @classmethod
    def read(cls, metadata: Mapping[str, str], kind: type[Settings]) -> Scope[Settings]:
        """That which a file's metadata tells of, with settings of a kind."""
        parts = tuple(json.loads(metadata["parts"])) if "parts" in metadata else PARTS
        actions, usual = json.loads(metadata["actions"]), json.loads(metadata["frequencies"])
        return cls(kind.model_validate_json(metadata["settings"]), actions, usual, parts)

    def metadata(self) -> dict[str, str]:
        """For the file; see `read`."""
        return {
            "actions": json.dumps(self.actions),
            "frequencies": json.dumps(self.frequencies),
            "settings": self.settings.model_dump_json(),
            **({} if self.parts == PARTS else {"parts": json.dumps(self.parts)}),
        }

    def lessons(self, known: Seen) -> tuple[list[People], list[int]]:
        """The people of each training video that has any, and the place of its action."""
        videos, people = known
        named = zip(ids(videos), action_indices(videos, self.actions).tolist(), strict=True)
        lessons = [(people[video], action) for video, action in named if video in people]
        return [each for each, _ in lessons], [action for _, action in lessons]

    def accuracy(self, held_out: Seen, say: Say) -> float:
        """Share of held-out videos whose likeliest action is the annotated one."""
        videos, people = held_out
        found = self.probabilities([people.get(video) for video in ids(videos)], say)
        return float(np.equal(np.argmax(found, axis=1), action_indices(videos, self.actions)).mean())

    def probabilities(self, videos: Sequence[People | None], say: Say | None) -> NDArray[np.float64]:
        """Probabilities of the actions for each video; the frequencies for nobody, or by nobody (None).

        Returns:
            `(videos, actions)`.
        """
        usual = np.array(self.frequencies)
        found = [say(people) if people and say else usual for people in videos]
        return np.array(found).reshape(len(videos), len(usual))

    def predict(self, videos: pa.Table, detections: pa.Table, tracks: pa.Table, say: Say | None) -> pa.Table:
        """Name the action of every video.

        Args:
            videos: `tables.VIDEOS`; actions in it are not looked at.
            detections: `tables.DETECTIONS` of the same videos.
            tracks: `tables.TRACKS` of the same people.
            say: What is asked; None for nobody.

        Returns:
            A table of `tables.VIDEO_ACTIONS`, a row for each video.
        """
        people, names = people_of(videos, detections, tracks, self.settings, parts=self.parts), ids(videos)
        found = self.probabilities([people.get(name) for name in names], say)
        return as_table(names, self.actions, found.tolist())
