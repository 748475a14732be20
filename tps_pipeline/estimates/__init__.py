"""What a run will take before it is begun: time, disk and a GPU's memory, step by step.

`counts` says what a data folder holds, `calibration` runs all steps on a few of its videos, trainings for a few steps,
and `estimate` makes of both what the whole takes. What a run would make and why is `graph.plan`'s to say.
"""

from tps_pipeline.estimates.calibration import Calibration, calibrate
from tps_pipeline.estimates.counts import Amount, Labels, amount, labelled
from tps_pipeline.estimates.estimate import Estimate, Row, estimate

__all__ = ["Amount", "Calibration", "Estimate", "Labels", "Row", "amount", "calibrate", "estimate", "labelled"]
