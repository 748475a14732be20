"""Methods that are not in the package: found by name, refused in a line, made again when their code changes."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.workplace import ROOT
from tps_pipeline import recipe, tables
from tps_pipeline.errors import RecipeError, StoreError
from tps_pipeline.learners.method import MethodLearner
from tps_pipeline.methods import own
from tps_pipeline.outputs import DETECTIONS, PARTS
from tps_pipeline.reading import InMemory
from tps_pipeline.recipe.own import class_of

MORE = """

class Inference(Section):
    most: int = 9


class Deep(Settings):
    inference: Inference = Inference()


class Learns(Commonest):
    settings: Deep
    alone = False
    fit_version = "2"

    def predict(self, shard, checkpoint):
        return pa.table({"video_id": ["v"]})


class Untyped:
    fit_reads = predict_reads = ()
    fit = predict = print


class Empty:
    settings: Settings


class Reading(Commonest):
    fit_reads = ("parts",)


class Failing(Commonest):
    def __init__(self, settings):
        raise ValueError("no such thing")
"""


def source() -> str:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "own_method.md").read_text(), re.DOTALL)
    assert found
    return found[1] + "import pyarrow as pa\nfrom tps_pipeline.recipe import Section\n" + MORE


Parse = Callable[..., recipe.Recipe]


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parse]:
    """Reads a recipe with the entry `mine`, which may name what is in `mine.py`: the page's example and more."""
    for name, text in {"mine": source(), "broken": "def (", "leaves": "import sys; sys.exit(3)",
                       "needs": "import not_there_at_all"}.items():  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    content = yaml.safe_load(recipe.read_text("demo"))

    def parse(**entry: Any) -> recipe.Recipe:
        content["methods"] = {"mine": entry, "video_category": {"kind": "video_category"}}
        return recipe.parse(yaml.safe_dump(content | {"submission": "mine"}), Path("r.yaml"))

    yield parse
    forget()


def forget() -> None:
    """Be as a process that has imported none of the modules."""
    for name in ("mine", "broken", "leaves", "needs"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    for kept in (class_of, own._class_of, own._code, recipe.parse):
        kept.cache_clear()


def test_an_entry_has_the_settings_of_its_class(parsed: Parse):
    found = parsed(kind="mine:Learns", least=3, inference={"most": 4})
    assert found.section("methods.mine") == {"kind": "mine:Learns", "least": 3, "inference": {"most": 4}}
    assert found.inference_sections("methods.mine") == ["methods.mine.inference"]
    digest = found.digest_of(["methods.mine"])
    assert parsed(kind="mine:Learns", least=3).digest_of(["methods.mine"]) == digest
    assert parsed(kind="mine:Learns", least=4).digest_of(["methods.mine"]) != digest
    assert recipe.parse(yaml.safe_dump(found.model_dump(mode="json")), Path("again.yaml")) == found


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"kind": "mine:Commonest", "least": "many"}, "methods.mine.least: Input should be a valid integer"),
        ({"kind": "mine:Commonest", "leest": 1}, "methods.mine.leest: unknown key; did you mean 'least'?"),
        ({"kind": "mine:Learns", "inference": {"mst": 1}}, "methods.mine.inference.mst: unknown key; did you mean"),
        ({"kind": "mine:Rarest"}, "methods.mine: mine has no class Rarest; it has Settings, Commonest, Inference"),
        ({"kind": "mine:Empty"}, "methods.mine: mine:Empty is no method: it has no fit and no predict"),
        ({"kind": "mine:Untyped"}, "methods.mine: mine:Untyped does not say `settings: Settings`"),
        ({"kind": "nowhere.at_all:A"}, "methods.mine: there is no module nowhere.at_all; install it, or put its"),
        ({"kind": "broken:A"}, "methods.mine: broken cannot be imported (SyntaxError: invalid syntax"),
        ({"kind": "leaves:A"}, "methods.mine: leaves cannot be imported (SystemExit: 3)"),
        ({"kind": "needs:A"}, "methods.mine: needs imports not_there_at_all, which is not installed"),
        ({"kind": "rarest"}, "methods.mine: no method is called 'rarest'; there are video_category, video_level,"),
        ({"kind": "../mine:A"}, "methods.mine: '../mine:A' is no package.module:Class"),
        ({"kind": "mine:Commonest.fit"}, "methods.mine: 'mine:Commonest.fit' is no package.module:Class"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry_is_one_line(parsed: Parse, entry: dict[str, Any], line: str):
    with pytest.raises(RecipeError) as refused:
        parsed(**entry)
    assert str(refused.value).startswith(f"r.yaml: {line}")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("mine:Reading", "mine:Reading reads 'parts', which is no output; name those of tps_pipeline.outputs"),
        ("mine:Failing", "mine:Failing cannot be made of its settings: ValueError: no such thing"),
    ],
)
def test_a_class_that_cannot_be_asked_is_refused_when_it_is_made(parsed: Parse, kind: str, line: str):
    found = parsed(kind=kind)
    with pytest.raises(RecipeError, match=re.escape(line)):
        _ = MethodLearner("mine", found).method


