import dataclasses
import shlex
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.report import report_sample
from tests.report.report_sample import HOSTILE
from tps_pipeline import tables
from tps_pipeline.cli.app import app
from tps_pipeline.lineage import Input
from tps_pipeline.report import page, terminal

pytestmark = pytest.mark.whole

VOID = {"meta", "img", "br", "source", "wbr"}


class Page(HTMLParser):
    """A page's elements, texts and table rows; fails on a tag that is not closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, name: str, cells: int | None = None) -> list[str]:
        """The first row of a name (and of so many cells)."""
        named = (row for row in self.rows if row[0].split()[:1] == name.split()[:1])
        return next([cell.strip() for cell in row] for row in named if cells in (None, len(row)))


@pytest.fixture(scope="module")
def content(sample: dict[str, Any], tmp_path_factory: pytest.TempPathFactory):
    return report_sample.content(sample, tmp_path_factory.mktemp("store"))


@pytest.fixture
def report(content: dict[str, Any], tmp_path: Path):
    def write(**changes: Any) -> Page:
        page.write(tmp_path / "out" / "report.html", **(content | changes))
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
        return Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))

    return write


def test_page_needs_nothing_else_and_everything_has_a_name(report: Callable[..., Page]):
    html = report()
    linked = [value or "" for _, attributes in html.elements for name, value in attributes.items()
              if name in ("src", "srcset", "href", "data", "action", "poster")]  # fmt: skip
    assert linked
    assert all(link.startswith(("data:image/", "data:video/mp4;", "#")) for link in linked)
    assert not html.all("script")
    assert not html.all("link")
    assert "url(" not in html.text
    assert "@import" not in html.text
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in linked if link.startswith("#")} <= set(ids)
    images = html.all("img")
    assert len(images) == 1  # the curves
    assert all(image["alt"] for image in images)
    videos = html.all("video")
    assert len(videos) == 3
    assert all(video["aria-label"] and "controls" in video and "autoplay" not in video for video in videos)
    assert len(html.all("h1")) == 1


def test_names_are_text_never_markup(report: Callable[..., Page]):
    html = report()
    assert f"Report of {HOSTILE}" in html.text
    assert f"name: {HOSTILE}" in html.text
    assert html.row(HOSTILE)[0] == HOSTILE
    assert any(HOSTILE in (video["aria-label"] or "") for video in html.all("video"))


def test_numbers_are_the_tables(report: Callable[..., Page], leaderboard: pa.Table):
    html = report()
    for row in leaderboard.to_pylist():
        shown = html.row(row["method"])
        challenge = {"video_category": "–", "voting": "0.6824"}[row["method"]]
        assert shown[1:] == [
            "val",
            f"{row['score']:.4f}",
            challenge,
            f"{row['mean_psc']:.4f}",
            "0.4321",
            "0.5000",
            "0.9123",
            "–",
            "2",
            "1",
        ]
    assert html.row("video_category")[0].endswith("best")
    assert html.row("voting")[0].split() == ["voting", "submitted"]
    assert html.row("lunge") == ["lunge", "1", "1.00, chosen", "0.50"]
    assert html.row("some_method") == ["some_method", "0.75", "+0.1250", "+0.5000"]
    assert html.row("video's action") == ["video's action", "0.25", "-0.0625", "+0.0312"]
    assert "stacked gives 0.7500 of the matched parts" in " ".join(html.text.split())
    assert html.row("person") == ["person", "0.8000", "0.3000", "0.8000", "0.3000", "8"]
    assert html.row("▸ right", 6) == ["▸ right arm", "0.5124", "0.2000", "0.4124", "0.2000", "7"]
    assert html.row("◂ left", 6) == ["◂ left arm", "–", "–", "–", "–", "0"]
    assert html.row("two_stage") == ["two_stage", "val", "0.1250", "40", "–", "50"]
    assert html.row("psc/voting", 8)[:3] == ["psc/voting", "2", "8"]


def test_every_box_leads_to_its_assets_and_every_asset_to_what_it_was_made_from(
    report: Callable[..., Page], content: dict[str, Any]
):
    html = report()
    links = {a["aria-label"]: a["href"] for a in html.all("a") if "aria-label" in a}
    assert "psc/voting, 2 outputs, mixed, made from annotations, predictions/voting" in links
    assert set(links.values()) <= {f"#{body['id']}" for body in html.all("tbody") if "id" in body}
    assert {row["id"] for row in html.all("tr") if "id" in row} == {f"made-{r.asset}" for r in content["lineage"]}
    assert html.row("psc/voting", 8)[4].endswith(content["lineage"][0].device)
    assert html.row("psc/voting", 8)[7].split() == ["annotations/parts", "predictions/voting"]
    assert "1 of 2 outputs by older code (version 0; the newest version 1)" in html.text


def test_what_is_submitted_comes_first_with_its_score_and_how_it_compares(
    report: Callable[..., Page], leaderboard: pa.Table
):
    html = report()
    assert str(html.all("video")[0]["aria-label"]).endswith("video a_1, lunge")
    text = " ".join(html.text.split())
    scores = {row["method"]: row["score"] for row in leaderboard.to_pylist()}
    behind = scores["video_category"] - scores["voting"]
    assert (
        f"Submitted: voting {scores['voting']:.4f}on val, 2 videos 2nd of 2: {behind:.4f} below video_category." in text
    )
    assert "The challenge paper has 0.6824, on its own test set." in text
    assert text.index("Submitted: voting") < text.index("A typical video") < text.index("PSC by action")
    ahead = " ".join(report(method="video_category").text.split())
    assert f"1st of 2: {behind:.4f} above voting." in ahead


@pytest.mark.parametrize(
    ("method", "said"),
    [("a", "On val 0.4000, 3rd of 3."), ("b", "1st of 3: 0.0000 above c."), ("c", "1st of 3: 0.0000 above b.")],
)
def test_other_splits_and_equal_scores_are_told(
    report: Callable[..., Page], leaderboard: pa.Table, method: str, said: str
):
    row = leaderboard.to_pylist()[0]
    scores = {("a", "test"): 0.1, ("b", "test"): 0.6, ("c", "test"): 0.6} | {("a", "val"): 0.4, ("b", "val"): 0.5}
    rows = [row | {"method": m, "split": s, "score": v} for (m, s), v in (scores | {("c", "val"): 0.7}).items()]
    table = pa.Table.from_pylist(rows, schema=tables.LEADERBOARD)
    html = report(
        leaderboard=table, method=method, split="test", breakdown=None, chosen=tables.empty(tables.METHOD_BY_CATEGORY)
    )
    assert said in " ".join(html.text.split())


def test_members_that_name_the_action_stand_beside_the_leaderboard_if_there_are_several(
    report: Callable[..., Page], content: dict[str, Any]
):
    text = report().text
    assert all(figure in text for figure in ("0.2345", "0.5678", "0.6789"))
    alone = content["actions"].filter(pa.array([True, False, True]))
    assert "0.2345" not in report(actions=alone).text
    assert terminal.action_members(alone) == []
    line = "action accuracy, val: swin 0.2345, trajectory 0.5678, together 0.6789"
    assert terminal.action_members(content["actions"]) == [line]


def test_what_could_not_be_read_is_counted_named_and_explained(report: Callable[..., Page], content: dict[str, Any]):
    text = " ".join(report().text.split())
    wholly = (
        "4 of 40 test videos could not be read; they are in the submission with the most frequent action and nobody"
    )
    assert f"{wholly} in them: t_0, t_1, t_2, t_3." in text
    assert "1 of 40 test videos could be read in part only: t_9." in text
    assert "1 of 3 val videos could not be read; nobody is found in it: c_3." in text
    assert "t_9.mp4: breaks off after 18 of 50 frames" in text
    assert text.index("Submitted") < text.index("4 of 40") < text.index("1 of 3") < text.index("A typical video")
    lines = terminal.not_read(content["unreadable"])
    assert lines[0] == f"{wholly} in them: t_0, t_1, t_2, t_3"
    assert len(lines) == 3


def test_of_many_unreadable_videos_the_terminal_names_some_and_the_page_all(report: Callable[..., Page]):
    rows = pd.DataFrame({"video_id": [f"v_{i:02}" for i in range(23)], "split": "train", "status": "unreadable"})
    rows = rows.assign(error=None, videos=23, n_frames=0, path="v.mp4")
    table = tables.conform(rows, tables.UNREADABLE)
    (line,) = terminal.not_read(table)
    assert line.startswith("23 of 23 train videos could not be read; nothing is learned from them: v_00, v_01,")
    assert line.endswith("v_09 and 13 more")
    text = report(unreadable=table).text
    assert all(name in text for name in rows.video_id)


def test_how_networks_learned_is_drawn_the_longest_first(report: Callable[..., Page]):
    html = report()
    text = " ".join(html.text.split())
    assert text.index("part_detector3 min 01 s, 3 epochs") < text.index(f"{HOSTILE}30.0 s, 1 epoch")
    drawn = {svg["aria-label"]: svg for svg in html.all("svg") if svg.get("role") == "img"}
    assert "part_detector: loss from 2.000 to 1.000, ap50 from 0.250 to 0.750" in drawn
    assert f"{HOSTILE}: loss from 0.500 to 0.500" in drawn
    loss, ap50, single = (path["d"] for path in html.all("path") if str(path.get("class")).startswith("line"))
    assert loss == "M4.0 4.0L120.0 22.0L236.0 40.0L236.0 40.0"
    assert ap50 == "M4.0 58.0L236.0 22.0L236.0 22.0"  # an epoch without a value is passed over
    assert single == "M4.0 4.0L4.0 4.0"  # a dot


@pytest.mark.parametrize("losses", [["nan", "nan"], ["2.0", "inf"], ["", "1.0"]])
def test_a_training_that_came_to_nothing_is_drawn_as_far_as_it_goes(
    report: Callable[..., Page], tmp_path: Path, losses: list[str]
):
    text = "epoch,loss,seconds\n" + "".join(f"{i},{loss},1\n" for i, loss in enumerate(losses, start=1))
    html = report(logs={"part_detector": report_sample.log(tmp_path / "logs", "log", text)})
    drawn = [path["d"] for path in html.all("path") if str(path.get("class")).startswith("line")]
    assert len(drawn) == (0 if "nan" in losses else 1)
    assert "part_detector2.0 s, 2 epochs" in " ".join(html.text.split())


@pytest.mark.parametrize(("columns", "widths"), [(9, [9]), (11, [11, 5, 6]), (20, [20, 6, 7, 7])])
def test_a_wide_heat_map_is_there_in_pieces_too(
    report: Callable[..., Page], sample: dict[str, Any], columns: int, widths: list[int]
):
    psc = sample["psc"].to_pandas().query("method == 'voting'")
    many = pd.concat([psc.assign(method=f"m_{i:02}") for i in range(columns)])
    html = report(psc=tables.conform(many, tables.PSC), breakdown=None)
    assert [len(row) - 2 for row in html.rows if row[0] == "lunge"][: len(widths)] == widths


def test_lineage_is_text_never_markup(report: Callable[..., Page], content: dict[str, Any]):
    strange = {"asset": HOSTILE, "device": HOSTILE, "code_version": HOSTILE, "packages": {HOSTILE: HOSTILE}}
    strange |= {"path": HOSTILE, "data_version": HOSTILE, "recipe_sections": (HOSTILE,), "git_sha": HOSTILE}
    html = report(lineage=[dataclasses.replace(record, **strange) for record in content["lineage"]])
    assert not html.all("script")
    assert html.row(HOSTILE, 8)[0] == HOSTILE


def test_the_commands_on_the_page_work(
    report: Callable[..., Page], content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def commands(html: Page) -> list[list[str]]:
        lines = html.text[html.text.index("export TPS_STORE=") :].splitlines()
        return [shlex.split(line, comments=True) for line in lines if line.startswith(("export ", "tps "))]

    (export, *asked) = commands(report())
    monkeypatch.delenv("TPS_DATA", raising=False)  # which make exports
    for variable in export[1:]:
        monkeypatch.setenv(*variable.split("=", 1))
    newest = next(r.data_version for r in content["lineage"] if r.asset == "leaderboard")[:12]
    assert ["tps", "lineage", "diff", "leaderboard", "--before", newest] in asked
    assert ["tps", "lineage", "trace", "--video", "b_2"] in asked
    alone = [
        command for command in asked if "--after" not in command and "--video" not in command
    ]  # one version, no video
    assert len(alone) == 3
    for command in alone:
        due = command[2] == "stale"  # and says so by its exit code: of this store only some records are there
        assert CliRunner().invoke(app, command[1:]).exit_code == int(due)
    assert commands(report(store=HOSTILE))[0][1] == f"TPS_STORE={HOSTILE}"


def test_a_large_store_s_lineage_is_quick_to_draw(report: Callable[..., Page], content: dict[str, Any]):
    methods = [f"psc/method_{i}" for i in range(20)]
    shards = [f"train-{i:03}" for i in range(200)]
    (psc, *_, leaderboard) = (r for r in content["lineage"] if r.asset in ("psc/voting", "leaderboard"))
    inputs = tuple(Input("videos", shard, "v", "") for shard in shards)
    records = [
        dataclasses.replace(psc, asset=method, partition=shard, inputs=(inputs[i],))
        for method in methods
        for i, shard in enumerate(shards)
    ]
    read = tuple(Input(r.asset, r.partition, r.data_version, "") for r in records)
    begin = time.perf_counter()
    html = report(lineage=[*records, dataclasses.replace(leaderboard, inputs=read)])
    assert time.perf_counter() - begin < 20
    assert html.row("psc/method_7", 8)[1] == "200"
    assert "videos, 0 outputs" in {a.get("aria-label") for a in html.all("a")}


def test_page_of_nothing_says_what_to_do(report: Callable[..., Page]):
    nothing = {"leaderboard": tables.empty(tables.LEADERBOARD), "psc": tables.empty(tables.PSC), "lineage": []}
    nothing |= {"members": tables.empty(tables.STACKING_MEMBERS), "gain": tables.empty(tables.STACKING_GAIN)}
    nothing |= {"chosen": tables.empty(tables.METHOD_BY_CATEGORY), "split": None, "breakdown": None, "logs": {}}
    nothing |= {"unreadable": tables.empty(tables.UNREADABLE), "typical": None, "worst": [], "best": []}
    html = report(**nothing, average_precision={}, confusion={})
    assert "Submitted: voting It has no score" in " ".join(html.text.split())
    assert "could not be read" not in html.text
    assert "Nothing has been scored yet" in html.text
    assert "materialize leaderboard" in " ".join(html.text.split())
    assert "detections have not been scored" in html.text
    assert not html.all("img")
