"""Recipe entries of the clip methods, with networks small enough to learn moving squares in moments."""

from typing import Any

from tps_pipeline import recipe

VIDEO_LEVEL: dict[str, Any] = {
    "kind": "video_level",
    "network": {"embed": 16, "depths": [1, 1], "heads": [2, 4], "window": [4, 4, 4], "stochastic_depth": 0.0},
    "frames": 6,
    "image_size": 32,
    "loss": "softmax",
    "training": {
        "epochs": 50, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.003, "warmup": 0.2, "clip_norm": 1,
    },
    "cache_megabytes": 16,
}  # fmt: skip
SEGMENT_LEVEL: dict[str, Any] = {
    "kind": "segment_level",
    "network": {"depths": [1, 1, 1, 1], "stem": 8, "dropout": 0.0},
    "frames": 8,
    "image_size": 32,
    "loss": "softmax",
    "training": {
        "epochs": 25, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.003, "warmup": 0.2, "clip_norm": 1,
    },
    "clips_per_video": 2,
    "cache_megabytes": 16,
}  # fmt: skip


def video_level(*, epochs: int = 50, **changes: Any) -> recipe.VideoLevel:
    return recipe.VideoLevel.model_validate(
        VIDEO_LEVEL | {"training": VIDEO_LEVEL["training"] | {"epochs": epochs}} | changes
    )


def segment_level(*, epochs: int = 25, **changes: Any) -> recipe.SegmentLevel:
    return recipe.SegmentLevel.model_validate(
        SEGMENT_LEVEL | {"training": SEGMENT_LEVEL["training"] | {"epochs": epochs}} | changes
    )
