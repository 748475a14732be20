from __future__ import annotations

from pathlib import Path

import pytest

from tps_pipeline.fingerprints import Code

FILES = {
    "__init__.py": '"""A package."""\n',
    "tracks.py": '''
"""Tracks."""
from __future__ import annotations
import platform
import typing
from math import floor
from typing import TYPE_CHECKING
import tps_pipeline.memory
from tps_pipeline import geometry, outputs, recipe, tables as t
from tps_pipeline.steps import logged, step

if TYPE_CHECKING:
    from tps_pipeline.frames import FrameFile

CONFIDENT: float = 0.5
LEAST, MOST = 1, 9
if platform.machine() == "x86_64":
    MODE = "fast"
else:
    MODE = "slow"

@step(outputs.TRACKS, version="1")
def track(frames: FrameFile, settings: recipe.Settings) -> list:
    """Link boxes."""
    from tps_pipeline.linking import Linker

    kept: list[int] = [floor(box) for box in frames if box > CONFIDENT]  # the sure ones
    return Linker(LEAST, MODE, outputs.TRACKS).link(kept, smooth(kept), t.TRACKS, tps_pipeline.memory.LAST)

@logged
def smooth(boxes):
    def weigh(box):
        from tps_pipeline.recipe import Wide

        return box * Wide().width
    return [weigh(box) for box in boxes] or recipe.Narrow

def unrelated():
    return MOST
''',
    "memory.py": "LAST = 30\n",
    "steps.py": """
def step(output, version):
    return lambda function: function

def logged(function):
    return function
""",
    "linking.py": '''
from .boxes import Base
from tps_pipeline import scoring

class Linker(Base):
    """Links."""
    limit: int = 3
    """How many."""

    def link(self, *boxes):
        return getattr(scoring, self.name)(boxes)

    def forget(self):
        return 0
''',
    "boxes.py": """
from tps_pipeline.geometry import area
import tps_pipeline.plotting

class Base:
    def overlap(self):
        return area(1)

def never():
    return tps_pipeline.plotting.show()
""",
    "geometry.py": """
def area(box):
    return box * SCALE
SCALE = 2
def centre(box):
    return box / 2
""",
    "scoring.py": """
from tps_pipeline import geometry
from tps_pipeline.memory import LAST
WEIGHTS = {"near": 1}
WEIGHTS["far"] = 2
def by_distance(boxes):
    return boxes
""",
    "tables.py": "_FRAME = 'frame'\nTRACKS = (_FRAME, 'person')\nPEOPLE = ('person',)\n",
    "recipe/__init__.py": """
from tps_pipeline.recipe.sections import Narrow, Settings
from tps_pipeline.recipe.sections import Broad as Wide
""",
    "recipe/sections.py": """
from tps_pipeline.recipe.kinds import Section, Positive

class Narrow(Section):
    width: Positive = 1

class Broad(Section):
    width: Positive = 5

class Settings(Section):
    iou: float = 0.5
""",
    "recipe/kinds.py": """
class Section:
    frozen = True
Positive = 'greater than 0'
""",
    "frames.py": "class FrameFile:\n    size = 1\n",
    "plotting.py": "def show():\n    return 1\n",
    "outputs.py": "TRACKS = 'tracks'\n",
    "errors.py": "class DataError(Exception):\n    code = 1\n",
}
METHODS = {
    "__init__.py": "",
    "base.py": """
class Base:
    fit_reads = ("videos",)

    def fit(self):
        return self.draw()

    def predict(self):
        return 'base'

    def report(self):
        return 'base'
""",
    "level.py": """
from tps_pipeline import training
from tps_pipeline.base import Base

class Level(Base):
    size: int = 4
    fit_reads = (*Base.fit_reads, "parts")

    def __init__(self):
        self.rate = 0.1

    @training.timed
    def fit(self, folder):
        return super().fit() or training.fit(draw=lambda: self.draw(), size=self.doubled)

    def draw(self):
        return self._clip()

    def _clip(self):
        return 1

    @property
    def doubled(self):
        return 2 * self.size

    def predict(self, folder):
        return self.plan() + training.SHOWN

    def plan(self):
        return 2

class Trained(Level):
    size: int = 8

    def plan(self):
        return 3

    def everything(self):
        return training.fit(self, 1)
""",
    "training.py": """
SHOWN = 1
def timed(function):
    return function
def fit(draw, size):
    return draw
""",
}


def write(folder: Path, files: dict[str, str]) -> Code:
    for name, text in files.items():
        path = folder / "tps_pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Code(folder / "tps_pipeline")


