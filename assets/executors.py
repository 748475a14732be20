"""Where steps run, chosen by the environment alone, and what those that train or infer ask of an engine.

`TPS_EXECUTOR` names the engine. `TPS_PROCESSES` processes train a network together, each on a device of its own.
`TPS_GPUS` is what each process that trains or infers asks of Ray or Kubernetes: 1 without it, a fraction where
processes share a GPU (Ray only), 0 without any. Every step, and every check, asks Ray for a core: one that asks for
nothing is run on the head, beside all others. Where steps run on other machines, one whose worker is lost is begun once
more.
"""

import os
from typing import Any

import dagster as dg

from assets import environment
from assets.dead_runs import end_dead_runs

GPU = "gpu"
"""The pool of all that trains or infers; its limit is the number of devices."""

PROCESSES = int(environment.number("TPS_PROCESSES", 1, least=1))
GPUS = environment.number("TPS_GPUS", 1, least=0, whole=False)


EXECUTOR = environment.text("TPS_EXECUTOR", "in_process")

AGAIN = dg.RetryPolicy(max_retries=2) if EXECUTOR in ("ray", "k8s") else None
"""For a worker that is killed, or whose machine goes; a step that fails by itself is not begun again (`steps`)."""


def _asking_for(gpus: float) -> dict[str, Any]:
    """Op tags by which Ray and Kubernetes place a step; other executors ignore them."""
    tags: dict[str, Any] = {"dagster-ray/config": {"num_cpus": 1, "num_gpus": gpus}}
    if gpus >= 1:
        limits = {"nvidia.com/gpu": str(int(gpus))}
        tags["dagster-k8s/config"] = {"container_config": {"resources": {"limits": limits}}}
    return tags


TRAINS = _asking_for(GPUS * PROCESSES)
INFERS = _asking_for(GPUS)
COUNTS = _asking_for(0)
"""What needs no GPU."""


@dg.executor(
    name="multiprocess",
    config_schema=dg.multiprocess_executor.config_schema.as_field(),
    requirements=dg.multiple_process_executor_requirements(),
)
def multiprocess(context: dg.InitExecutorContext) -> dg.Executor:
    """Dagster's, begun free of dead runs: its steps wait for a place in the pool before anything of ours is asked."""
    end_dead_runs(context.instance)
    create = dg.multiprocess_executor.executor_creation_fn
    assert create
    return create(context)


def executor() -> dg.ExecutorDefinition:
    """The executor that `TPS_EXECUTOR` names: `in_process` (the default), `multiprocess`, `ray` or `k8s`.

    Kubernetes' image, volumes and secrets come from the run launcher in `dagster.yaml`.
    """
    match EXECUTOR:
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            return multiprocess
        case "ray":
            from dagster_ray import ray_executor  # pyright: ignore[reportMissingImports]

            # A Ray job sees the environment of the cluster, not of who submits it.
            ours = [name for name in os.environ if name.startswith("TPS_")]
            return ray_executor.configured({"ray": {"env_vars": ["DAGSTER_HOME", *sorted(ours)]}})
        case "k8s":
            from dagster_k8s import k8s_job_executor  # pyright: ignore[reportMissingImports]

            return k8s_job_executor
        case name:
            raise SystemExit(f"TPS_EXECUTOR={name}: expected in_process, multiprocess, ray or k8s")
