import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_pipeline import recipe
from tps_pipeline.errors import RecipeError


@pytest.fixture
def content() -> dict[str, Any]:
    return yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())


@pytest.mark.parametrize("name", sorted(p.stem for p in recipe.RECIPES.glob("*.yaml")))
def test_every_shipped_recipe_loads(name: str):
    assert recipe.load(name).submission in recipe.load(name).scored


def test_the_report_s_scores_are_those_of_its_recipe_s_entries():
    paper = recipe.load("paper")
    assert set(recipe.reported()) <= set(paper.scored)
    assert recipe.reported()["voting"] == 0.6824
    assert sum("reported:" in p.read_text() for p in recipe.RECIPES.glob("*.yaml")) == 1


def starting_from(content: dict[str, Any], **starts: str) -> None:
    for name, start in starts.items():
        content["methods"][name]["start_from"] = start


SWIN = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())["methods"]["video_level"]["network"]
Change = Callable[[dict[str, Any]], object]
MISTAKES: list[tuple[Change, str]] = [
    (
        lambda c: c["video_action"]["members"]["swin"].update(frame=3),
        "video_action.members.swin.frame: unknown key; did you mean 'frames'",
    ),
    (
        lambda c: c["video_action"]["members"].update(trajectories={}),
        "video_action.members.trajectories: unknown key; did you mean 'trajectory'",
    ),
    (
        lambda c: c["video_action"].update(members={}),
        "nobody names the video's action; members are swin, trajectory, statistics",
    ),
    (lambda c: c["video_action"].update(fusion="best"), "video_action.fusion: Input should be 'mean' or 'fitted'"),
    (lambda c: c["person_detector"]["network"].update(widht=2), "did you mean 'width'"),
    (lambda c: c["methods"]["video_category"].update(kid="x"), "did you mean 'kind'"),
    (lambda c: c.update(submission="x"), "submission names 'x'"),
    (
        lambda c: c["methods"].update(voting={"kind": "video_category"}),
        "methods.voting: this is the name of an ens",
    ),
    (lambda c: c.update(ensemble={"voting": {"methods": ["voting"]}}), "ensemble.voting.methods names 'voting'"),
    (lambda c: c.update(ensemble={"by_category": {"candidates": ["by_category"]}}), "candidates names 'by_cat"),
    (lambda c: c.update(ensemble={"choose_on": "train"}), "add it to predict_splits"),
    (
        lambda c: c.update(ensemble={"choose_on": "train"}, predict_splits=["train"], frames={"train_stride": 10}),
        "frames.train_stride leaves out",
    ),
    (
        lambda c: c["methods"]["segment_level"].update(start_from="video_action"),
        "methods.segment_level.start_from: 'video_action' is no network of this recipe with the same dim",
    ),
    (lambda c: c["methods"]["instance_pp"].update(start_from="pcp"), "dimensions; there are instance_pcp"),
    (lambda c: starting_from(c, instance_pcp="instance_pp", instance_pp="instance_pcp"), "begin with each other"),
    (
        lambda c: c["methods"]["video_level"].update(start_from="video_action", network=SWIN | {"weights": "mine"}),
        "methods.video_level.start_from and network.weights: give one",
    ),
    (lambda c: c["shards"].update(val_fraction=3), "shards.val_fraction"),
    (lambda c: c.pop("video_action"), "video_action: Field required"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_mistakes_are_named_with_their_place(content: dict[str, Any], change: Change, message: str, tmp_path: Path):
    change(content)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as error:
        recipe.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_unknown_name_lists_the_known(tmp_path: Path):
    with pytest.raises(RecipeError, match="demo"):
        recipe.load("dmeo")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match="not YAML"):
        recipe.load(tmp_path / "x.yaml")


def test_a_digest_covers_its_sections_and_nothing_else():
    demo = recipe.load("demo")
    faster = demo.model_copy(update={"seed": 1, "two_stage": demo.two_stage.model_copy(update={"crop_margin": 0.3})})
    assert demo.digest_of(["person_detector"]) == faster.digest_of(["person_detector"])
    assert demo.digest_of(["two_stage.person_iou"]) == faster.digest_of(["two_stage.person_iou"])
    assert demo.digest_of(["two_stage.crop_margin"]) != faster.digest_of(["two_stage.crop_margin"])
    assert demo.digest_of(["seed"]) != faster.digest_of(["seed"])


TRAINING = "person_detector.training"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((f"{TRAINING}.learning_rate", value) for value in (".nan", ".inf", "-.inf", "-1", "1e400", "fast")),
        *((f"{TRAINING}.epochs", value) for value in ("0", "-3", "1" + "0" * 30, "1.5", "true-ish")),
        *((f"{TRAINING}.workers", value) for value in ("-1", "1" + "0" * 12)),
        *((f"{TRAINING}.{name}", "-0.1") for name in ("momentum", "weight_decay", "warmup", "ema", "clip_norm")),
        (f"{TRAINING}.ema", "1.5"),
        ("seed", "-1"),
        ("seed", "1" + "0" * 40),
        ("video_action.members.swin.network.depths", "[0, 2]"),
        ("video_action.members.swin.network.window", "[-16, 7, 7]"),
        ("video_action.members.swin.cache_megabytes", "-1"),
        ("person_detector.network.width", "0"),
        ("person_detector.augment.scale", ".nan"),
        ("two_stage.crop_margin", "-2"),
        ("methods.part_trajectory.augment.jitter", ".inf"),
    ],
)
def test_a_number_that_nothing_can_be_done_with_is_refused_at_its_place(
    content: dict[str, Any], place: str, value: str, tmp_path: Path
):
    section = content
    *path, name = place.split(".")
    for step in path:
        section = section.setdefault(step, {})
    section[name] = "PLACE"
    written = tmp_path / "mine.yaml"
    written.write_text(yaml.safe_dump(content).replace("PLACE", value))
    with pytest.raises(RecipeError) as error:
        recipe.load(written)
    line = str(error.value).splitlines()[0]
    assert line.startswith(f"{written}: ")
    assert all(step in line for step in (*path, name))


