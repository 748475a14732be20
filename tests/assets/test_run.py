"""What `make run` shows: in a pipe plain lines, on a terminal the networks that train, side by side; no more."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._utils.interrupts import capture_interrupts
from rich.console import Console

from assets.definitions import definitions_of
from assets.progress import Training, shown
from assets.resources import Pipeline
from assets.run import _interrupts, _Making, _title, main, materialize
from tests.workplace import ROOT, environment, make, pipeline
from tps_pipeline import recipe
from tps_pipeline.cli.plan import foreseen
from tps_pipeline.errors import StoreError
from tps_pipeline.stages import graph_of

pytestmark = pytest.mark.whole

COMMAND = [sys.executable, "-m", "assets.run"]
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    demo = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())["methods"]
    methods = {name: demo[name] for name in ("video_category", "video_level")}
    methods["video_level"]["training"]["epochs"] = 1
    return make(tmp_path_factory.mktemp("shown"), videos=10, methods=methods, submission="video_level")


@pytest.fixture(scope="module")
def in_a_terminal(workplace: Path) -> str:
    """What comes when everything is made."""
    env = environment(workplace) | {"TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50"}
    main, end = pty.openpty()
    process = subprocess.Popen(COMMAND, cwd=ROOT, env=env, stdin=end, stdout=end, stderr=end, close_fds=True)
    os.close(end)
    said = b""
    while True:
        try:
            if not (more := os.read(main, 65536)):
                break
        except OSError:  # how Linux says that the other end is closed
            break
        said += more
    os.close(main)
    text = said.decode(errors="replace")
    assert process.wait() == 0, text
    return text


def test_on_a_terminal_each_network_has_a_line(in_a_terminal: str, workplace: Path):
    assert ESCAPE in in_a_terminal
    assert "DEBUG" not in in_a_terminal
    assert "STEP_WORKER" not in in_a_terminal
    for network in ("person_detector", "part_detector", "video_action", "video_level"):
        assert re.search(rf"{network}\s.*epoch \d/1", in_a_terminal), network


def test_in_a_pipe_a_stage_is_a_plain_line(in_a_terminal: str, workplace: Path):
    (workplace / "recipe.yaml").write_text((workplace / "recipe.yaml").read_text().replace("epochs: 1", "epochs: 2"))
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment(workplace), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert "DEBUG" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  training: ")]  # on slow machines
    shards, _plan, *stages, last = lines
    assert shards.startswith("shards ")
    assert " outputs made; " in last
    titles = [_title(stage) for stage in graph_of(pipeline(workplace).recipe).stages]
    said = [line.rpartition(" s")[0].rstrip("0123456789. ").partition(", with ") for line in stages]
    assert [title for title, _, _ in said] == titles
    assert any(along for _, _, along in said)  # steps of later stages are made in one run, and named
    assert "look first at: " in done.stdout


@pytest.mark.whole
def test_what_is_up_to_date_is_no_run_and_what_is_gone_is_made_alone(in_a_terminal: str, workplace: Path):
    with dg.DagsterInstance.from_config(str(workplace / "home")) as instance:
        materialize(pipeline(workplace), instance)  # what other tests have left
        made = pipeline(workplace)
        assert not _Making(made, instance, graph_of(made.recipe)).several_untrained()  # no process is started for any
        none = made.model_copy(update={"store_root": str(workplace / "none")})
        assert _Making(none, instance, graph_of(made.recipe)).several_untrained()
        before = instance.get_runs_count()
        materialize(pipeline(workplace), instance)
        assert instance.get_runs_count() == before
        store, settings = str(workplace / "store"), str(workplace / "recipe.yaml")
        plan, estimate = foreseen(store, settings, workplace / "data", cost=True)
        assert (plan.due, estimate) == ({}, None)  # of nothing nothing is tried
        (workplace / "store" / "tracks" / "test-000.parquet").unlink()
        materialize(pipeline(workplace), instance)
        assert instance.get_runs_count() == before + 1
        (run,) = instance.get_runs(limit=1)
        made = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        events = [event.get_dagster_event() for event in made]
        assert {(str(e.asset_key and e.asset_key.to_user_string()), e.partition) for e in events} == {
            ("tracks", "test-000")
        }


@pytest.mark.parametrize(
    ("folder", "words"), [("nowhere", "no such folder; give the folder"), ("empty", "has no videos; put them")]
)
def test_a_mistaken_folder_is_told_in_one_line_and_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str, words: str
):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("assets.run.console", Console(stderr=True, force_terminal=False))
    monkeypatch.setenv("TPS_DATA", str(tmp_path / folder))
    monkeypatch.setenv("TPS_STORE", str(tmp_path / "store"))
    assert main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("folder", "words"), [("nowhere", "no such folder; give"), ("empty", "has no videos; put")])
def test_dagster_tells_a_mistake_without_a_trace(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], folder: str, words: str
):
    (tmp_path / "empty").mkdir()
    mistaken = Pipeline(data=str(tmp_path / folder), recipe_name="demo", store_root=str(tmp_path / "store"))
    job = definitions_of(mistaken, dg.in_process_executor).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        shards = [dg.AssetKey("shards")]
        job.execute_in_process(asset_selection=shards, instance=instance, raise_on_error=False)
    said = capfd.readouterr().err
    assert words in said
    assert "Stack Trace" not in said


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def pressed(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.mp4").write_bytes(b"a video")
    monkeypatch.setattr("assets.run.console", Console(stderr=True, force_terminal=False))
    monkeypatch.setattr("assets.run.materialize", pressed)
    monkeypatch.setenv("TPS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TPS_STORE", str(tmp_path / "store"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert main() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "run it again to go on" in capsys.readouterr().err


def test_elsewhere_a_line_comes_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    at_work, waiting = Training("one", 4, lambda: tmp_path / "one"), Training("two", 2, lambda: tmp_path / "two")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "log.csv").write_text("epoch,loss,seconds,AP\n1,0.75,600,\n2,0.5,600,0.1\n")
    with shown([at_work, waiting], Console(stderr=True, force_terminal=False), every=0.05):
        time.sleep(0.3)
        told = threading.active_count()
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "  training: one (epoch 2/4, loss 0.500, 20 min left), 1 to come"
    assert threading.active_count() == told - 1
    assert "TTY_COMPATIBLE" not in os.environ


def test_a_training_is_followed_to_its_end(tmp_path: Path):
    folder = tmp_path / "one"
    training = Training("one", 2, lambda: folder)
    training.look()
    assert training.state == "waits"
    folder.mkdir()
    (folder / "tensorboard").mkdir()
    training.look()
    assert training.state == "begins"
    for log in ("epoch,lo", "epoch,loss,seconds\n1.0,0.5,2", "epoch,loss,seconds\n1.0,0.5,2.5\n2.0,0."):
        (folder / "log.csv").write_text(log)
        training.look()
    assert (training.at, training.used, training.history) == ("epoch 1/2", 0.5, [(0.5, 2.0, 0.5)])
    (folder / "log.csv").write_text("epoch,loss,seconds\n1.0,0.5,2.5\n2.0,0.25,2.5\n")
    training.look()
    assert training.state == "loss 0.250, is saved"
    folder.rename(tmp_path / "kept")
    training.look()
    assert (training.state, training.at, training.used) == ("done", "epoch 2/2", 1)


def test_a_training_that_waits_for_another_is_found_when_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find() -> Path:
        if not (tmp_path / "first").exists():
            raise StoreError("the first was never made")
        return tmp_path / "second"

    monkeypatch.setattr("assets.progress.FIND_EVERY", 0.0)
    training = Training("second", 2, find)
    training.look()
    assert (training.state, training.used, training.done) == ("waits", 0, False)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "log.csv").write_text("epoch,loss,seconds\n1.0,0.5,2.5\n")
    training.look()
    assert (training.at, training.used) == ("epoch 1/2", 0.5)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_dagster_drops_stops_the_run_after_the_stage(tmp_path: Path, sent: signal.Signals) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.mp4").write_bytes(b"a video")
    pipeline = Pipeline(data=str(tmp_path / "data"), recipe_name="demo", store_root=str(tmp_path / "store"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with _interrupts() as interrupted, dg.DagsterInstance.ephemeral() as instance:
            with capture_interrupts():  # Dagster is at the end of a run
                signal.raise_signal(sent)
            with pytest.raises(KeyboardInterrupt):
                materialize(pipeline, instance, interrupted)
            assert interrupted() == sent  # and is known by what the exit code is made of
    finally:
        signal.signal(signal.SIGTERM, before)
    made = {record.asset.removeprefix("checks/").split("/")[0] for record in pipeline.lineage.records()}
    assert made == {"shards", "data"}


def test_of_a_training_by_steps_the_log_tells_how_far_it_is(tmp_path: Path):
    training = Training("one", 0, lambda: tmp_path)
    (tmp_path / "log.csv").write_text("epoch,loss,used,seconds\n1.0,0.5,0.2,30\n2.0,0.25,0.4,30\n")
    training.look()
    assert (training.at, training.used) == ("epoch 2", 0.4)
    assert training.left() == pytest.approx(90, abs=5)
