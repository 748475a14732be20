"""Trainings as runs of an MLflow, if `MLFLOW_TRACKING_URI` names one: what each has left beside its network.

A training is told of when it has ended, from its files: a server that is away costs nothing but a warning, and what it
has missed it is told by the next run. Its package is imported only then.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tps_pipeline.graph import Outcome, Run, Step
from tps_pipeline.lineage import Record
from tps_pipeline.outputs import candidate

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
DEFAULT = "tps_pipeline"
"""The experiment's name where `EXPERIMENT` is not set."""

FILES = ("recipe.yaml", "metrics.json", "card.md", "log.csv", "weights.json")
"""What is copied of a checkpoint: not the network, which stays in the store."""

AT_ONCE = 500
"""Values of one request; servers take up to 1,000 figures and 100 settings."""


def url_of(run: Run, step: Step, outcome: Outcome) -> str | None:
    """Where the training of a network is to be seen; it is told to MLflow if that does not have it yet.

    Args:
        run: The run that made the network, or kept it.
        step: The checkpoint's.
        outcome: What was done.

    Returns:
        None without an MLflow, or if it does not answer, of which the run is warned.
    """
    if not os.environ.get(URI) or step.learner is None:
        return None
    record = next(iter([*outcome.made.values(), *outcome.kept.values()]), None)
    if outcome.refused:
        record = run.lineage.latest().records.get(candidate(step.learner.name).at(), record)
    try:
        return _url(run, step, record) if record else None
    except ImportError:
        run.warn(f"{URI} is set, and mlflow is not installed: pip install 'tps-pipeline[mlflow]'")
    except Exception as error:
        run.warn(f"MLflow at {os.environ[URI]} was not told of {step.name}: {(str(error).splitlines() or ['?'])[0]}")
    return None


def _url(run: Run, step: Step, record: Record) -> str:
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    client, name = MlflowClient(), os.environ.get(EXPERIMENT) or DEFAULT
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    place = f"{run.store.root}/{record.path}".replace("'", "")
    known = client.search_runs([experiment], f"tags.`tps.checkpoint` = '{place}' and attributes.status = 'FINISHED'")
    number = known[0].info.run_id if known else _told(client, experiment, run, step, record, place)
    return f"{os.environ[URI].rstrip('/')}/#/experiments/{experiment}/runs/{number}"


def _told(client: Any, experiment: str, run: Run, step: Step, record: Record, place: str) -> str:
    """A new run with all that a training has left."""
    from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

    assert step.learner is not None
    folder = run.store.local(record.path)
    tags = {
        "tps.checkpoint": place, "tps.code_version": record.code_version, "tps.recipe_digest": record.recipe_digest,
        "tps.data_version": record.data_version, "tps.device": record.device, "tps.dagster_run": record.run_id,
        "tps.refused": str(record.asset == candidate(step.learner.name).key).lower(),
        "mlflow.source.git.commit": record.git_sha or "", "mlflow.source.name": "tps_pipeline",
    }  # fmt: skip
    begun, ended = (round(time.timestamp() * 1000) for time in (record.started_at, record.finished_at))
    made = client.create_run(experiment, start_time=begun, tags=tags, run_name=step.learner.name)
    number = made.info.run_id
    settings = [Param(key, value[:6000]) for key, value in _flat(yaml.safe_load((folder / "recipe.yaml").read_text()))]
    for at in range(0, len(settings), 100):
        client.log_batch(number, params=settings[at : at + 100])
    figures = [Metric(name, value, ended, 0) for name, value in record.metrics.items()]
    figures += [Metric(f"log/{name}", value, ended, step) for name, step, value in _curves(folder / "log.csv")]
    for at in range(0, len(figures), AT_ONCE):
        client.log_batch(number, metrics=figures[at : at + AT_ONCE])
    for name in FILES:
        if (folder / name).is_file():
            client.log_artifact(number, str(folder / name))
    client.set_terminated(number, "FINISHED", ended)
    return number


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their dotted names."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name or "value", str(values)


def _curves(log: Path) -> Iterator[tuple[str, int, float]]:
    """The course of a training: column, epoch, value. What only counts has none."""
    if log.is_file():
        table = pd.read_csv(log)
        for name in table.select_dtypes("number"):
            yield from ((str(name), at, float(value)) for at, value in table[name].dropna().items())  # type: ignore[misc]
