"""What is left for `make run`: what the plan says is due, what no check has looked at, what Dagster does not know of.

What is up to date is no event: of a hundred shards Dagster's records would be most of a run's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import dagster as dg

from assets.steps import SHARDS, key_of
from tps_pipeline import outputs
from tps_pipeline.graph import Graph, Run, Step, ingestion
from tps_pipeline.graph.checking import Check, is_judged
from tps_pipeline.graph.plan import Plan, Planned, plan
from tps_pipeline.lineage import Snapshot
from tps_pipeline.outputs import SPLITS, Output
from tps_pipeline.stages.checks import checks_of


def ingestion_is_due(run: Run, instance: dg.DagsterInstance) -> bool:
    """Whether the data folder or the store's shards are other than when videos were last taken in, or anything is said.

    Args:
        run: The run.
        instance: Whose partitions the shards are.
    """
    latest = run.lineage.latest()
    checks = [check for check in checks_of(run.recipe) if check.output == outputs.SHARDS]
    if {*instance.get_dynamic_partitions(str(SHARDS.name))} != {*latest.shards(*SPLITS)}:
        return True
    if not latest.shards(*SPLITS) or not all(is_judged(run, check, None, latest) for check in checks):
        return True
    found = ingestion.look(run)
    moved = ingestion.place_of(run.lineage) != str(run.data.resolve())
    return moved or bool(found.shards or found.changed or found.problems or found.missing or found.gone)


@dataclass(frozen=True)
class Due:
    """What is left to do, as of one moment."""

    run: Run
    graph: Graph
    instance: dg.DagsterInstance

    def plan(self, stage: Sequence[Step] | None = None) -> Plan:
        """What the records and the recipe say of it, or of the steps of one stage: what comes before them is made."""
        return plan(self.run, self.graph, only=stage)

    def of(self, stage: Sequence[Step]) -> tuple[list[Step], list[str]]:
        """The steps of a stage that have anything to do, and the shards of which one of them has.

        Args:
            stage: Some steps; what comes before them is made.
        """
        planned = self.plan(stage).outputs
        shards = {step.name: self._shards(step, planned) for step in stage}
        some = {shard for of_step in shards.values() for shard in of_step}
        return [step for step in stage if shards[step.name]], [s for s in self._latest.shards(*SPLITS) if s in some]

    def along(self, steps: Sequence[Step], shards: Sequence[str], later: Sequence[Sequence[Step]]) -> list[Step]:
        """Steps of later stages that can be made in one run with some steps.

        Those of the same kind that are surely made of the same shards, if no other run makes anything that they read.

        Args:
            steps: What is to be made; no training.
            shards: The shards of which it is.
            later: The stages after it.
        """
        sharded, wanted = steps[0].sharded, {*(shards or [None])}
        due: dict[str, set[str | None]] = {}
        unsure: set[str] = set()
        for each in self.plan([*steps, *chain(*later)]).outputs:
            due.setdefault(each.step.name, set()).update(each.make, each.follow)
            unsure |= {each.step.name} if each.follow else set()
        together, more = {step.name for step in steps}, []
        for step in chain(*later):
            elsewhere = any(due.get(read.name) and read.name not in together for read in self.graph.before(step))
            alike = step.sharded == sharded and not step.learner and due[step.name] == wanted
            if alike and step.name not in unsure and not elsewhere:
                together.add(step.name)
                more.append(step)
        return more

    def leading_to_training(
        self, stage: Sequence[Step], later: Sequence[Sequence[Step]]
    ) -> tuple[list[Step], list[str]]:
        """Steps by which networks of later stages come to be trained, those networks too, and the shards of all.

        Args:
            stage: Networks that are to be trained, which what follows may depend on.
            later: The stages after it.
        """
        due: dict[str, set[str | None]] = {}
        for each in self.plan([*stage, *chain(*later)]).outputs:
            due.setdefault(each.step.name, set()).update(each.make, each.follow)
        leading: list[Step] = []
        wanted: set[str] = set()
        for step in reversed([*chain(*later)]):
            if due[step.name] and (step.learner or step.name in wanted):
                leading.append(step)
                wanted |= {read.name for read in self.graph.before(step)}
        shards = {shard for step in leading for shard in due[step.name]}
        return leading[::-1], [shard for shard in self._latest.shards(*SPLITS) if shard in shards]

    def _shards(self, step: Step, planned: Sequence[Planned]) -> set[str | None]:
        """The shards of which a step has anything to do, or None for a step that has no shards, if it has."""
        shards = self._latest.shards(*self.graph.splits[step.name])
        everywhere: set[str | None] = {*shards} if step.sharded else {None}
        due = {shard for each in planned if each.step is step for shard in (*each.make, *each.follow)}
        for output in step.makes:
            due |= everywhere - self._known(output)
            for check in self._checks.get(output, ()):
                due |= {shard for shard in everywhere - due if not is_judged(self.run, check, shard, self._latest)}
        return due

    def _known(self, output: Output) -> set[str | None]:
        """Of which shards of an output Dagster knows that there is one."""
        key = key_of(output)
        if output.sharded:
            return {*self.instance.get_materialized_partitions(key)}
        return {None} if self.instance.get_latest_materialization_event(key) else set()

    @cached_property
    def _checks(self) -> dict[Output, list[Check]]:
        checks: dict[Output, list[Check]] = {}
        for check in checks_of(self.run.recipe):
            checks.setdefault(check.output, []).append(check)
        return checks

    @cached_property
    def _latest(self) -> Snapshot:
        return self.run.lineage.latest()
