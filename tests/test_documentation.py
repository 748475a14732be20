"""What the documentation shows is so: its links, the frame of labels, the messages."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.workplace import ROOT
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.decoding import VideoFiles, decode

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "docker" / "README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    for target, anchor in LINK.findall(page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.is_file(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_the_readme_is_of_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 115


def test_the_frame_of_labels_that_is_shown_is_one():
    file = LabelFile("img_00001.json", "img_00001.json", blocks("docs/data.md", "json")[0].encode())
    labels = decode([VideoFiles("v", [file])], None)
    assert labels.problems == []
    assert labels.people.num_rows == 2
    assert labels.parts["state"].to_pylist() == ["raise", "none", "lift"]  # sorted by person and part
    assert labels.objects["name"].to_pylist() == ["ball"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("{", "is not a frame's labels: Input data was truncated"),
        ("{}", "is not a frame's labels: Object missing required field `humans`"),
        ('{"humans": [{"box": [1, 2, 3]}]}', "Expected `array` of length 4 - at `$.humans[0].box`"),
        (
            '{"humans": [{"box": [50, 10, 40, 60]}]}',
            "a person's box [50, 10, 40, 60] is not x1 <= x2, y1 <= y2 in pixels",
        ),
        ('{"humans": [{"box": [1, 2, 3, 4], "parts": {"tail": %s}}]}', "'tail' is none of the parts head, hip, "),
        ('{"humans": [{"box": [1, 2, 3, 4], "parts": {"head": %s}}]}', "'fly' is not in list/part_stat.txt"),
        ('{"humans": [{"box": [1, 2, 3, 4], "parts": {"head": %s, "head": %s}}]}', "'head' is given twice"),
    ],
)
def test_what_is_refused_is_refused_with_the_message_that_is_shown(labels: str, message: str):
    part = '{"box": [1, 2, 3, 4], "verb": "fly"}'
    file = LabelFile("x", "img_00001.json", labels.replace("%s", part).encode())
    (problem,) = decode([VideoFiles("v", [file])], {"bend"}).problems
    assert message in problem.what
    assert message in (ROOT / "docs" / "data.md").read_text()


def test_a_constant_or_a_field_that_nothing_describes_is_warned_of(caplog: pytest.LogCaptureFixture):
    griffe = pytest.importorskip("griffe", reason="`make docs` installs it, and runs this")
    spec = importlib.util.spec_from_file_location("hook", ROOT / "docs" / "site" / "hook.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    code = '''
"""A module."""
log = logging.getLogger(__name__)
SILENT = 1
SAID = 2
"""Metres."""
_OWN = 3

@dataclass(frozen=True)
class Plain:
    """A record.

    Attributes:
        listed: Metres.
    """
    listed: float
    bare: float
    said: float
    """Metres."""
    _own: float = 0

class Base(Struct):
    """A base."""

class Derived(Base):
    """Its fields count as well."""
    inherited: int

class Network(Module):
    """What `__init__` sets is no field."""
    def __init__(self):
        self.layer: int = 1
'''
    modules = griffe.ModulesCollection()
    modules["m"] = griffe.visit("m", ROOT / "m.py", code, modules_collection=modules)
    hook._complain(modules["m"])
    assert [record.getMessage() for record in caplog.records] == [
        f"m.{name} has no docstring" for name in ("SILENT", "Plain.bare", "Derived.inherited")
    ]
