"""`docs/own_data.md` and `docs/own_method.md`, walked: a horse's twelve parts, corrections, a method of one's own."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from assets.steps import asset_of
from tests.data.formats.sources import FRAMES, box, cvat, track
from tests.data.layouts import write_video
from tps_pipeline import outputs, recipe
from tps_pipeline.cli.app import app
from tps_pipeline.data.lists import BODY_PARTS
from tps_pipeline.errors import RecipeError
from tps_pipeline.graph import Run, frozen, ingestion, make
from tps_pipeline.lineage import Lineage
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.outputs import (
    ACTIONS,
    LEADERBOARD,
    PARTS,
    SUBMISSION,
    TWO_STAGE,
    average_precision,
    candidate,
    checkpoint,
    predictions,
)
from tps_pipeline.predict.parser import load
from tps_pipeline.recipe.own import class_of
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parent.parent.parent

HORSE = ("croup", "muzzle", *(f"{side}_{part}" for side in ("left", "right")
                              for part in ("ear", "fore_hoof", "fore_knee", "hind_hoof", "hind_hock")))  # fmt: skip
TRAINING = {"epochs": 1, "batch_size": 2, "optimizer": "adamw", "learning_rate": 0.001, "workers": 0}
DETECTOR = {
    "network": {"variant": "tiny", "width": 0.125}, "image_size": 64, "training": TRAINING, "gains": {"objectness": 1.0}
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "seed": 0,
    "shards": {"videos_per_shard": 8, "val_fraction": 0.4},
    "frames": {"sample_stride": 5, "train_stride": 5},
    "person_detector": DETECTOR,
    "part_detector": DETECTOR,
    "two_stage": {"person_threshold": 0.0, "people_per_frame": 2},
    "video_action": {"members": {"trajectory": {"network": {"width": 8, "blocks": 1, "heads": 1},
                                                "training": TRAINING}}},
    "methods": {
        "video_category": {"kind": "video_category"},
        "part_trajectory": {"kind": "part_trajectory", "network": {"width": 8, "blocks": 1}, "training": TRAINING},
    },
    "submission": "part_trajectory",
}  # fmt: skip


def horse(video: str, action: str) -> str:
    """A horse of twelve parts that crosses the picture, as CVAT exports it."""
    whole: dict[str, Any] = {"xtl": 4, "ytl": 30, "xbr": 114, "ybr": 200}
    body = track(0, "person", box(0, said=f"person=bella,action={action}", **whole), box(FRAMES - 1, **whole), group=1)
    parts = [
        track(at, part, box(0, left=5 + 6 * at, state="up"), box(3, left=8 + 6 * at, state="down"), group=1)
        for at, part in enumerate(HORSE, 1)
    ]
    return cvat(body, *parts, source=f"{video}.mp4")


def words(*command: object) -> str:
    """What a command says; it succeeds."""
    said = CliRunner().invoke(app, [*map(str, command)])
    assert said.exit_code == 0, said.output
    return said.output


def work(
    folder: Path, entries: dict[str, Any], *, retraining: bool = False, **changes: Any
) -> tuple[Run, list[str], list[str]]:
    """Take in what is new and make all that is due; the run, the names of what was made, and what people were told."""
    told = list[str]()
    content = RECIPE | {"methods": RECIPE["methods"] | entries} | changes
    settings = recipe.parse(yaml.safe_dump(content), Path("horse.yaml"))
    lineage = Lineage(Store(folder / "store"))
    run = Run(settings, folder / "data", lineage, retraining=retraining, warn=told.append)
    frozen.freeze(run.store, yaml.safe_dump(settings.model_dump(mode="json")), "horse.yaml")
    ingestion.take_in(run)
    graph, made = graph_of(settings), list[str]()
    for step in graph.steps:
        shards = lineage.latest().shards(*graph.splits[step.name]) if step.sharded else ()
        for outcome in make(run, step, shards).values():
            made += [record.name for record in outcome.made.values()]
            told += [outcome.refused] if outcome.refused else []
    return run, made, told


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six imported videos, one more to predict, and a store that is finished."""
    folder = tmp_path_factory.mktemp("horses")
    (folder / "labels").mkdir()
    for at, name in enumerate(("bay", "dun", "grey", "roan", "black", "white")):
        write_video(folder / "clips" / f"{name}.mp4", frames=FRAMES)
        (folder / "labels" / f"{name}.xml").write_text(horse(name, ("canter", "rear")[at % 2]))
    imported = words(
        "data", "import", folder / "labels", folder / "data", "--from", "cvat", "--videos", folder / "clips"
    )
    assert "of 12 kind(s) of parts" in imported
    words("data", "validate", folder / "data")
    (folder / "data" / "test_videos").mkdir()
    write_video(folder / "data" / "test_videos" / "foal.mp4", frames=FRAMES)
    *_, told = work(folder, {})
    (folder / "told.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished store, and its data where they were."""
    shutil.copytree(finished / "store", tmp_path / "store")
    shutil.copytree(finished / "data", tmp_path / "data")
    return tmp_path


def test_twelve_parts_of_a_horse_from_cvat_to_a_scored_store(finished: Path) -> None:
    assert (finished / "data" / BODY_PARTS).read_text().split() == sorted(HORSE)
    store = Store(finished / "store")
    latest = Lineage(store).latest()
    network = store.local(latest.records[checkpoint("part_detector").at()].path) / WEIGHTS
    assert json.loads(load_checkpoint(network)[1]["labels"]) == sorted(HORSE)
    (shard,) = latest.shards("test")
    for output in (TWO_STAGE, predictions("part_trajectory"), predictions("video_category")):
        assert {*store.read(output.path(shard))["part"].to_pylist()} == {*HORSE}
    ranked = store.read(LEADERBOARD.path()).to_pandas().set_index("method")
    assert {"part_trajectory", "video_category", "voting"} <= {*ranked.index}
    assert np.isfinite(ranked.mean_psc).all()
    assert {*HORSE, "person", "parts"} == {*store.read(average_precision("two_stage").path())["label"].to_pylist()}
    (note,) = (store.local(latest.records[SUBMISSION.at()].path) / "not_the_challenge.txt").read_text().splitlines()
    assert note.startswith("not a submission to the Kinetics-TPS challenge")
    assert note in json.loads((finished / "told.json").read_text())
    _, made, _ = work(finished, {})
    assert made == []


@pytest.mark.slow
def test_everything_that_learns_learns_a_horse_s_parts(folder: Path) -> None:
    """Methods of clips and of people, joint classes of parts and states, one detector of all, who names the action."""
    demo = yaml.safe_load(recipe.read_text("demo"))
    members, methods = demo["video_action"]["members"], demo["methods"]
    for section in (members["swin"], *(each for each in methods.values() if "image_size" in each)):
        section["image_size"] = 64
    for section in (*members.values(), *(each.get("detector", each) for each in methods.values())):
        if "training" in section:
            section["training"] |= {"epochs": 1, "batch_size": 2, "workers": 0}
    members["statistics"]["trees"] = 10
    changes: dict[str, Any] = {"single_stage_detector": DETECTOR, "video_action": demo["video_action"]}
    run, made, _ = work(folder, methods, **changes)
    assert {f"checkpoints/{name}" for name in ("single_stage_detector", *methods)} <= {
        *made,
        "checkpoints/video_category",
    }
    latest = run.lineage.latest()
    for shard in latest.shards("test"):
        for output in (outputs.SINGLE_STAGE, *map(predictions, methods)):
            assert {*run.store.read(output.path(shard))["part"].to_pylist()} <= {*HORSE}, output.key
        for name in methods:
            assert run.store.read(predictions(name).path(shard)).num_rows, name
    assert {*run.recipe.scored} == {*run.store.read(LEADERBOARD.path())["method"].to_pylist()}


def documented(page: str, language: str) -> str:
    """The first block of a language in a page."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_a_method_of_one_s_own_is_made_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, entry = (
        documented("own_method.md", "python"),
        yaml.safe_load(documented("own_method.md", "yaml"))["methods"],
    )
    assert len(source.splitlines()) <= 30
    (folder / "my_methods.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    run, made, _ = work(folder, entry)
    shards = run.lineage.latest().shards("val", "test")
    own = {
        "checkpoints/commonest",
        *(f"{each}/commonest/{shard}" for each in ("predictions", "psc") for shard in shards),
    }
    assert own <= {*made}
    assert {name.partition("/")[0] for name in {*made} - own} == {
        "psc", "ensemble", "stacking", "method_by_category", "leaderboard", "report"
    }  # fmt: skip
    assert {*run.store.read(predictions("commonest").path("test-000"))["state"].to_pylist()} <= {"up", "down"}
    assert "commonest" in run.store.read(LEADERBOARD.path())["method"].to_pylist()
    spec = next(iter(asset_of(graph_of(run.recipe).step("checkpoints/commonest")).specs))
    assert spec.code_version == run.lineage.latest().records[checkpoint("commonest").at()].code_version

    (folder / "bundled").mkdir()
    words("bundle", folder / "store", folder / "bundled" / "me.tps", "--method", "commonest")
    words("predict", folder / "data" / "test_videos" / "foal.mp4", "--bundle", folder / "bundled" / "me.tps",
          "--out", folder / "bundled", "--save", "json")  # fmt: skip
    monkeypatch.setitem(sys.modules, "my_methods", None)
    class_of.cache_clear()
    recipe.parse.cache_clear()
    with pytest.raises(
        RecipeError, match=r"me.tps: recipe.yaml: methods.commonest: there is no module my_methods; inst"
    ):
        load(folder / "bundled" / "me.tps")


def test_the_method_that_finds_people_itself_is_made_alone_and_of_frames_only(folder: Path) -> None:
    network = {"depths": [1, 1, 1, 1], "stem": 8, "beta": 0.25, "from_last": True}
    narrow = dict.fromkeys(("width", "part_width", "person_width", "relation_width"), 8) | {
        "body": {"variant": "tiny", "width": 0.25}
    }
    entry = {"kind": "end_to_end", "network": network, "frames": 4, "image_size": 64, "training": TRAINING, **narrow}
    run, made, _ = work(folder, {"end_to_end": entry})
    latest = run.lineage.latest()
    own = {"checkpoints/end_to_end", *(f"{each}/end_to_end/{shard}" for each in ("predictions", "psc")
                                       for shard in latest.shards("val", "test"))}  # fmt: skip
    assert own <= {*made}
    assert {name.partition("/")[0] for name in {*made} - own} == {
        "psc", "average_precision", "detector_confusion", "ensemble", "stacking", "method_by_category", "leaderboard",
        "report",
    }  # fmt: skip
    inputs = {each.asset for each in latest.records[predictions("end_to_end").at("test-000")].inputs}
    assert inputs == {"checkpoints/end_to_end", "videos", "frames"}
    assert {*run.store.read(predictions("end_to_end").path("test-000"))["part"].to_pylist()} == {*HORSE}
    assert "end_to_end" in run.store.read(LEADERBOARD.path())["method"].to_pylist()

    bundle, foal = folder / "me.tps", folder / "data" / "test_videos" / "foal.mp4"
    words("bundle", folder / "store", bundle, "--method", "end_to_end")
    found = load(bundle)(foal)
    assert found.predictions.equals(load(folder / "store", method="end_to_end")(foal).predictions)
    assert found.to_pandas().track_id.notna().all()


def test_predicted_corrected_imported_and_learned_from(folder: Path) -> None:
    new, labels = folder / "new", folder / "corrected"
    for name in ("colt", "filly"):
        write_video(new / f"{name}.mp4", frames=FRAMES)
    words("predict", new, "--store", folder / "store", "--save", "cvat", "--out", labels, "--min-score", "0")
    for file in labels.glob("*.xml"):
        file.write_text(corrected(file.read_text()))
    said = words("data", "import", labels, folder / "data", "--from", "cvat", "--videos", new)
    assert said.startswith("2 video(s)")
    words("data", "validate", folder / "data")
    before = Lineage(Store(folder / "store")).latest()

    run, made, told = work(folder, {}, retraining=True)
    latest = run.lineage.latest()
    shards = sorted({*latest.shards("train", "val")} - {*before.shards("train", "val")})
    parts = pd.concat([run.store.read(PARTS.path(shard)).to_pandas() for shard in shards])
    assert {*parts.video_id} == {"colt", "filly"}
    assert {*parts.state[parts.part == "muzzle"]} == {"graze"}
    actions = pa.concat_tables([run.store.read(ACTIONS.path(shard)) for shard in shards])
    assert {*actions["action"].to_pylist()} == {"gallop"}
    for step in graph_of(run.recipe).steps:
        if learner := step.learner:
            now, aside = latest.records[step.makes[0].at()], latest.records.get(candidate(learner.name).at())
            if aside is None:
                assert now.record != before.records[step.makes[0].at()].record, f"{learner.name} did not learn again"
            else:
                assert now.record == before.records[step.makes[0].at()].record
                assert aside.metrics["after"] < aside.metrics["before"]
                assert any(f"the current {learner.name} stays" in line for line in told)
    assert f"predictions/part_trajectory/{latest.shards('test')[0]}" in made


def corrected(xml: str) -> str:
    """What a person makes of a prediction: one animal is left, its muzzle is in a new state, the action is another."""
    root = ElementTree.fromstring(xml)
    tracks = root.findall("track")
    people = [each for each in tracks if each.get("label") == "person"]
    kept = {name_of_person(people[0])}
    for each in tracks:
        if name_of_person(each) not in kept:
            root.remove(each)
        for attribute in each.iter("attribute"):
            if attribute.get("name") == "state" and each.get("label") == "muzzle":
                attribute.text = "graze"
            if attribute.get("name") == "action":
                attribute.text = "gallop"
    return ElementTree.tostring(root, encoding="unicode")


def name_of_person(track: Element) -> str | None:
    return next((each.text for each in track.iter("attribute") if each.get("name") == "person"), None)
