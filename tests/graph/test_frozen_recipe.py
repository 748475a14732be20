"""One recipe a run: an edit in mid-run changes nothing in that run, and the next one does exactly what it means."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.definitions import definitions_of
from assets.resources import FROZEN_IN, RECIPE, Pipeline
from assets.run import materialize
from assets.steps import SHARDS
from tests import workplace
from tests.workplace import ROOT, environment
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.methods.trajectories import training as trajectory_training
from tps_pipeline.recipe import parse
from tps_pipeline.store import Store
from tps_pipeline.video import frames

pytestmark = pytest.mark.whole

ANNOTATIONS = [f"annotations/{name}" for name in ("actions", "labelled_frames", "people", "parts", "objects")]
METHODS = {
    "video_category": {"kind": "video_category"},
    "part_trajectory": {
        "kind": "part_trajectory",
        "training": {"epochs": 1, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.001},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in several shards, ingested and probed."""
    made = workplace.make(
        tmp_path_factory.mktemp("frozen"), videos_per_shard=3, methods=METHODS, submission="video_category"
    )
    with dg.DagsterInstance.from_config(str(made / "home")) as instance:
        materialize_these(made, instance, "shards")
        materialize_these(made, instance, "videos", *ANNOTATIONS, over=True)
    return made


def materialize_these(
    folder: Path, instance: dg.DagsterInstance, *keys: str, over: bool = False, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun:
    job = definitions_of(workplace.pipeline(folder), dg.in_process_executor).resolve_implicit_global_asset_job_def()
    shards = instance.get_dynamic_partitions(str(SHARDS.name)) if over else []
    ends = zip(("start", "end"), (shards[0], shards[-1]), strict=True) if over else ()
    done = job.execute_in_process(
        asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
        instance=instance,
        tags=dict(tags or {}) | {f"dagster/asset_partition_range_{end}": shard for end, shard in ends},
    )
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    return run


def edit(folder: Path, **sections: dict[str, Any]) -> None:
    """Change the recipe's file."""
    settings = yaml.safe_load((folder / "recipe.yaml").read_text())
    for name, changed in sections.items():
        settings[name] = settings.get(name, {}) | changed
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))


def newest(folder: Path, asset: str) -> dict[str | None, Record]:
    records = Lineage(Store(folder / "store")).latest().records
    return {shard: record for (name, shard), record in records.items() if name == asset}


def test_an_edit_between_two_shards_changes_no_shard_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch):
    text, extract = (folder / "recipe.yaml").read_text(), frames.extract

    def then_edit(*args: Any, **options: Any) -> Iterator[Any]:
        yield from extract(*args, **options)
        edit(folder, frames={"jpeg_quality": 30})

    monkeypatch.setattr(frames, "extract", then_edit)
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        run = materialize_these(folder, instance, "frames", over=True)
        before = newest(folder, "frames")
        assert len(before) > 2
        as_begun = parse(text, folder / "recipe.yaml").digest_of(["frames"])
        assert {record.recipe_digest for record in before.values()} == {as_begun}
        assert run.tags[FROZEN_IN] == run.run_id
        kept = (folder / "store" / "recipes" / f"{run.tags[RECIPE]}.yaml").read_text()
        assert kept == text

        monkeypatch.undo()
        materialize_these(folder, instance, "frames", over=True)
    after = newest(folder, "frames")
    # With the old quality all shards would be as large as before: each was made anew with the new one.
    assert all(after[shard].bytes < 0.8 * before[shard].bytes for shard in before)
    assert {record.recipe_digest for record in after.values()} != {as_begun}


def test_a_run_that_is_launched_again_has_the_recipe_as_it_is_then(folder: Path):
    """Dagster gives it the tags of the run before."""
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        first = materialize_these(folder, instance, "vocabulary/actions")
        edit(folder, frames={"jpeg_quality": 31})
        again = materialize_these(folder, instance, "vocabulary/actions", tags=first.tags)
    assert again.tags[RECIPE] != first.tags[RECIPE]
    assert "jpeg_quality: 31" in (folder / "store" / "recipes" / f"{again.tags[RECIPE]}.yaml").read_text()


def test_a_checkpoint_says_what_it_was_trained_with(folder: Path, monkeypatch: pytest.MonkeyPatch):
    fit = trajectory_training.fit

    def edit_then_fit(*args: Any, **options: Any):
        settings = yaml.safe_load((folder / "recipe.yaml").read_text())
        settings["methods"]["part_trajectory"]["training"]["learning_rate"] = 0.5
        (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
        return fit(*args, **options)

    monkeypatch.setattr(trajectory_training, "fit", edit_then_fit)
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        materialize_these(folder, instance, "vocabulary/states", "vocabulary/actions")
        materialize_these(folder, instance, "checkpoints/part_trajectory")
        (made,) = newest(folder, "checkpoints/part_trajectory").values()
        beside = yaml.safe_load((folder / "store" / made.path / "recipe.yaml").read_text())
        assert beside["training"]["learning_rate"] == 0.001
        monkeypatch.undo()
        materialize_these(folder, instance, "checkpoints/part_trajectory")
    (again,) = newest(folder, "checkpoints/part_trajectory").values()
    beside = yaml.safe_load((folder / "store" / again.path / "recipe.yaml").read_text())
    assert beside["training"]["learning_rate"] == 0.5


def test_steps_in_processes_of_their_own_have_the_run_s_recipe(folder: Path):
    """The file loses a method and changes a setting while the first step's process is at work."""
    edit(folder, frames={"jpeg_quality": 90})
    text = (folder / "recipe.yaml").read_text()
    last = sorted(map(str, newest(folder, "videos")))[-1]
    variables = environment(folder) | {"TPS_EXECUTOR": "multiprocess"}
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        before = {record.dagster_run.run_id for record in instance.get_run_records()}
    process = subprocess.Popen(
        ["dagster", "asset", "materialize", "--select", "videos,frames", "--partition", last],
        cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        while process.poll() is None and not has_begun(instance, before):
            time.sleep(0.05)
        settings = yaml.safe_load(text)
        settings["frames"]["jpeg_quality"] = 20
        del settings["methods"]["part_trajectory"]
        (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    made = newest(folder, "frames")[last]
    assert made.recipe_digest == parse(text, folder / "recipe.yaml").digest_of(["frames"])
    (folder / "recipe.yaml").write_text(text)


def has_begun(instance: dg.DagsterInstance, before: set[str]) -> bool:
    """Whether a run that was not there before has a recipe."""
    runs = (record.dagster_run for record in instance.get_run_records())
    return any(RECIPE in run.tags for run in runs if run.run_id not in before)


def test_make_run_freezes_before_it_begins(tmp_path: Path):
    """Every Dagster run of one command is tagged with one recipe."""
    made = workplace.make(tmp_path, methods={"video_category": METHODS["video_category"]}, submission="video_category")
    pipeline = Pipeline(**workplace.pipeline(made).model_dump()).freeze()
    (made / "recipe.yaml").write_text("not: a recipe")
    with dg.DagsterInstance.from_config(str(made / "home")) as instance:
        materialize(pipeline, instance)
        tags = {record.dagster_run.tags.get(RECIPE) for record in instance.get_run_records()}
    assert tags == {pipeline.recipe_digest}
    assert (made / "store" / "leaderboard.parquet").exists()
