"""Which of several steps that could run goes first."""

from tps_pipeline import recipe
from tps_pipeline.graph import Step
from tps_pipeline.stages import graph_of


def test_what_networks_wait_for_is_begun_first_and_then_goes_the_recipes_order():
    whole = recipe.load("demo")
    graph = graph_of(whole)

    def first_to_last(steps: list[Step]) -> list[str]:
        return [step.name for step in sorted(steps, key=lambda step: graph.urgency[step.name], reverse=True)]

    networks = first_to_last([step for step in graph.steps if step.learner])
    detectors, others = networks[:2], networks[2:]
    assert detectors == ["checkpoints/person_detector", "checkpoints/part_detector"]  # the action waits for both
    methods = [name.removeprefix("checkpoints/") for name in others if "video_action" not in name]
    awaited = {method.start_from for method in whole.methods.values() if isinstance(method, recipe.ClipMethod)}
    assert "instance_pcp" in awaited
    in_order = [name for name in whole.methods if f"checkpoints/{name}" in networks]
    assert methods == sorted(in_order, key=lambda name: name not in awaited)
    assert first_to_last([graph.step("tracks"), graph.step("checkpoints/instance_pcp")])[0] == "tracks"