def is_changed(folder: Path, files: dict[str, str], entry: str, file: str, old: str, new: str) -> bool:
    """Whether an entry has another fingerprint after an edit."""
    assert files[file].count(old) == 1
    codes = write(folder / "a", files), write(folder / "b", files | {file: files[file].replace(old, new)})
    before, after = (code.fingerprint([f"tps_pipeline.{entry}"]) for code in codes)
    return before != after


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tracks.py", "Link boxes.", "Join boxes."),
        ("tracks.py", '    """Link boxes."""\n', ""),
        ("tracks.py", "  # the sure ones", ""),
        ("tracks.py", "settings: recipe.Settings) -> list", "settings)"),
        ("tracks.py", "CONFIDENT: float", "CONFIDENT: int"),
        ("tracks.py", "kept: list[int] =", "kept ="),
        ("tracks.py", "if TYPE_CHECKING:", "if typing.TYPE_CHECKING:\n    import annotated"),
        ("linking.py", '    """How many."""\n', ""),
        ("recipe/__init__.py", "tps_pipeline.recipe.sections import Narrow", ".sections import Narrow"),
        ("linking.py", "from .boxes", "from tps_pipeline.boxes"),
    ],
)  # fmt: skip
def test_what_changes_no_result_leaves_a_fingerprint(tmp_path: Path, file: str, old: str, new: str):
    assert not is_changed(tmp_path, FILES, "tracks.track", file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tracks.py", "return MOST", "return LEAST"),  # beside it
        ("boxes.py", "plotting.show()", "plotting.hide()"),
        ("plotting.py", "1", "2"),  # of a module imported for something else
        ("geometry.py", "box / 2", "box / 3"),  # imported by a module all of which counts
        ("tables.py", "PEOPLE = ('person',)", "PEOPLE = ('people',)"),
        ("recipe/sections.py", "iou: float = 0.5", "iou: float = 0.6"),  # in annotations
        ("frames.py", "1", "2"),
        ("tracks.py", 'version="1"', 'version="2"'),  # the entry's decorator
        ("steps.py", "return lambda function: function", "return lambda function: None"),
        ("outputs.py", "'tracks'", "'lines'"),  # plumbing
    ],
)
def test_what_is_not_reached_leaves_a_fingerprint(tmp_path: Path, file: str, old: str, new: str):
    assert not is_changed(tmp_path, FILES, "tracks.track", file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tracks.py", "box > CONFIDENT", "box >= CONFIDENT"),
        ("tracks.py", "CONFIDENT: float = 0.5", "CONFIDENT: float = 0.6"),
        ("tracks.py", "LEAST, MOST = 1, 9", "LEAST, MOST = 2, 9"),  # one of two
        ("tracks.py", '"slow"', '"slower"'),  # under a condition
        ("tracks.py", "from math import floor", "from math import ceil as floor"),
        ("tracks.py", "@logged\n", ""),
        ("steps.py", "    return function\n", "    return print\n"),  # a decorator of what is reached
        ("linking.py", "return getattr", "return 1 or getattr"),  # imported in the function
        ("linking.py", "return 0", "return 1"),  # another method of a class that is named
        ("linking.py", "limit: int = 3", "limit: float = 3"),  # a field's annotation
        ("boxes.py", "area(1)", "area(2)"),  # the class's base
        ("geometry.py", "box * SCALE", "box + SCALE"),  # a function of its base
        ("geometry.py", "SCALE = 2", "SCALE = 3"),
        ("scoring.py", "return boxes", "return 1"),  # the module is a value
        ("scoring.py", '"near": 1', '"near": 2'),
        ("scoring.py", '["far"] = 2', '["far"] = 3'),  # runs on import
        ("memory.py", "30", "31"),
        ("tables.py", "'frame'", "'frames'"),
        ("recipe/sections.py", "width: Positive = 1", "width: Positive = 2"),  # re-exported
        ("recipe/sections.py", "width: Positive = 5", "width: Positive = 6"),  # re-exported by another name
        ("recipe/__init__.py", "Broad as Wide", "Narrow as Wide"),
        ("recipe/kinds.py", "frozen = True", "frozen = False"),
        ("recipe/kinds.py", "greater", "less"),
    ],
)
def test_what_is_reached_changes_a_fingerprint(tmp_path: Path, file: str, old: str, new: str):
    assert is_changed(tmp_path, FILES, "tracks.track", file, old, new)


