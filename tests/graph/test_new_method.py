"""A new recipe entry on a store that is finished: only the new method is computed, and what is made of all methods."""

import shlex
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.run import materialize
from tests import workplace
from tps_pipeline.lineage import Lineage, Record
from tps_pipeline.outputs import CHECKS
from tps_pipeline.store import Store

pytestmark = pytest.mark.whole

NEW = "part_trajectory"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store finished with statistics only, and a recipe with one more method."""
    methods = {"video_category": {"kind": "video_category"}}
    made = workplace.make(tmp_path_factory.mktemp("new_method"), methods=methods, submission="voting")
    run(made)
    recipe = yaml.safe_load((made / "recipe.yaml").read_text())
    training = {"epochs": 1, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.001}
    recipe["methods"][NEW] = {"kind": NEW, "training": training}
    (made / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return made


def run(folder: Path) -> None:
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        materialize(workplace.pipeline(folder), instance)


def records(folder: Path) -> list[Record]:
    """Of what was made; checks' verdicts are left out."""
    return [r for r in Lineage(Store(folder / "store")).records() if not r.asset.startswith(CHECKS)]


def test_one_command_makes_the_new_method_and_a_run_what_follows(folder: Path):
    before = records(folder)
    command = workplace.documented("dagster asset materialize", "checkpoints/NAME")
    done = subprocess.run(
        shlex.split(command.replace("NAME", NEW).replace("test-001", "test-000")),  # the demo has a second test shard
        cwd=workplace.ROOT, env=workplace.environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = records(folder)[len(before) :]
    shards = {
        shard.partition for shard in before if shard.asset == "shards" and not shard.name.startswith("shards/train")
    }
    assert {record.name for record in own} == {
        f"checkpoints/{NEW}", *(f"{asset}/{NEW}/{shard}" for asset in ("predictions", "psc") for shard in shards)
    }  # fmt: skip

    run(folder)
    follows = records(folder)[len(before) + len(own) :]
    assert {record.asset for record in follows} == {
        "ensemble/ranking", "ensemble/voting", "psc/voting", "stacking/weights",
        "stacking/members", "stacking/gain", "ensemble/stacked", "psc/stacked",
        "method_by_category", "ensemble/by_category", "psc/by_category", "leaderboard", "submission", "report",
    }  # fmt: skip
    leaderboard = Store(folder / "store").read("leaderboard.parquet").to_pandas()
    assert set(leaderboard.method) == {"video_category", NEW, "voting", "stacked", "by_category"}
    submitted = {record.name for _, record in Lineage(Store(folder / "store")).trace(("submission", None))}
    assert {f"checkpoints/{NEW}", f"predictions/{NEW}/test-000", "ensemble/voting/test-000"} <= submitted
    # All that the new method was made from had been there before.
    versions = {(record.key, record.data_version) for record in before + own}
    assert all((i.key, i.data_version) in versions for record in own for i in record.inputs)

    count = len(records(folder))
    run(folder)
    assert len(records(folder)) == count


def test_methods_can_be_chosen_on_the_videos_they_were_trained_on(folder: Path):
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe |= {"predict_splits": ["train", "val", "test"], "ensemble": {"choose_on": "train"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    before = len(records(folder))
    run(folder)
    made = {record.name for record in records(folder)[before:]}
    assert {f"predictions/{NEW}/train-000", "ensemble/by_category/train-000", "leaderboard"} <= made
    assert not any(name.startswith("checkpoints") for name in made)
    store = Store(folder / "store")
    for table in ("ensemble/ranking", "method_by_category"):
        assert set(store.read(f"{table}.parquet")["split"].to_pylist()) == {"train"}
