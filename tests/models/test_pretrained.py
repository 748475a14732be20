"""From a published file to weights that a recipe names, and what is said when they are not there."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from typer.testing import CliRunner, Result

from tests.models import published
from tests.models.published import official_model
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.clips.networks import video_swin
from tps_pipeline.errors import WeightsError
from tps_pipeline.graph import Run, train_here
from tps_pipeline.graph.plan import plan
from tps_pipeline.learners import pretrained
from tps_pipeline.learners.detector import DetectorLearner
from tps_pipeline.lineage import Lineage
from tps_pipeline.models.csn import DEPTHS, Csn
from tps_pipeline.models.slowfast import SlowFast
from tps_pipeline.models.video_swin import VideoSwin
from tps_pipeline.models.weights import load_checkpoint, load_into
from tps_pipeline.models.yolov7 import YOLOv7, reference_names
from tps_pipeline.outputs import checkpoint, weights
from tps_pipeline.reading import Reads
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

HEAD = "model.77"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def tps(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def imported(file: Path, kind: str, store: Store) -> str:
    """Import a file as `mine` from the shell; what it prints."""
    done = tps("weights", "import", "--as", kind, file, "mine", "--store", store.root)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def published_tiny(*, deployed: bool = False) -> tuple[YOLOv7, dict[str, torch.Tensor]]:
    """YOLOv7-tiny for COCO with random weights, and the same under the published names."""
    torch.manual_seed(0)
    network = YOLOv7("tiny")
    state = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    names = reference_names(network)
    tensors = {theirs: state[ours] for theirs, ours in names.items() if not (deployed and "implicit" in theirs)}
    tensors[f"{HEAD}.anchors"] = state["head.anchors"] / torch.tensor([8, 16, 32]).view(3, 1, 1)
    tensors[f"{HEAD}.anchor_grid"] = torch.zeros(3, 1, 3, 1, 1, 2)
    return network, tensors


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    torch.save({"epoch": 299, "model": published_tiny(deployed=True)[1]}, tmp_path / "yolov7-tiny.pt")
    return tmp_path / "yolov7-tiny.pt"


def recipe_with(tmp_path: Path, **network: Any) -> Path:
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    content["person_detector"]["network"] = network
    content["part_detector"]["network"]["weights"] = None
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "mine.yaml"


def test_pickled_yolov7_becomes_a_detector_with_a_fresh_head(official: Any, tmp_path: Path, store: Store) -> None:
    network, tensors = published_tiny()
    torch.save({"ema": None, "model": official_model(official, tensors)}, tmp_path / "tiny.pt")
    for name in ("models.yolo", "models.common", "models"):
        del sys.modules[name]
    converted = pretrained.import_weights(tmp_path / "tiny.pt", "mine", kind="yolov7_tiny", store=store)
    assert (converted.classes, converted.missing, converted.unexpected) == (80, (), (f"{HEAD}.anchor_grid",))
    state, about = load_checkpoint(store.local(pretrained.path_of("mine")))
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert (about["kind"], about["file"], about["licence"]) == ("yolov7_tiny", "tiny.pt", "unknown")
    assert (about["classes"], about["normalisation"]) == ("80", "RGB, 0..1")
    fit = load_into(YOLOv7("tiny", classes=10), state)
    assert {name.split(".")[0] for name in fit.reshaped} == {"head"}
    assert (fit.missing, fit.unexpected) == ((), ())


@pytest.mark.parametrize(("window", "index"), [((4, 4, 4), True), ((16, 7, 7), False), ((8, 7, 7), True)])
def test_video_swin_tells_its_own_dimensions(
    tmp_path: Path, store: Store, window: tuple[int, int, int], index: bool
) -> None:
    dimensions: dict[str, Any] = {
        "patch": [2, 4, 4],
        "embed": 16,
        "depths": [2, 1],
        "heads": [2, 4],
        "window": list(window),
    }
    network = VideoSwin(**dimensions, classes=5)
    tensors = published.video_swin(network)
    kept = {name: tensor for name, tensor in tensors.items() if index or "relative_position_index" not in name}
    torch.save({"meta": {}, "state_dict": kept}, tmp_path / "swin.pth")
    assert "classes: 5\n" in imported(tmp_path / "swin.pth", "video_swin", store)
    state, about = load_checkpoint(store.local(pretrained.path_of("mine")))
    assert json.loads(about["settings"]) == dimensions
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_image_swin_is_inflated_to_the_reports_window(tmp_path: Path, store: Store) -> None:
    image_network: Any = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=56, embed_dim=16, depths=(1, 2), num_heads=(2, 4), num_classes=9
    )
    torch.save(image_network.state_dict(), tmp_path / "image.pth")
    printed = imported(tmp_path / "image.pth", "swin_imagenet", store)
    assert "classes: no classifier\nmissing: none\nunexpected: head.fc.weight, head.fc.bias\n" in printed
    state, about = load_checkpoint(store.local(pretrained.path_of("mine")))
    settings = recipe.VideoSwin.model_validate_json(about["settings"])
    assert (settings.patch, settings.window) == ((2, 4, 4), (16, 7, 7))
    assert (settings.embed, settings.depths, settings.heads) == (16, (1, 2), (2, 4))
    network = video_swin(settings, classes=24)
    fit = load_into(network, state)
    assert (set(fit.missing), fit.unexpected, fit.reshaped) == ({"head.weight", "head.bias"}, (), ())
    kernel = network.get_parameter("features.0.0.mlp.0.weight")
    assert torch.equal(kernel, image_network.layers[0].blocks[0].mlp.fc1.weight)


def test_ir_csn_becomes_a_clip_method_s_network_and_no_other(tmp_path: Path, store: Store) -> None:
    network = Csn(depths=DEPTHS[50])
    tensors = published.ir_csn(network)
    counts = {name for name in tensors if name.endswith("num_batches_tracked")}
    assert tensors.keys() - counts == published.names("ir_csn_50_mm")
    torch.save({"state_dict": tensors}, tmp_path / "ircsn_r50.pth")
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    method = recipe.load("paper").methods["segment_level"].model_dump(mode="json")

    def check(depth: int, weights: str | None) -> Result:
        method["network"] |= {"depths": list(DEPTHS[depth]), "weights": weights}
        methods = content["methods"] | {"clips": method}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content | {"methods": methods}))
        return tps("recipe", "check", tmp_path / "mine.yaml", "--store", store.root)

    refused = check(50, "mine").stderr
    assert "  mine: not a name that we know\n" in refused
    assert "    for methods.clips.network\n" in refused
    assert check(50, None).exit_code == 0
    assert "classes: no classifier" in imported(tmp_path / "ircsn_r50.pth", "ir_csn", store)
    assert check(50, "mine").exit_code == 0
    assert "mine (ir_csn) is for {'depths': [3, 4, 6, 3]}, not {'depths': [3, 8, 36, 3]}" in check(152, "mine").stderr
    state, _ = load_checkpoint(store.local(pretrained.path_of("mine")))
    fit = load_into(Csn(depths=DEPTHS[50], classes=108), state)
    assert (set(fit.missing), fit.unexpected, fit.reshaped) == ({"blocks.5.proj.weight", "blocks.5.proj.bias"}, (), ())
    assert torch.equal(
        state["blocks.4.res_blocks.2.branch2.conv_b.weight"], tensors["backbone.layer4.2.conv2.0.conv.weight"]
    )


@pytest.mark.parametrize("kind", ["slowfast_acar", "slowfast_pyslowfast"])
def test_slowfast_tells_its_own_dimensions_and_leaves_a_head_behind(tmp_path: Path, store: Store, kind: str) -> None:
    normed = kind == "slowfast_pyslowfast"
    network = SlowFast(depths=(1, 1, 2, 1), stem=8, lateral_norms=normed, non_local=(1,) * normed)
    head = {"head.projection.weight": torch.zeros(80, 9)}
    torch.save({"epoch": 5, "state_dict": getattr(published, kind)(network) | head}, tmp_path / "slowfast.pth.tar")
    printed = imported(tmp_path / "slowfast.pth.tar", kind, store)
    assert "classes: no classifier\nmissing: none\nunexpected: head.projection.weight\n" in printed
    state, about = load_checkpoint(store.local(pretrained.path_of("mine")))
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    settings = recipe.SlowFast.model_validate_json(about["settings"])
    assert (settings.depths, settings.stem, settings.lateral_norms) == ((1, 1, 2, 1), 8, normed)
    assert (settings.non_local, settings.full_span) == ((1,) * normed, normed)
    assert settings.mean == ((114.75,) * 3 if normed else (110.6, 103.2, 96.3))


def test_a_recipe_says_what_to_fetch_and_its_command_works(tmp_path: Path, store: Store, tiny_file: Path) -> None:
    mine = recipe_with(tmp_path, variant="tiny", weights="yolov7_tiny_coco")
    refused = tps("recipe", "check", mine, "--store", store.root)
    assert refused.exit_code == 1
    assert refused.stdout == f"{mine}: valid\n"
    assert "  yolov7_tiny_coco: YOLOv7-tiny trained on COCO, 80 classes; GPL-3.0\n" in refused.stderr
    assert "    fetch yolov7-tiny.pt from https://github.com/WongKinYiu/yolov7/" in refused.stderr
    assert "    for person_detector.network\n" in refused.stderr
    (command,) = re.findall(r"`(tps [^`]*)`", refused.stderr)
    imported = tps(*shlex.split(command.replace("yolov7-tiny.pt", str(tiny_file)))[1:])
    assert imported.exit_code == 0
    assert f"missing: {HEAD}.ia.0.implicit, {HEAD}.im.0.implicit, " in imported.stdout
    assert f"unexpected: {HEAD}.anchor_grid\n" in imported.stdout
    assert "classes: 80\n" in imported.stdout
    assert tps("recipe", "check", mine, "--store", store.root).exit_code == 0
    rows = {row["name"]: row for row in json.loads(tps("weights", "list", "--json", "--store", store.root).stdout)}
    assert {name for name, row in rows.items() if row["imported"]} == {*pretrained.SHIPPED, "yolov7_tiny_coco"}
    assert pretrained.metadata_of("yolov7_tiny_coco", store)["licence"] == "GPL-3.0"  # type: ignore[index]


def test_weights_of_another_network_and_unknown_names_are_refused(
    tmp_path: Path, store: Store, tiny_file: Path
) -> None:
    pretrained.import_weights(tiny_file, "mine", kind="yolov7_tiny", store=store)
    for network, message in (
        (
            {"variant": "tiny", "width": 0.25, "weights": "mine"},
            r"person_detector.*'width': 1\.0}, not {'width': 0\.25}",
        ),
        ({"variant": "x", "weights": "mine"}, r"{'variant': 'tiny'}, not {'variant': 'x'}"),
        ({"variant": "x", "weights": "yours"}, r"weights: null(.|\n)*--as KIND FILE yours --store "),
    ):
        settings = recipe.load(recipe_with(tmp_path, **network)).model_dump(mode="json")
        with pytest.raises(WeightsError, match=message):
            pretrained.check(settings, store)
    scratch = recipe_with(tmp_path, variant="x", weights=None)
    pretrained.check(recipe.load(scratch).model_dump(mode="json"), store)


def test_training_gets_the_weights_and_says_which(
    tmp_path: Path, store: Store, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def fit(
        self: DetectorLearner, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        given.append(weights)
        return {}

    monkeypatch.setattr(DetectorLearner, "fit", fit)
    settings = recipe.load(recipe_with(tmp_path, variant="tiny", weights="yolov7_tiny_coco"))
    run = Run(settings, tmp_path, Lineage(store))

    def train(name: str, folder: Path, *reads: str) -> None:
        folder.mkdir()
        step = graph_of(settings).step(checkpoint(name).key)
        assert step.learner is not None
        assert {output.key for output in step.reads if output.key.startswith("weights/")} == set(reads)
        there = [key for key in run.lineage.latest().records if key[0] in reads]
        train_here(step.learner, replace(step.reader(run, run.lineage.latest().inputs(there)), workspace=folder))

    theirs = weights("yolov7_tiny_coco").key
    with pytest.raises(WeightsError, match=r"yolov7_tiny_coco: (.|\n)*for person_detector\.network"):
        train("person_detector", tmp_path / "without", theirs)
    assert given == []
    pretrained.import_weights(tiny_file, "yolov7_tiny_coco", kind="yolov7_tiny", store=store)
    train("person_detector", tmp_path / "with", theirs)
    train("part_detector", tmp_path / "scratch")
    assert given == [store.local("weights/yolov7_tiny_coco/model.safetensors"), None]
    kept = json.loads((tmp_path / "with" / "weights.json").read_text())
    assert kept == pretrained.metadata_of("yolov7_tiny_coco", store)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_name_stays_what_it_is_and_is_in_lineage(tmp_path: Path, store: Store, tiny_file: Path) -> None:
    pretrained.import_weights(tiny_file, "mine", kind="yolov7_tiny", store=store)
    lineage = Lineage(store)
    (traced,) = lineage.trace(lineage.latest().key_of("weights/mine"))
    assert traced[1].path == "weights/mine"
    settings = recipe.load(recipe_with(tmp_path, variant="tiny", weights="mine"))
    due = plan(Run(settings, tmp_path, lineage), graph_of(settings)).due
    assert due["checkpoints/person_detector"] == "never made"
    assert not [name for name in due if name.startswith("weights/")]
    pretrained.import_weights(tiny_file, "mine", kind="yolov7_tiny", store=store)
    assert len(lineage.records()) == 1
    other = tmp_path / "other.pt"
    torch.save(published_tiny()[1], other)
    with pytest.raises(WeightsError, match=r"other\.pt: mine is already in .*from yolov7-tiny\.pt.*another name"):
        pretrained.import_weights(other, "mine", kind="yolov7_tiny", store=store)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--as", "yolov9", "mine"], 2, "none of yolov7x, yolov7_tiny, video_swin, swin_imagenet"),
        (["--as", "yolov7x", "mine"], 1, "these are not the weights of a YOLOv7 checkpoint (x)"),
        (["--as", "video_swin", "mine"], 1, "not the weights of a Swin Transformer"),
        (["--as", "swin_imagenet", "mine"], 1, "imported as swin_imagenet, kinds: yolov7x"),
        (["--as", "yolov7_tiny", "mine", "--sha256", "00" * 32], 1, "download it again"),
        (["--as", "yolov7_tiny", "../mine"], 1, "choose a name of letters"),
        (["--as", "yolov7_tiny", "yolov7x_coco"], 1, "is the name of yolov7x_training.pt"),
    ],
)
def test_what_cannot_be_imported_is_named_with_the_reason(
    store: Store, tiny_file: Path, arguments: list[str], code: int, message: str
) -> None:
    refused = tps("weights", "import", tiny_file, *arguments, "--store", store.root)
    assert refused.exit_code == code
    assert message in " ".join(refused.stderr.replace("│", " ").split())
    assert code == 2 or "mine" in refused.stderr or str(tiny_file) in refused.stderr
    assert not Path(store.root, "weights").exists()
    absent = tps(
        "weights", "import", tiny_file.with_name("absent.pt"), "mine", "--as", "yolov7x", "--store", store.root
    )
    assert absent.exit_code == 2


@pytest.mark.parametrize(("channels", "heads"), [(0, 2), (16, 0)])
@pytest.mark.parametrize(("kind", "patch"), [("video_swin", (2, 4, 4)), ("swin_imagenet", (4, 4))])
def test_a_swin_of_no_channels_or_no_heads_is_refused(
    tmp_path: Path, kind: str, patch: tuple[int, ...], channels: int, heads: int
) -> None:
    window = {"video_swin": 15 * 13 * 13, "swin_imagenet": 13 * 13}[kind]
    biases = torch.zeros(window, heads)
    tensors = {"layers.0.blocks.0.attn.relative_position_bias_table": biases}
    torch.save(tensors | {"patch_embed.proj.weight": torch.zeros(channels, 3, *patch)}, tmp_path / "swin.pth")
    with pytest.raises(WeightsError, match=r"swin\.pth: .* no channels or no heads"):
        pretrained.import_weights(tmp_path / "swin.pth", "mine", kind=kind, store=Store(tmp_path / "store"))


def swin(kind: str, blocks: tuple[int, ...], *, embed: int = 8, side: int = 7) -> dict[str, torch.Tensor]:
    """What tells the dimensions of a Swin Transformer under published names, two heads a block."""
    video, rows = kind == "video_swin", (2 * side - 1) ** 2
    tensors = {"patch_embed.proj.weight": torch.zeros(embed, 3, *((2, 4, 4) if video else (4, 4)))}
    for i, block in ((i, block) for i, depth in enumerate(blocks) for block in range(depth)):
        attention = f"layers.{i}.blocks.{block}.attn"
        tensors[f"{attention}.relative_position_bias_table"] = torch.zeros(15 * rows if video else rows, 2)
        tensors[f"{attention}.qkv.weight"] = torch.zeros(3 * embed << i, embed << i)
    return tensors


@pytest.mark.parametrize("kind", ["video_swin", "swin_imagenet"])
@pytest.mark.parametrize(
    ("blocks", "change", "words"),
    [
        ((1,), {}, "a single block"),
        ((1, 0, 1), {}, "stages are missing"),
        ((1, 1), {"layers.1.blocks.0.attn.qkv.weight": torch.zeros(3, 3)}, "stage 1 does not see 16 channels"),
        ((1, 1), {"layers.0.blocks.0.attn.qkv.weight": torch.zeros(0)}, "stage 0 does not see 8 channels"),
        ((1, 1), {"layers.1.blocks.0.attn.relative_position_bias_table": torch.zeros(9)}, "of other axes"),
        ((1, 1), {"layers.1.blocks.0.attn.relative_position_bias_table": torch.zeros(1, 3)}, "make no|another shape"),
        ((1, 1), {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(0, 2)}, "patches|fit no window"),
        ((1, 1), {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(10**6, 1)}, "patches|fit no"),
        ((1, 1), {"patch_embed.proj.weight": torch.zeros(8)}, "of other axes"),
        ((1, 1), {"layers.x.blocks.0.norm1.weight": torch.zeros(8)}, "missing"),
        ((1, 1), {"layers.0.blocks.x": torch.zeros(8)}, "missing|make no"),
        ((1,) * 40, {"layers.0.blocks.1.norm1.weight": torch.zeros(8)}, "does not see"),
    ],
)
def test_swin_layers_that_make_no_network_are_refused_in_one_line(
    tmp_path: Path, kind: str, blocks: tuple[int, ...], change: dict[str, torch.Tensor], words: str
) -> None:
    tensors = swin(kind, blocks[:4]) | change
    for i in range(4, len(blocks)):  # stages that would have 2^40 channels, in a file that has not
        tensors[f"layers.{i}.blocks.0.attn.relative_position_bias_table"] = torch.zeros(1, 2)
    torch.save(tensors, tmp_path / "swin.pth")
    with pytest.raises(WeightsError, match=rf"swin\.pth: .*({words})") as refused:
        pretrained.import_weights(tmp_path / "swin.pth", "mine", kind=kind, store=Store(tmp_path / "store"))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()


def test_a_foreign_file_in_the_weights_folder_is_not_taken_for_imported(store: Store) -> None:
    path = Path(store.root, pretrained.path_of("mine"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(WeightsError, match=r"mine/model\.safetensors: not imported by `tps weights import`"):
        pretrained.metadata_of("mine", store)
