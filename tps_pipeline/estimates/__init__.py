"""What a run will take before it is begun: time, disk and a GPU's memory, step by step.

`counts` says what a data folder holds, `calibration` tries all steps on a few of its videos, trainings for a few steps,
`kept` remembers that, and `estimate` makes of both what the whole takes. What a run would make, and why, is
`graph.plan`'s to say.
"""

from tps_pipeline.estimates.calibration import Calibration, calibrate
from tps_pipeline.estimates.counts import Labels, amount, labelled
from tps_pipeline.estimates.estimate import GPU_SPEED, GPUS, TOGETHER, Estimate, Row, estimate, estimated
from tps_pipeline.estimates.kept import calibrated

__all__ = [
    "GPUS",
    "GPU_SPEED",
    "TOGETHER",
    "Calibration",
    "Estimate",
    "Labels",
    "Row",
    "amount",
    "calibrate",
    "calibrated",
    "estimate",
    "estimated",
    "labelled",
]
