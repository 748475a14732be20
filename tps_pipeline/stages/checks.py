"""What is looked at before anything is built on it: for each output what must hold, and what that is seen from."""

from __future__ import annotations

from tps_pipeline.graph.checking import Check
from tps_pipeline.graph.reader import Reader
from tps_pipeline.outputs import FRAMES, SHARDS, STATE_LABELS, SUBMISSION, VIDEOS, Output, dataset, predictions, psc
from tps_pipeline.reading import frame_index
from tps_pipeline.recipe import Recipe
from tps_pipeline.stages.evaluation import boxes_of


def checks_of(recipe: Recipe) -> list[Check]:
    """Every check, those of the recipe's detections, methods and ensembles included."""
    of_parts = [Check(dataset("part"), "left_and_right_balanced", _sides, sections=("part_detector.augment.flip",))]
    return [
        Check(SHARDS, "no_video_in_two_splits", _splits),
        Check(VIDEOS, "most_videos_readable", _readable),
        Check(SUBMISSION, "within_the_challenge_s_limits", _limits, blocking=False),
        Check(FRAMES, "all_frames_there", _frames, (VIDEOS,), ("frames.sample_stride",)),
        *(of_parts if recipe.part_detector else []),
        *(Check(boxes, "boxes_inside_picture", _boxes, (FRAMES,)) for boxes in boxes_of(recipe).values()),
        *(Check(predictions(name), "states_known", _states, (STATE_LABELS,)) for name in recipe.scored),
        *(Check(psc(name), "psc_in_range", _scores) for name in recipe.scored),
    ]


def _splits(output: Output, read: Reader) -> list[str]:
    """A video that is trained on and scored would make every figure meaningless."""
    from tps_pipeline import checks

    return checks.videos_in_two_splits([read(output)])


def _readable(output: Output, read: Reader) -> list[str]:
    """Most of a shard's videos can be read: else it is the folder that is damaged, or a decoder that is missing."""
    from tps_pipeline import checks

    return checks.many_unreadable(read(output))


def _limits(output: Output, read: Reader) -> list[str]:
    """At most ten people a frame and five proposals a part, or the challenge refuses the whole submission."""
    from tps_pipeline import checks

    return checks.over_the_limits(read.path(output) / "pred_part_result.json")


def _frames(output: Output, read: Reader) -> list[str]:
    """Every sampled frame of every readable video is there."""
    from tps_pipeline import checks

    return checks.missing_frames(read(VIDEOS), frame_index(read), read.setting("frames.sample_stride"))


def _sides(output: Output, read: Reader) -> list[str]:
    """Left and right parts are there equally often: a mirrored image exchanges them."""
    from tps_pipeline import checks

    swapped = read.setting("part_detector.augment.flip") == "label_swap"
    return checks.missing_sides(read(output)) if swapped else []


def _boxes(output: Output, read: Reader) -> list[str]:
    """Detected boxes lie inside the picture."""
    from tps_pipeline import checks

    return checks.boxes_outside(read(output), frame_index(read))


def _states(output: Output, read: Reader) -> list[str]:
    """Predicted states are in the vocabulary."""
    from tps_pipeline import checks

    return checks.unknown_states(read(output), read(STATE_LABELS))


def _scores(output: Output, read: Reader) -> list[str]:
    """Part state correctness is in [0, 1]."""
    from tps_pipeline import checks

    return checks.scores_outside(read(output))
