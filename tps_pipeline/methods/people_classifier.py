"""A trained network that names the states of each person's parts, as it is used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from tps_pipeline import recipe
from tps_pipeline.data.layout import progress
from tps_pipeline.errors import VideoError
from tps_pipeline.methods import clip_classifier
from tps_pipeline.methods.clip_classifier import BATCH, PIXELS, Classifier, normalise
from tps_pipeline.methods.part_state_loss import part_state_scores
from tps_pipeline.methods.part_states import with_states
from tps_pipeline.methods.people_training import shares
from tps_pipeline.models.instance_level import InstanceNet
from tps_pipeline.models.relations import People
from tps_pipeline.tables import PERSON_BOX
from tps_pipeline.video.clips import Windows, read_windows

log = logging.getLogger(__name__)


def load(checkpoint: Path) -> Classifier[recipe.InstanceLevel]:
    """The network that `people_training.fit` left in a folder."""
    return clip_classifier.load(checkpoint, recipe.InstanceLevel, InstanceNet)


def predict(
    classifier: Classifier[recipe.InstanceLevel],
    clips: Callable[[int, np.ndarray], np.ndarray],
    detections: pa.Table,
    videos: pa.Table,
    data: Path,
    *,
    person_threshold: float,
) -> pa.Table:
    """Give the parts of everyone detected the likeliest states.

    Args:
        classifier: The network.
        clips: The frames of the clips around some frames of a video with so many, as `read_windows` takes them.
        detections: `tables.DETECTIONS`.
        videos: `tables.VIDEOS` of the same videos.
        data: The folder that their paths are relative to.
        person_threshold: People with a lower score are left out of the clips and of the predictions.

    Returns:
        A table of `tables.PREDICTIONS`. Whose clip cannot be decoded gets the training data's most frequent states.
    """
    columns = ["video_id", "path", "n_frames", "width", "height"]
    files = {row["video_id"]: row for row in videos.select(columns).to_pylist()}
    detections = detections.filter(pa.array(detections["person_score"].to_numpy() >= person_threshold))
    rows = detections.select(["video_id", "frame", "person", *PERSON_BOX]).to_pandas()
    scores, person_of, known = [], np.zeros(len(rows), np.int64), 0
    for video, own in progress(list(rows.groupby("video_id", observed=True).indices.items()), "classifying people"):
        keys = rows[["frame", "person"]].to_numpy()[own]
        people, first, of_row = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        frames, clip_of = np.unique(people[:, 0] - 1, return_inverse=True)
        file = files[video]
        boxes = shares(rows[[*PERSON_BOX]].to_numpy()[own[first]], file["width"], file["height"])
        scores.append(_scores(classifier, data / file["path"], clips(file["n_frames"], frames), boxes, clip_of))
        person_of[own] = known + of_row
        known += len(people)
    everything = np.concatenate(scores) if scores else np.zeros((0, len(classifier.space)), np.float32)
    return with_states(detections, classifier.space, everything, person_of)


def _scores(
    classifier: Classifier[recipe.InstanceLevel],
    path: Path,
    indices: np.ndarray,
    boxes: np.ndarray,
    clip_of: np.ndarray,
) -> np.ndarray:
    """Scores of the people in a video's clips, who are in the clips' order: ``(N, labels)``."""
    size = classifier.settings.image_size
    scores, start = np.tile(classifier.frequencies, (len(boxes), 1)), 0
    try:
        for windows in read_windows(path, indices, batch=BATCH, size=(size, size)):
            inside = (clip_of >= start) & (clip_of < start + len(windows.shown))
            scores[inside] = score(classifier, windows, boxes[inside], clip_of[inside] - start)
            start += len(windows.shown)
    except VideoError as error:
        log.warning("%s", error)
    return scores


@torch.inference_mode()
def score(
    classifier: Classifier[recipe.InstanceLevel], windows: Windows, boxes: np.ndarray, clip_of: np.ndarray
) -> np.ndarray:
    """Score the people in some clips, all of a clip from one look at it.

    Args:
        classifier: The network.
        windows: The clips.
        boxes: As `relations.People` has them, ``(N, 4)``.
        clip_of: Each one's clip, ascending from 0, ``(N,)``.

    Returns:
        `part_state_scores`, ``(N, labels)``.
    """
    device = next(classifier.model.parameters()).device
    pictures, shown, edges, owners = (torch.from_numpy(a).to(device) for a in (*windows, boxes, clip_of))
    together = max(1, PIXELS // pictures[0, ..., 0].numel() // shown.shape[1])
    logits = []
    for start in range(0, len(shown), together):
        inside = (owners >= start) & (owners < start + together)
        seen = normalise(pictures[shown[start : start + together]], classifier.settings.network)
        logits.append(classifier.model(seen, People(edges[inside], owners[inside] - start)))
    return part_state_scores(torch.cat(logits), classifier.space, kind=classifier.settings.loss).cpu().numpy()
