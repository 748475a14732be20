from pathlib import Path

import pytest

from tps_pipeline import recipe
from tps_pipeline.errors import RecipeError
from tps_pipeline.outputs import DETECTIONS, POSE, POSES, TRACKS, TWO_STAGE, checkpoint, weights
from tps_pipeline.recipe import RECIPES, Recipe
from tps_pipeline.stages import graph_of


def edited(name: str, **changes: object) -> Recipe:
    settings = recipe.load(name).model_dump(mode="json")
    return Recipe.model_validate(settings | changes)


def test_everybody_reads_the_boxes_that_the_recipe_names() -> None:
    for chosen, boxes in ((recipe.load("demo"), TWO_STAGE), (edited("demo", detections="pose", pose={}), POSE)):
        graph = graph_of(chosen)
        assert graph.maker[TRACKS].reads == (boxes,)
        for step in graph.steps:
            assert DETECTIONS not in step.reads
            if step.group == "predictions":
                assert boxes in step.reads, step.name


def test_by_landmarks_nothing_has_to_be_trained_to_detect() -> None:
    graph = graph_of(recipe.load("pose"))
    assert TWO_STAGE not in graph.maker
    assert {POSE, POSES} == set(graph.maker[POSE].makes)
    assert not any(
        output.key.startswith(("checkpoints/person", "checkpoints/part_det", "datasets/")) for output in graph.maker
    )


def test_a_detector_that_is_used_as_it_is_has_no_checkpoint() -> None:
    graph = graph_of(edited("demo", person_detector={"use": "yolov7x_coco"}))
    assert checkpoint("person_detector") not in graph.maker
    assert set(graph.maker[TWO_STAGE].reads) >= {weights("yolov7x_coco"), checkpoint("part_detector")}
    both = graph_of(edited("demo", person_detector={"use": "people"}, detections="pose", pose={}))
    assert weights("people") in both.maker[POSE].reads


def test_what_is_new_leaves_digests_as_they_were() -> None:
    """A recipe that says the defaults is one that does not mention them."""
    demo = recipe.load("demo")
    said = edited("demo", detections="two_stage", pose=None)
    for sections in (("*",), ("two_stage", "person_detector"), ("part_detector",)):
        assert demo.digest_of(sections) == said.digest_of(sections)
    assert demo.digest_of(("pose",)) != edited("demo", pose={"presence": 0.9}).digest_of(("pose",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("detections: pose", "detections is pose, which needs pose"),
        ("detections: single_stage", "which needs single_stage_detector"),
        ("pose: {presense: 0.4}", "pose.presense: unknown key; did you mean 'presence'?"),
        (
            "person_detector: {use: a, image_siz: 3}",
            "person_detector.image_siz: unknown key; did you mean 'image_size'?",
        ),
    ],
)
def test_what_cannot_work_is_one_line(tmp_path_factory: pytest.TempPathFactory, line: str, message: str) -> None:
    text = (RECIPES / "demo.yaml").read_text()
    key = line.partition(":")[0]
    if key == "person_detector":
        start = text.index("person_detector:")
        text = text[:start] + text[text.index("part_detector:") :]
    with pytest.raises(RecipeError) as refused:
        recipe.parse(f"{line}\n{text}", tmp_path_factory.mktemp("recipes") / "mine.yaml")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


HEAT_MAPS = """part_detector:
  network: {kind: heat_maps}
  image_size: 160
  training: {epochs: 1, batch_size: 8, optimizer: adamw, learning_rate: 0.003}
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("heat_maps}", "heat_map}", "part_detector.network.kind: Input should be 'heat_maps'"),
        ("heat_maps}", "heat_maps, widht: 8}", "part_detector.network.widht: unknown key; did you mean 'width'?"),
        ("heat_maps}", "heat_maps, anchors: auto}", "part_detector.network.anchors: unknown key"),
        ("  image", "  augment: {mosaic: 0.5}\n  image", "augment: heat maps see one person"),
        ("  image", "  gains: {box: 0.1}\n  image", "gains: those of a YOLOv7"),
        ("part_detector", "single_stage_detector", "single_stage_detector.network: only part_detector finds"),
    ],
)
def test_heat_maps_are_of_parts_and_have_settings_of_their_own(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    demo = (RECIPES / "demo.yaml").read_text()
    start, end = demo.index("part_detector:"), demo.index("two_stage:")
    rest, named = demo[:start] + demo[end:], tmp_path / "mine.yaml"
    assert isinstance(recipe.parse(HEAT_MAPS + rest, named).trained_detectors[1].network, recipe.HeatMaps)
    kept = demo if before == "part_detector" else rest
    with pytest.raises(RecipeError) as refused:
        recipe.parse(HEAT_MAPS.replace(before, after) + kept, named)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
