"""Synthetic Kinetics-TPS: articulated people perform the challenge's actions; labels follow from the kinematics."""

from tps_pipeline.data.synthetic.cast import ACTIONS
from tps_pipeline.data.synthetic.generate import generate

__all__ = ["ACTIONS", "generate"]
