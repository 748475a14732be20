"""Training in several processes: `TPS_PROCESSES` of them, started by torchrun, which Dagster Pipes starts.

Each runs this module and does what one process would do alone; the first one reports.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dagster as dg
from dagster_pipes import open_dagster_pipes

from assets.dead_runs import end_with
from assets.executors import PROCESSES
from assets.resources import Pipeline
from tps_pipeline import device
from tps_pipeline.cpu import sharing_cores
from tps_pipeline.graph import Reader, train_here
from tps_pipeline.learners import Learner
from tps_pipeline.lineage import Input
from tps_pipeline.stages import graph_of


def train(context: dg.AssetExecutionContext, pipeline: Pipeline, learner: Learner, read: Reader) -> dict[str, float]:
    """Have a network learn in as many processes as are configured, in a workspace that outlasts a cut-off run.

    Returns:
        Figures about it.
    """
    if PROCESSES == 1 or learner.alone:
        graph = graph_of(pipeline.recipe)
        with sharing_cores(1 if device.has_gpu() else graph.at_once(graph.step(read.name))):
            return train_here(learner, read)
    inputs = read.scratch / "inputs.json"
    inputs.write_text(json.dumps([vars(i) for i in read.inputs]))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # By its own name, which it looks up otherwise, not every machine finds itself.
    launch = [*torchrun, "--local-addr=localhost", f"--nproc_per_node={PROCESSES}"]
    ran = dg.PipesSubprocessClient().run(
        command=[*launch, "-m", "assets.training", read.name, str(read.workspace), str(inputs)],
        context=context,
        cwd=str(Path(__file__).parent.parent),
        env={
            "TPS_DATA": pipeline.data,
            "TPS_RECIPE": str(pipeline.frozen_recipe),
            "TPS_STORE": pipeline.store_root,
            "TPS_RUN_PID": str(os.getpid()),
        },
    )
    reported = ran.get_custom_messages()[-1]
    device.note(*Counter(reported["devices"]).elements())
    return reported["figures"]


def main(name: str, workspace: str, inputs: str) -> None:
    """What each process does that torchrun starts; a run that is killed would leave it behind."""
    end_with(int(os.environ["TPS_RUN_PID"]))
    run = Pipeline.from_environment().run()
    step = graph_of(run.recipe).step(name)
    assert step.learner is not None
    known = tuple(Input(**i) for i in json.loads(Path(inputs).read_text()))
    read = replace(step.reader(run, known), workspace=Path(workspace))
    if os.environ["RANK"] != "0":
        train_here(step.learner, read)
        return
    with open_dagster_pipes() as pipes, device.used() as devices:
        figures = train_here(step.learner, read)
        pipes.report_custom_message({"figures": figures, "devices": dict(devices)})


if __name__ == "__main__":
    main(*sys.argv[1:])
