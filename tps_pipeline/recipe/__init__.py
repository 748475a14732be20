"""Recipes: every number a run depends on, in one YAML file of frozen, checked sections.

`recipes/paper.yaml` holds the challenge paper's numbers, `recipes/demo.yaml` the same schema with narrow networks
that train in minutes on two CPU cores. An asset depends on its own sections only (see `Recipe.digest_of`), so
changing one method's learning rate makes only that method stale.
"""

from tps_pipeline.recipe.actions import (
    ActionMembers,
    SkeletonNet,
    StatisticsAction,
    SwinAction,
    TrajectoryAction,
    VideoAction,
)
from tps_pipeline.recipe.clips import ClipAugmentation, ClipMethod
from tps_pipeline.recipe.data import Frames, Shards
from tps_pipeline.recipe.detection import (
    BoxAugmentation,
    DetectionGains,
    Detector,
    DetectorInference,
    HeatMaps,
    Pose,
    SingleStage,
    TwoStage,
    UsedDetector,
    Yolov7,
)
from tps_pipeline.recipe.ensembles import ByCategory, Ensemble, Stacked, Voting
from tps_pipeline.recipe.loading import RECIPES, load, parse, path_of, read_text, reported
from tps_pipeline.recipe.methods import (
    InstanceLevel,
    InstanceLevelInference,
    MatchingDetections,
    Method,
    PartStateDetector,
    PartStateDetectorInference,
    PartTrajectory,
    PartTrajectoryInference,
    PartTrajectoryNet,
    SegmentLevel,
    SegmentLevelInference,
    TrajectoryAugmentation,
    VideoCategory,
    VideoLevel,
)
from tps_pipeline.recipe.networks import Csn, SlowFast, VideoSwin
from tps_pipeline.recipe.own import OwnMethod
from tps_pipeline.recipe.schema import ENSEMBLES, WHOLE, Recipe
from tps_pipeline.recipe.section import Section
from tps_pipeline.recipe.training import Training

__all__ = [
    "ENSEMBLES",
    "RECIPES",
    "WHOLE",
    "ActionMembers",
    "BoxAugmentation",
    "ByCategory",
    "ClipAugmentation",
    "ClipMethod",
    "Csn",
    "DetectionGains",
    "Detector",
    "DetectorInference",
    "Ensemble",
    "Frames",
    "HeatMaps",
    "InstanceLevel",
    "InstanceLevelInference",
    "MatchingDetections",
    "Method",
    "OwnMethod",
    "PartStateDetector",
    "PartStateDetectorInference",
    "PartTrajectory",
    "PartTrajectoryInference",
    "PartTrajectoryNet",
    "Pose",
    "Recipe",
    "Section",
    "SegmentLevel",
    "SegmentLevelInference",
    "Shards",
    "SingleStage",
    "SkeletonNet",
    "SlowFast",
    "Stacked",
    "StatisticsAction",
    "SwinAction",
    "Training",
    "TrajectoryAction",
    "TrajectoryAugmentation",
    "TwoStage",
    "UsedDetector",
    "VideoAction",
    "VideoCategory",
    "VideoLevel",
    "VideoSwin",
    "Voting",
    "Yolov7",
    "load",
    "parse",
    "path_of",
    "read_text",
    "reported",
]
