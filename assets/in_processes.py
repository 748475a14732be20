"""The job of steps in processes of their own: each of these asks for it by name, and so does who starts them.

To put it together takes 0.3 s. So the process that they are forked from, which imports this, begins with it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import dagster as dg

from assets.definitions import EVERYTHING, definitions_of
from assets.executors import multiprocess
from assets.resources import Pipeline

_WANTED = "TPS_JOB_WANTED"
"""Tells a process that is started, as JSON, whose job it is to begin with."""


@cache  # Dagster asks four times where steps are started, and again in each
def job_of(data: str, recipe_name: str, store_root: str, recipe_digest: str) -> dg.JobDefinition:
    """All assets of a pipeline, named by its fields."""
    pipeline = Pipeline(data=data, recipe_name=recipe_name, store_root=store_root, recipe_digest=recipe_digest)
    return definitions_of(pipeline, multiprocess).resolve_job_def(EVERYTHING)


@contextmanager
def wanted(pipeline: Pipeline) -> Iterator[None]:
    """Have processes that are started meanwhile, and import this, begin with a pipeline's job."""
    os.environ[_WANTED] = json.dumps(pipeline.model_dump())
    try:
        yield
    finally:
        del os.environ[_WANTED]


if _WANTED in os.environ:
    job_of(*json.loads(os.environ.pop(_WANTED)).values())
