"""The store on S3: the same graph, against a server that speaks S3's protocol on this machine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets.resources import Pipeline
from tests.orchestration.workplace import ROOT, Workplace, execute, make_sources
from tps_pipeline.graph.ingestion import take_in
from tps_pipeline.outputs import VIDEOS, member_actions
from tps_pipeline.store import Store

moto = pytest.importorskip("moto.server", reason="make test-orchestration installs an S3 server")
boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment of clients of an S3 server with a bucket `bucket`."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "user",
        "AWS_SECRET_ACCESS_KEY": "password",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield env
    server.stop()


@pytest.fixture
def store(s3: dict[str, str], tmp_path: Path) -> Store:
    return Store(f"s3://bucket/{tmp_path.name}")


def test_a_replaced_file_is_fetched_anew_and_a_replaced_folder_is_whole(store: Store, tmp_path: Path) -> None:
    def keep(**files: str) -> dict[str, str]:
        folder = tmp_path / "folder"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        store.keep(folder, "some/folder")
        return {path.name: path.read_text() for path in store.local("some/folder").iterdir()}

    assert keep(a="1", b="2") == {"a": "1", "b": "2"}
    assert keep(a="3") == {"a": "3"}
    for content in (b"old", b"new"):
        store.write_bytes("frames/train-000.arrow", content)
        assert store.local("frames/train-000.arrow").read_bytes() == content


def test_another_process_sees_what_was_written_and_nothing_half_written(store: Store) -> None:
    other = Store(f"s3://{store.root}")
    assert other.names("tables") == []
    store.write("tables/a.parquet", pa.table({"a": [1]}))
    assert other.names("tables") == ["a.parquet"]
    store.write("tables/a.parquet", pa.table({"a": [2]}))
    assert other.read("tables/a.parquet")["a"].to_pylist() == [2]
    assert len(store.fs.find(store.root)) == 1


def test_more_names_than_one_page_of_a_listing_holds(store: Store) -> None:
    store.fs.pipe({store.full(f"lineage/{n:04}"): b"" for n in range(1001)})
    assert len(store.names("lineage")) == 1001


MAKE_ONE_SHARD = """
import sys
from assets.resources import Pipeline
from tps_pipeline.graph import make
from tps_pipeline.stages import graph_of

data, recipe, store = sys.argv[1:]
run = Pipeline(data=data, recipe_name=recipe, store_root=store).run()
make(run, graph_of(run.recipe).step("videos"), ["train-000"])
"""


def test_machines_that_share_nothing_but_the_store_make_a_shard_once(
    workplace: Workplace, s3: dict[str, str], tmp_path: Path
) -> None:
    env, url = workplace.environment | s3, f"s3://bucket/{tmp_path.name}"
    pipeline = Pipeline(data=env["TPS_DATA"], recipe_name=env["TPS_RECIPE"], store_root=url)
    take_in(pipeline.run())
    command = [sys.executable, "-c", MAKE_ONE_SHARD, env["TPS_DATA"], env["TPS_RECIPE"], url]
    machines = []
    for number in range(3):
        home = tmp_path / str(number)
        home.mkdir()
        machines.append(subprocess.Popen(command, cwd=ROOT, env=env | {"TMPDIR": str(home), "HOME": str(home)}))
    assert [machine.wait(120) for machine in machines] == [0, 0, 0]
    made = [record.name for record in pipeline.lineage.records()]
    assert made.count("videos/train-000") == 1
    numbers = [record.sequence for record in pipeline.lineage.records()]
    assert len({*numbers}) == len(numbers)
    assert not pipeline.store.fs.find(pipeline.store.full(".work"))


def test_the_same_graph_on_s3(workplace: Workplace, s3: dict[str, str], tmp_path: Path) -> None:
    local = workplace.lineage.latest().records
    env = workplace.environment
    pipeline = Pipeline(data=env["TPS_DATA"], recipe_name=env["TPS_RECIPE"], store_root="s3://bucket/store")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        make_sources(pipeline, instance)
        execute(pipeline, instance, ["checkpoints/video_action"])
        for _ in range(2):  # the second time nothing is due
            execute(pipeline, instance, ["video_actions/swin"], shards=["val-000"])
    made = [record.name for record in pipeline.lineage.records()]
    assert made.count("video_actions/swin/val-000") == made.count("checkpoints/video_action") == 1
    remote = pipeline.lineage.latest().records
    for key in [("frames", "train-000"), ("videos", "val-000"), ("vocabulary/actions", None)]:
        assert remote[key].data_version == local[key].data_version
    assert pipeline.read(member_actions("swin"), "val-000").num_rows == pipeline.read(VIDEOS, "val-000").num_rows
