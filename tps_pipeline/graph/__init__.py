"""The pipeline as a graph of steps: what each declares, when it is due, how it is made, and what a run would do.

This knows neither how anything is computed (`tps_pipeline.stages`) nor who schedules it (the code location in
`assets/`, or a caller of the library).
"""

from tps_pipeline.graph.checking import Check, judge
from tps_pipeline.graph.graph import Graph
from tps_pipeline.graph.making import Outcome, make, workspace_of
from tps_pipeline.graph.reader import Reader
from tps_pipeline.graph.run import Run
from tps_pipeline.graph.step import Product, Step, step
from tps_pipeline.graph.training import train_here

__all__ = [
    "Check",
    "Graph",
    "Outcome",
    "Product",
    "Reader",
    "Run",
    "Step",
    "judge",
    "make",
    "step",
    "train_here",
    "workspace_of",
]
