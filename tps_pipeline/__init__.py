"""Part-level action parsing of video: people, their ten parts, each part's state, and the video's action.

What is named here is for others to import, and stays from one version to the next as the changelog says; everything
else may move. A name is imported when it is first used, so that `import tps_pipeline` itself costs nothing.

::

    import tps_pipeline

    parser = tps_pipeline.load("demo/store")
    parser("me.mp4").draw("me_seen.mp4")

    from tps_pipeline import Lineage, Run, Store, graph_of, load_recipe, plan

    recipe, store = load_recipe("demo"), Store("demo/store")
    run = Run(recipe, Path("demo/data"), Lineage(store))
    print(plan(run, graph_of(recipe)).due)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tps_pipeline import errors, labels, outputs, tables
    from tps_pipeline.data.submission import Evaluation, evaluate
    from tps_pipeline.drawing.frame import draw
    from tps_pipeline.errors import TpsError
    from tps_pipeline.graph import Graph, Run, make
    from tps_pipeline.graph.plan import Plan, plan
    from tps_pipeline.lineage import Lineage, Record
    from tps_pipeline.methods import Method
    from tps_pipeline.methods import build as build_method
    from tps_pipeline.models import from_reference
    from tps_pipeline.predict.parser import Parser, load
    from tps_pipeline.predict.results import Result
    from tps_pipeline.reading import InMemory, Reads
    from tps_pipeline.recipe import Recipe
    from tps_pipeline.recipe import load as load_recipe
    from tps_pipeline.stages import graph_of
    from tps_pipeline.store import Store

if "OMP_WAIT_POLICY" not in os.environ:
    # PyTorch's threads (GNU OpenMP's) ask 300,000 times whether the others are done before they sleep. With anything
    # else on the machine that is most of what they do, and detection takes ten times as long. With 2,000 it does not,
    # and is a twentieth slower where nothing else runs (1,000: a tenth; 4,000: no slower there, but twice as slow as
    # 2,000 beside other work). PyTorch reads it as it loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__version__ = "0.2.0"
"""The version of the package, the only place where it is written; CHANGELOG.md and CITATION.cff agree with it."""

__all__ = [
    "Evaluation",
    "Graph",
    "InMemory",
    "Lineage",
    "Method",
    "Parser",
    "Plan",
    "Reads",
    "Recipe",
    "Record",
    "Result",
    "Run",
    "Store",
    "TpsError",
    "__version__",
    "build_method",
    "draw",
    "errors",
    "evaluate",
    "from_reference",
    "graph_of",
    "labels",
    "load",
    "load_recipe",
    "make",
    "outputs",
    "plan",
    "tables",
]

_MODULES = ("errors", "labels", "outputs", "tables")

_HOMES = {
    "Evaluation": "data.submission",
    "Graph": "graph",
    "InMemory": "reading",
    "Lineage": "lineage",
    "Method": "methods",
    "Parser": "predict.parser",
    "Plan": "graph.plan",
    "Reads": "reading",
    "Recipe": "recipe",
    "Record": "lineage",
    "Result": "predict.results",
    "Run": "graph",
    "Store": "store",
    "TpsError": "errors",
    "build_method": "methods:build",
    "draw": "drawing.frame",
    "evaluate": "data.submission",
    "from_reference": "models",
    "graph_of": "stages",
    "load": "predict.parser",
    "load_recipe": "recipe:load",
    "make": "graph",
    "plan": "graph.plan",
}
"""Where each name is defined, and what it is called there if something else."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
