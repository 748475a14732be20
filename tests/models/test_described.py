"""A network that a file describes: built if the file's weights are its, refused in a line before memory is taken."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.actions import swin, trajectory
from tps_pipeline.clips import networks
from tps_pipeline.detection import detector
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.people import classifier as people
from tps_pipeline.models.described import built_as_described
from tps_pipeline.models.forest import Forest
from tps_pipeline.models.weights import save_checkpoint
from tps_pipeline.training.checkpoint import WEIGHTS

DEMO = recipe.load("demo")
PERSON, _ = DEMO.trained_detectors
ACTION = DEMO.video_action.members
assert ACTION.swin
assert ACTION.trajectory
SWIN, TRAJECTORY = ACTION.swin, ACTION.trajectory


def of_people() -> nn.Module:
    entry = DEMO.methods["instance_pp"]
    assert isinstance(entry, recipe.InstanceLevel)
    return people.build(entry, 3)


BUILT: dict[str, Callable[[], nn.Module]] = {
    "detector": lambda: detector.build(PERSON.network, classes=1),
    "swin": lambda: networks.video_swin(SWIN.network, 3),
    "csn": lambda: networks.csn(recipe.Csn(depths=(1, 1, 1, 1), stem=8), 3),
    "people": of_people,
    "skeleton": lambda: trajectory.build(TRAJECTORY.network, PARTS, 3),
}


@pytest.mark.parametrize("kind", BUILT)
def test_a_network_has_the_weights_of_its_file_and_keeps_what_no_file_has(kind: str):
    torch.manual_seed(1)
    trained = BUILT[kind]()
    loaded = built_as_described(Path("n.safetensors"), BUILT[kind], trained.state_dict())
    for (name, ours), (of, theirs) in zip(_tensors(loaded), _tensors(trained), strict=True):
        assert name == of
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_weights_of_half_the_bits_as_shipped_ones_are_make_a_network_of_whole_ones():
    trained = BUILT["detector"]()
    half = {name: each.half() if each.is_floating_point() else each for name, each in trained.state_dict().items()}
    loaded = built_as_described(Path("n.safetensors"), BUILT["detector"], half)
    for (name, ours), (_, theirs) in zip(_tensors(loaded), _tensors(trained), strict=True):
        assert ours.dtype == theirs.dtype, name


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def described(folder: Path, load: str, settings: dict[str, Any]) -> Callable[[], object]:
    """A checkpoint that says this of itself, and how it is loaded."""
    about = {"settings": json.dumps(settings), "labels": '["person"]', "actions": '["a"]', "frequencies": "[1]"}
    save_checkpoint(folder / WEIGHTS, {"w": torch.zeros(1_000_000)}, metadata=about)
    loads = {"detector": lambda: detector.load(folder / WEIGHTS), "swin": lambda: swin.load(folder)}
    return (loads | {"trajectory": lambda: trajectory.load(folder)})[load]


def changed(section: recipe.Section, **network: Any) -> dict[str, Any]:
    settings = json.loads(section.model_dump_json(exclude={"inference"}))
    return settings | {"network": settings["network"] | network}


@pytest.mark.parametrize(
    ("load", "settings", "said"),
    [
        ("detector", changed(PERSON, width=1_000_000), "larger than the weights in it"),
        ("detector", changed(PERSON, depth=1_000_000), "larger than the weights in it"),
        ("detector", changed(PERSON, width=10**9), "which network it is .*less than or equal to 1000000"),
        ("swin", changed(SWIN, embed=1_000_000), "larger than the weights in it|which network it is"),
        ("swin", changed(SWIN, depths=[1_000_000] * 4), "larger than the weights in it|which network it is"),
        ("swin", changed(SWIN, window=[1_000_000] * 3), "larger than the weights in it|which network it is"),
        ("swin", changed(SWIN, heads=[0, 1]), "which network it is .*greater than 0"),
        ("swin", {}, "which network it is .*Field required"),
        ("trajectory", changed(TRAJECTORY, width=1_000_000), "larger than the weights in it|which network it is"),
        ("trajectory", changed(TRAJECTORY), "these are not the weights of SkeletonNet: "),
    ],
)
def test_what_is_larger_than_its_file_or_no_network_is_one_line_at_once(
    load: str, settings: dict[str, Any], said: str, tmp_path: Path
):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(WeightsError, match=said) as caught:
        described(tmp_path, load, settings)()
    assert str(caught.value).startswith(f"{tmp_path / WEIGHTS}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_trees_that_lead_in_a_circle_are_refused():
    tensors = {"root": [0], "children": [[0, 1], [-1, -1]], "feature": [0, 0], "threshold": [0.5, 0.5],
               "share": [1.0], "share_class": [0], "share_start": [0, 0, 1]}  # fmt: skip
    made = {name: torch.tensor(values) for name, values in tensors.items()}
    with pytest.raises(WeightsError, match="a node leads back to one before it"):
        Forest.of(made, 1)
    made["children"][0, 0] = 1
    assert Forest.of(made, 1).children.tolist() == [[1, 1], [-1, -1]]