def test_the_documented_method_counts_and_predicts(parsed: Parse, tmp_path: Path):
    learner = MethodLearner("mine", parsed(kind="mine:Commonest", least=2))
    assert learner.alone
    assert learner.fit_reads == (PARTS,)
    parts = pa.table({"part": ["head"] * 4, "state": ["bend", "none", "bend", "bend"]})
    assert learner.fit(InMemory({PARTS: parts}), InMemory({}), tmp_path, seed=0) == {"boxes": 4.0}
    box = dict.fromkeys([*tables.PERSON_BOX, *tables.BOX], 1)
    row = {"video_id": "a", "frame": 1, "person": 0, "person_score": 0.5, "part": "head", "part_score": 0.5, **box}
    found = tables.conform(pa.Table.from_pylist([row]), tables.DETECTIONS)
    predicted = learner.method.predict(InMemory({DETECTIONS: found}), tmp_path)
    assert predicted.schema.equals(tables.PREDICTIONS)
    assert predicted["state"].to_pylist() == ["bend"]


def test_a_table_that_is_none_of_predictions_is_refused(parsed: Parse, tmp_path: Path):
    learner = MethodLearner("mine", parsed(kind="mine:Learns"))
    assert not learner.alone
    with pytest.raises(StoreError, match=r"mine:Learns: predict gives no table of tables.PREDICTIONS: table lacks the"):
        learner.method.predict(InMemory({}), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "fits", "predicts"),
    [
        ("best = pd.read_csv", "best = 0 or pd.read_csv", False, True),
        ("boxes[boxes >=", "boxes[boxes >", True, False),
        ("least: int = 5", "least: int = 6", True, True),
        ("def fit(", "def fit(  # counts\n        ", False, False),
        ("class Empty", "class Emptier", False, False),
    ],
)
def test_an_edit_makes_another_version_of_what_reaches_it(
    parsed: Parse, tmp_path: Path, old: str, new: str, fits: bool, predicts: bool
):
    before = MethodLearner("mine", parsed(kind="mine:Commonest")).method
    text = (tmp_path / "mine.py").read_text()
    assert text.count(old) == 1
    (tmp_path / "mine.py").write_text(text.replace(old, new))
    forget()
    after = MethodLearner("mine", parsed(kind="mine:Commonest")).method
    assert (before.fit_version != after.fit_version) == fits
    assert (before.predict_version != after.predict_version) == predicts


def test_a_declared_version_counts_beside_the_source(parsed: Parse):
    method = MethodLearner("mine", parsed(kind="mine:Learns")).method
    assert re.fullmatch("2-[0-9a-f]{16}", method.fit_version)
    assert re.fullmatch("[0-9a-f]{16}", method.predict_version)


def test_an_installed_package_gives_its_methods_names(parsed: Parse, tmp_path: Path):
    about = tmp_path / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[tps_pipeline.methods]\ncommonest = mine:Commonest\n")
    found = parsed(kind="commonest", least=2)
    assert found.section("methods.mine") == {"kind": "commonest", "least": 2}
    assert MethodLearner("mine", found).method.kind == "commonest"  # type: ignore[attr-defined]