def laughs(merged: bool) -> str:
    """Nine levels of nine aliases each: a billion values in a few lines."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 10):
        nine = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {{<<: [{nine}]}}" if merged else f"a{level}: &a{level} [{nine}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(merged=False), "values with its aliases written out"),
        (laughs(merged=True), "values with its aliases written out"),
        ("a: &a [*a]", "values with its aliases written out"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 3_000, "nested too deeply"),
        ("seed: " + "9" * 5_000, "not YAML: Exceeds the limit"),
        ("seed: 2020-13-45", "not YAML: month must be in"),
        ("seed: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("x" * 1_000_001, "longer than 1,000,000 bytes"),
        ("", "Input should be a valid dictionary"),
        ("- 1\n- 2\n", "Input should be a valid dictionary"),
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document"),
    ],
    ids=range(12),
)
def test_a_hostile_recipe_is_refused_in_time_and_in_one_line(text: str, message: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=re.escape(message)) as error:
        recipe.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_what_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "latin.yaml").write_bytes("seed: 1 # für mich".encode("latin-1"))
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name, message in {
        "latin": "is not UTF-8 text (byte 11)", "pipe": "is not a file", "zero": "is not a file",
        "folder": "is not a file", "missing": "cannot be read (No such file",
    }.items():  # fmt: skip
        with pytest.raises(RecipeError, match=re.escape(message)):
            recipe.load(tmp_path / f"{name}.yaml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    marked = tmp_path / "mine.yaml"
    marked.write_bytes(b"\xef\xbb\xbf" + (recipe.RECIPES / "demo.yaml").read_bytes())
    assert recipe.load(marked) == recipe.load("demo")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)


@settings(max_examples=60, deadline=2_000)
@given(st.text() | VALUES)
def test_whatever_is_in_a_file_it_is_a_recipe_or_a_message(content: Any):
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    with pytest.raises(RecipeError):
        recipe.parse(text, Path("mine.yaml"))