@pytest.mark.parametrize(
    ("entry", "file", "old", "new", "changed"),
    [
        ("level.Level.fit", "level.py", "return 1", "return 9", True),  # self.draw, self._clip
        ("level.Level.fit", "level.py", "2 * self.size", "3 * self.size", True),  # a property
        ("level.Level.fit", "level.py", "size: int = 4", "size: int = 5", True),
        ("level.Level.fit", "level.py", "self.rate = 0.1", "self.rate = 0.2", True),
        ("level.Level.fit", "base.py", "return self.draw()", "return None", True),  # super()
        ("level.Level.fit", "base.py", '("videos",)', '("shards",)', True),
        ("level.Level.fit", "training.py", "return draw", "return size", True),
        ("level.Level.fit", "level.py", "self.plan() +", "self.plan() -", False),
        ("level.Level.fit", "level.py", "return 2\n", "return 9\n", False),
        ("level.Level.fit", "training.py", "SHOWN = 1", "SHOWN = 2", False),
        ("level.Level.fit", "training.py", "return function", "return print", False),  # its decorator
        ("level.Level.fit", "level.py", "    @training.timed\n", "", False),
        ("level.Level.fit", "level.py", "size: int = 8", "size: int = 9", False),
        ("level.Level.predict", "level.py", "return 2\n", "return 9\n", True),
        ("level.Level.predict", "training.py", "SHOWN = 1", "SHOWN = 2", True),
        ("level.Level.predict", "level.py", "return 1", "return 9", False),
        ("level.Trained.predict", "level.py", "return 3", "return 9", True),  # called by an inherited method
        ("level.Trained.predict", "level.py", "return 1", "return 9", False),
        ("level.Trained.everything", "level.py", "return 1", "return 9", True),  # self is a value
        ("level.Level", "level.py", "self.plan() +", "self.plan() -", True),
        ("level.Level", "level.py", "return 3", "return 9", False),
        ("level", "level.py", "return 3", "return 9", True),
        ("level", "training.py", "SHOWN = 1", "SHOWN = 2", True),
    ],
)
def test_a_method_counts_with_what_it_takes_to_call_it(
    tmp_path: Path, entry: str, file: str, old: str, new: str, changed: bool
):
    assert is_changed(tmp_path, METHODS, entry, file, old, new) == changed


def test_a_function_has_its_decorators_where_another_reaches_it(tmp_path: Path):
    text = FILES["tracks.py"] + "\ndef twice():\n    return track(1, 2), track\n"
    edit = "tracks.py", 'version="1"', 'version="2"'
    assert is_changed(tmp_path, FILES | {"tracks.py": text}, "tracks.twice", *edit)


def test_a_fingerprint_is_of_entries_together_and_of_what_else_counts(tmp_path: Path):
    code = write(tmp_path, METHODS)
    fit, predict = "tps_pipeline.level.Level.fit", "tps_pipeline.level.Level.predict"
    of = code.fingerprint
    assert len({of([fit]), of([predict]), of([fit, predict]), of([fit], "video_id: string")}) == 4
    assert code.reached([fit, predict]) == code.reached([fit]) | code.reached([predict])
    assert len(of([fit])) == 16


def test_the_order_of_entries_does_not_matter(tmp_path: Path):
    code = write(tmp_path, FILES)
    entries = ["tps_pipeline.tracks", "tps_pipeline.tracks.track", "tps_pipeline.linking.Linker.link"]
    assert code.fingerprint(entries) == code.fingerprint(entries[::-1])


@pytest.mark.parametrize(
    "entry", ["level.Level.fi", "level.Leve", "levels", "level.training", "level.Level.fit.x", "level.Leve.fit"]
)
def test_an_entry_that_is_not_defined_is_refused(tmp_path: Path, entry: str):
    with pytest.raises(LookupError, match=entry):
        write(tmp_path, METHODS).fingerprint([f"tps_pipeline.{entry}"])


def test_a_module_is_told_from_the_function_of_its_name(tmp_path: Path):
    files = {
        "__init__.py": "",
        "video/__init__.py": "from tps_pipeline.video.probe import probe\nfrom tps_pipeline.video import decode\n",
        "video/probe.py": "def probe():\n    return 1\ndef scan():\n    return 2\n",
        "video/decode.py": "def decode():\n    return 1\ndef seek():\n    return 2\n",
        "data/shards.py": "from tps_pipeline import video\ndef shard():\n    return video.probe, video.decode.decode\n",
    }
    found = write(tmp_path, files).reached(["tps_pipeline.data.shards.shard", "tps_pipeline.video.probe.probe"])
    functions = {name.removeprefix("tps_pipeline.") for name, text in found.items() if text.startswith("FunctionDef")}
    assert functions == {"data.shards.shard", "video.probe.probe", "video.decode.decode"}


def test_detection_reaches_its_network_and_not_the_score():
    found = Code(Path(__file__).parent.parent / "tps_pipeline").reached(["tps_pipeline.detection.two_stage.detect"])
    assert {"tps_pipeline.models.yolov7.YOLOv7", "tps_pipeline.detection.suppression.suppress"} <= found.keys()
    assert "tps_pipeline.psc.evaluate" not in found
