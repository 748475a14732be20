"""The whole graph on a small generated data set: run, run again, change something, add a video."""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from assets.automation import INGESTION, ONE_SHARD, RETRAIN
from assets.definitions import assets_of, definitions, definitions_of
from assets.resources import RETRAINING, Pipeline
from assets.run import materialize
from assets.steps import SHARDS
from tests.workplace import ROOT, documented, environment, make
from tests.workplace import pipeline as pipeline_of
from tps_pipeline.data import submission
from tps_pipeline.data.challenge_json import read_submission
from tps_pipeline.data.synthetic import generate
from tps_pipeline.graph import Reader, promotion
from tps_pipeline.graph.plan import plan
from tps_pipeline.graph.work import keys_read
from tps_pipeline.learners import learners_of
from tps_pipeline.lineage import Lineage
from tps_pipeline.outputs import CHECKS, FOLDERS, LEADERBOARD, VIDEOS, Output, predictions, psc
from tps_pipeline.predict import memory
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

SHAPE_THE_GRAPH = {
    *("ensemble.choose_on", "ensemble.stacked.fit_on", "ensemble.voting.methods", "predict_splits", "submission")
}
"""Parts of the recipe that say what a step reads, and need not be looked at by it again."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("graph"))
    settings = yaml.safe_load((folder / "recipe.yaml").read_text())
    settings["methods"]["instance_pcp"]["matching_detections"] = {"person_score": 0.0, "iou": 0.5}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def pipeline(workplace: Path) -> Pipeline:
    return pipeline_of(workplace)


@pytest.fixture(scope="module")
def instance(workplace: Path):
    with dg.DagsterInstance.from_config(str(workplace / "home")) as instance:
        yield instance


@pytest.fixture(scope="module")
def first_run(pipeline: Pipeline, instance: dg.DagsterInstance) -> set[str]:
    return run(pipeline, instance)


def run(pipeline: Pipeline, instance: dg.DagsterInstance) -> set[str]:
    """Run everything that is due; the names of what was written. What was planned beforehand is what happened."""
    before = {record.record for record in Lineage(Store(pipeline.store_root)).records()}
    planned = plan(pipeline.run(), graph_of(pipeline.recipe))
    materialize(pipeline, instance)
    new = [record for record in Lineage(Store(pipeline.store_root)).records() if record.record not in before]
    made = {record.name for record in new if not record.asset.startswith((CHECKS, FOLDERS.key))}
    if not any(name.startswith("shards/") for name in made):  # else the folder has changed, too
        sure = {name for each in planned.outputs for name, why in each.due.items() if not why.endswith(" is stale")}
        assert sure <= made <= planned.due.keys()
        assert len(sure) == planned.make
    return made


def test_the_code_location_loads_without_torch():
    code = "import sys; from assets.definitions import definitions; definitions(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert "leaderboard" in {key.to_user_string() for key in definitions().resolve_asset_graph().get_all_asset_keys()}


def test_videos_in_scored_submission_out(pipeline: Pipeline, first_run: set[str], workplace: Path):
    assert {"shards/train-000", "videos/val-000", "frames/test-000", "leaderboard", "report"} <= first_run
    ranked = pipeline.read(LEADERBOARD).to_pandas()
    assert set(ranked.split) == {"val", "test"}
    assert ranked.score.between(0, 0.9999).all()
    submitted = ranked[(ranked.split == "test") & (ranked.method == pipeline.recipe.submission)]
    score = submission.evaluate(workplace / "data" / "gt", workplace / "store" / "submission").score
    assert submitted.score.item() == pytest.approx(score, abs=1e-12)


def test_a_second_run_makes_nothing(pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str]):
    assert run(pipeline, instance) == set()


def test_by_itself_a_video_is_predicted_as_in_the_graph(
    pipeline: Pipeline, first_run: set[str], workplace: Path, tmp_path: Path
):
    """By every method and ensemble, to the last digit, whatever was beside it in its shard."""
    names, beside = pipeline.recipe.scored, pipeline.read(VIDEOS, "test-000").to_pylist()
    assert len(beside) > 1
    video = workplace / "data" / beside[0]["path"]
    steps = memory.steps_for(graph_of(pipeline.recipe), map(predictions, names))
    run = replace(pipeline.run(), data=video.parent)
    alone = memory.predict(run, steps, memory.inputs_of(run, steps), video, tmp_path)
    for output in map(predictions, names):
        of_video = pc.field("video_id").cast(pa.string()) == beside[0]["video_id"]
        there, found = pipeline.read(output, "test-000").filter(of_video), alone[output]
        assert isinstance(found, pa.Table)
        assert len(there) > 0
        assert found.to_pylist() == there.to_pylist(), output.key


def test_everything_that_a_step_declares_is_what_it_reads(
    pipeline: Pipeline, first_run: set[str], monkeypatch: pytest.MonkeyPatch
):
    """Of outputs and of the recipe: what is declared too much would make outputs stale for nothing."""
    read_by: dict[str, set[Output | str]] = {}
    of, setting = Reader._of, Reader.setting

    def _of(self: Reader, output: Output):
        read_by.setdefault(self.name, set()).add(self.run.meant(output))
        return of(self, output)

    def _setting(self: Reader, name: str):
        read_by.setdefault(self.name, set()).add(name)
        return setting(self, name)

    monkeypatch.setattr(Reader, "_of", _of)
    monkeypatch.setattr(Reader, "setting", _setting)
    run, graph = pipeline.run(), graph_of(pipeline.recipe)
    for step in graph.steps:
        shard = next(
            (s for s in pipeline.shards("val", "test") if step.sharded and s[:-4] in graph.splits[step.name]), None
        )
        latest = pipeline.lineage.latest()
        inputs = latest.inputs(keys_read(step, shard, latest))
        with pipeline.store.scratch() as folder:
            step.make(replace(step.reader(run, inputs, shard), scratch=folder, workspace=folder))
        seen = read_by.pop(step.name, set())
        assert {each for each in seen if isinstance(each, Output)} == set(step.reads), step.name
        if step.learner is None and step.group != "predictions":  # these have theirs from their entry
            unread = set(step.sections) - {each for each in seen if isinstance(each, str)}
            assert unread <= SHAPE_THE_GRAPH, step.name


def test_what_learns_from_detections_is_trained_after_them(pipeline: Pipeline, first_run: set[str]):
    records = pipeline.lineage.latest().records
    network = records["checkpoints/instance_pcp", None]
    inputs = {i.key: i.data_version for i in network.inputs}
    shards = [shard for shard in pipeline.shards("train", "val") if ("detections/two_stage", shard) in inputs]
    assert shards == pipeline.shards("train", "val")
    for shard in shards:
        detected = records["detections/two_stage", shard]
        assert inputs[detected.key] == detected.data_version
        assert records["checkpoints/part_detector", None].finished_at < detected.finished_at < network.finished_at
    # Only what is learned from is made of training videos: the members that see motion learn from tracks.
    made = {asset for asset, shard in records if shard == "train-000"}
    assert not any(asset.startswith(("video_actions", "predictions")) for asset in made)


def test_the_submission_descends_from_the_videos(pipeline: Pipeline, first_run: set[str]):
    names = {record.name for _, record in pipeline.lineage.trace(("submission", None))}
    assert {
        "submission",
        "checkpoints/person_detector",
        "videos/test-000",
        "shards/test-000",
        "shards/train-000",
    } <= names


def test_the_report_shows_what_this_submission_was_made_from(pipeline: Pipeline, first_run: set[str]):
    made = {record.name: record for _, record in pipeline.lineage.trace(("submission", None))}
    page = pipeline.store.local("report.html").read_text(encoding="utf-8")
    for name in ("submission", "checkpoints/person_detector"):
        assert f"<code>{made[name].data_version}</code>" in page
    assert all(f'id="made-{record.asset}"' in page for record in made.values())


@pytest.mark.parametrize("command", ["dg launch", "dagster asset materialize"])
@pytest.mark.parametrize(
    ("option", "shards"), [("--partition", {"test-000"}), ("--partition-range", {"val-000", "test-000"})]
)
def test_the_documented_shell_commands_work(
    command: str, option: str, shards: set[str], workplace: Path, instance: dg.DagsterInstance, first_run: set[str]
):
    shown = documented(command, f"{option} ").replace("test-001", "test-000")  # the demo has a second test shard
    assert made_by(shown, workplace, instance) == shards


def made_by(command: str, workplace: Path, instance: dg.DagsterInstance) -> set[str | None]:
    """The shards that a shell command materializes."""
    done = subprocess.run(
        shlex.split(command), cwd=ROOT, env=environment(workplace), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr
    (record,) = instance.get_run_records(limit=1)
    made = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return {event.get_dagster_event().partition for event in made}


def test_a_changed_setting_makes_only_what_depends_on_it(
    pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str], workplace: Path
):
    settings = yaml.safe_load((workplace / "recipe.yaml").read_text())
    settings["two_stage"] = {"person_threshold": 0.02}
    changed = workplace / "changed.yaml"
    changed.write_text(yaml.safe_dump(settings))
    other = Pipeline(data=pipeline.data, recipe_name=str(changed), store_root=pipeline.store_root)
    stale = plan(other.run(), graph_of(other.recipe)).due
    assert "recipe changed" in stale["detections/two_stage/val-000"]
    assert "checkpoints/person_detector" not in stale
    made = run(other, instance)
    assert {name.rpartition("/")[0] for name in made if name.startswith("detections")} == {"detections/two_stage"}
    assert not any(name.startswith(("frames", "video_actions/swin", "datasets")) for name in made)
    of_motion = {"checkpoints/video_action_trajectory", "checkpoints/video_action_statistics"}
    learned = {name for name in made if name.startswith("checkpoints")}
    from_detections = {"checkpoints/instance_pcp", "checkpoints/instance_pp"}  # the second begins with the first
    assert learned <= from_detections | of_motion
    run(pipeline, instance)


def test_one_more_video_computes_only_its_shard(
    pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str], workplace: Path
):
    generate(workplace / "more", videos=8, seed=4, width=128, height=96, frames=16, classes=2, test_fraction=0.25)
    video = next((workplace / "more" / "test_videos").rglob("*.mp4"))
    folder = workplace / "data" / "test_videos"
    shutil.copy(video, folder / video.name)
    made = run(pipeline, instance)
    new = {name for name in made if name.endswith("/test-001")}
    assert {
        "shards/test-001",
        "frames/test-001",
        "detections/two_stage/test-001",
        "predictions/video_category/test-001",
    } <= new
    assert {"submission", "report"} <= made
    assert not any(name.startswith("checkpoints") for name in made)
    assert not any(name.endswith(("-000",)) for name in made)
    parts = json.loads((workplace / "store" / "submission" / "pred_part_result.json").read_text())
    assert video.stem in parts


def test_a_corrupt_video_does_not_lose_the_rest(
    pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str], workplace: Path
):
    (workplace / "data" / "test_videos" / "zzz_000000_000010.mp4").write_bytes(b"not a video")
    made = run(pipeline, instance)
    broken = pipeline.read(VIDEOS, "test-002").to_pandas()
    assert broken.status.tolist() == ["unreadable"]
    assert "zzz_000000_000010.mp4" in broken.error.item()
    assert "submission" in made


def test_without_test_ground_truth_there_is_a_submission_and_no_test_score(
    pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str], workplace: Path
):
    submitted = (workplace / "store" / "submission" / "pred_part_result.json").read_bytes()
    (workplace / "data" / "gt").rename(workplace / "gt")
    made = run(pipeline, instance)
    assert set(pipeline.read(LEADERBOARD).to_pandas().split) == {"val"}
    assert (workplace / "store" / "submission" / "pred_part_result.json").read_bytes() == submitted
    # Frames are extracted again, for which were labelled has changed; their content has not, and nothing follows.
    assert not any(name.startswith(("checkpoints", "detections", "video_actions", "predictions")) for name in made)


def test_assets_follow_from_the_recipe(pipeline: Pipeline):
    keys = {key.to_user_string() for assets in assets_of(graph_of(pipeline.recipe)) for key in assets.keys}
    for name in pipeline.recipe.methods:
        assert {f"checkpoints/{name}", f"predictions/{name}", f"psc/{name}"} <= keys


def test_retraining_counts_new_shards_and_keeps_what_is_better(
    pipeline: Pipeline, instance: dg.DagsterInstance, first_run: set[str], workplace: Path
):
    """Every network is trained again on the grown data; what is worse on val does not take its place."""
    generate(workplace / "grown", videos=8, seed=5, width=128, height=96, frames=16, classes=2, test_fraction=0.25)
    for folder in ("train_videos", "train_annotations"):
        shutil.copytree(workplace / "grown" / folder, workplace / "data" / folder, dirs_exist_ok=True)
    definitions = definitions_of(pipeline, dg.in_process_executor)
    before = dict(pipeline.lineage.latest().records)
    assert definitions.resolve_job_def(INGESTION).execute_in_process(instance=instance).success
    new = {shard for _, shard in pipeline.lineage.latest().records if shard} - {shard for _, shard in before}
    (grown,) = [shard for shard in new if shard.startswith("train")]
    graph = definitions.resolve_asset_graph()
    taken_in = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name in ("source", "data")}
    taken_in |= {dg.AssetKey(["detections", "two_stage"]), dg.AssetKey("tracks")}
    sources = [key for key in taken_in if graph.get(key).partitions_def == SHARDS]
    for shard in sorted(new):
        job = definitions.resolve_job_def(ONE_SHARD)
        job.execute_in_process(instance=instance, asset_selection=sources, partition_key=shard)
    retraining = definitions.resolve_job_def(RETRAIN)
    assert retraining.tags[RETRAINING]
    assert retraining.execute_in_process(instance=instance).success

    after = pipeline.lineage.latest().records
    learners = {learner.name: learner for learner in learners_of(pipeline.recipe)}
    for name in learners:
        aside, current = after.get((f"candidates/{name}", None)), after[f"checkpoints/{name}", None]
        promoted = current.record != before[f"checkpoints/{name}", None].record
        assert promoted == (aside is None)
        made = current if promoted else aside
        assert made is not None
        assert any(i.partition == grown for i in made.inputs)
        if not promoted and "after" in made.metrics:
            learner, of = learners[name], pipeline.run()
            assert made.metrics["after"] < made.metrics["before"]
            kept = pipeline.store.local(current.path)
            shards = promotion.comparable(of, learner)
            assert made.metrics["before"] == pytest.approx(promotion.value(of, learner, kept, shards))
    assert retraining.execute_in_process(instance=instance).success
    again = pipeline.lineage.latest().records
    assert {k: r.record for k, r in again.items()} == {k: r.record for k, r in after.items()}


def test_a_network_is_compared_by_what_its_scores_say(pipeline: Pipeline, first_run: set[str]):
    learner = next(learner for learner in learners_of(pipeline.recipe) if learner.name in pipeline.recipe.methods)
    run, network = pipeline.run(), pipeline.lineage.latest().records[f"checkpoints/{learner.name}", None]
    shards = promotion.comparable(run, learner)
    compared = promotion.value(run, learner, pipeline.store.local(network.path), shards)
    scored = [pipeline.read(psc(learner.name), shard).to_pandas() for shard in shards]
    assert compared == pytest.approx(pd.concat(scored).psc.mean())


def test_where_there_are_no_test_videos_the_submission_is_empty(tmp_path: Path):
    """As in a folder of training videos only; the report shows the submission, and is made as ever."""
    pipeline = Pipeline(data=str(tmp_path / "data"), recipe_name="demo", store_root=str(tmp_path / "store"))
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions_of(pipeline, dg.in_process_executor).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(asset_selection=[dg.AssetKey("submission")], instance=instance).success
    assert read_submission(tmp_path / "store" / "submission").parsing.videos == []
