import base64
import re
from html.parser import HTMLParser
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from rich.console import Console

from tests.clips import write_clip
from tps_pipeline import parsing, psc, tables
from tps_pipeline.labels import PARTS
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.report import contact_sheet, page, plots, terminal
from tps_pipeline.store import Store
from tps_pipeline.video.frames import FrameFile, extract

HOSTILE = '<script>alert("x")</script> & $x_1$'
VOID = {"meta", "img", "br", "source"}
METHODS = {"video_category": 1.0, "voting": 0.5}
"""Share of each method's states that are right."""


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

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, name: str) -> list[str]:
        return next([cell.strip() for cell in row] for row in self.rows if row[0].split()[:1] == name.split()[:1])


def boxes(names: tuple[str, ...], values: tuple[int, int, int, int]) -> dict[str, int]:
    return dict(zip(names, values, strict=True))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Two videos with a person each, parsed by two methods, evaluated with the challenge's metric."""
    folder = tmp_path_factory.mktemp("report")
    actions = {"a_1": "lunge", "b_2": HOSTILE}
    numbers = (1, 6, 11)
    clips = [(video, write_clip(folder / f"{video}.mp4", 12), numbers) for video in actions]
    assert extract(clips, folder / "frames.arrow") == []
    keys = [{"video_id": video, "frame": frame} for video in actions for frame in numbers]
    people = [key | {"person": 0} | boxes(tables.BOX, (5, 5, 80, 60)) for key in keys]
    parts = [
        key | {"person": 0, "part": part, "state": "bend"} | boxes(tables.BOX, (6 + 7 * i, 10, 16 + 7 * i, 40))
        for key in keys
        for i, part in enumerate(PARTS[:4])
    ]
    made = {
        "actions": tables.conform({"video_id": list(actions), "action": list(actions.values())}, tables.ACTIONS),
        "labelled_frames": tables.conform(pd.DataFrame(keys).assign(n_people=1), tables.LABELLED_FRAMES),
        "people": tables.conform(pd.DataFrame(people), tables.PEOPLE),
        "parts": tables.conform(pd.DataFrame(parts), tables.PARTS),
    }
    guesses = {"video_id": list(actions), "action": ["lunge", "lunge"], "score": [0.9, 0.8], "probabilities": [{}, {}]}
    made["video_actions"] = tables.conform(guesses, tables.VIDEO_ACTIONS)
    truth = parsing.annotated(made["labelled_frames"], made["people"], made["parts"])
    scored = {"person_score": 0.9, "part_score": 0.9, "state_score": 0.9, "state_scores": {}}
    scored |= boxes(tables.PERSON_BOX, (5, 5, 80, 60))
    evaluated = []
    for method, share in METHODS.items():
        rows = [row | scored | ({"state": "none"} if i % 4 >= 4 * share else {}) for i, row in enumerate(parts)]
        made[method] = tables.conform(pd.DataFrame(rows), tables.PREDICTIONS)
        names = {"actions": made["actions"], "video_actions": made["video_actions"], "method": method, "split": "val"}
        evaluated.append(psc.evaluate(truth, parsing.predicted(made[method], made["labelled_frames"]), **names))
    made["psc"] = pa.concat_tables(evaluated).unify_dictionaries()
    return made | {"frames": FrameFile(folder / "frames.arrow")}


@pytest.fixture(scope="module")
def leaderboard(sample) -> pa.Table:
    rows = []
    for method, share in METHODS.items():
        mine = sample["psc"].to_pandas().query("method == @method")
        score = psc.score(mine["psc"].to_numpy(), mine["action_correct"].to_numpy())
        rows.append({"method": method, "split": "val", "videos": len(mine), "score": score, "mean_psc": share,
                     "action_accuracy": 0.5, "person_ap50": 0.91234, "part_ap50": None, "reported": None})  # fmt: skip
    return tables.conform(pd.DataFrame(rows), tables.LEADERBOARD)


@pytest.fixture
def report(sample, leaderboard, tmp_path):
    lineage = Lineage(Store(tmp_path / "store"))
    for shard in ("val-000", "val-001"):
        written = lineage.store.write(f"psc/voting/{shard}.parquet", sample["psc"])
        lineage.record(Work("psc/voting", shard, (), ("evaluation",), "0123456789abcdef"), written, run_id="run")
    one = sample["psc"].filter(pa.compute.field("method").cast(pa.string()) == "voting")
    labels = ("right_arm", "person", "left_arm")
    ap = {
        "split": ["val"] * 3,
        "label": labels,
        "ap": [0.2, 0.3, -1.0],
        "ap50": [0.51239, 0.8, -1.0],
        "boxes": [7, 8, 0],
    }
    confused = {"split": ["val"], "sided_parts": [40], "sides_confused": [0.125], "parts": [50], "wrong_person": [None]}
    content = {
        "title": f"Report of {HOSTILE}",
        "leaderboard": leaderboard,
        "psc": sample["psc"],
        "average_precision": {
            "two_stage": tables.conform(ap, tables.AVERAGE_PRECISION),
            "part_state_detector": tables.conform(ap | {"ap50": [0.41239, 0.8, -1.0]}, tables.AVERAGE_PRECISION),
        },
        "confusion": {"two_stage": tables.conform(confused, tables.DETECTOR_CONFUSION)},
        "comparisons": contact_sheet.compare(
            sample["frames"], one, predictions=sample["voting"],
            **{name: sample[name] for name in ("people", "parts", "video_actions")},
        ),
        "recipe_yaml": f"name: {HOSTILE}\n",
        "lineage": lineage.records(),
    }  # fmt: skip

    def write(**changes) -> Page:
        page.write(tmp_path / "out" / "report.html", **(content | changes))
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
        return Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))

    return write


def test_page_needs_nothing_else_and_everything_has_a_name(report):
    html = report()
    linked = [value or "" for _, attributes in html.elements for name, value in attributes.items()
              if name in ("src", "srcset", "href", "data", "action", "poster")]  # fmt: skip
    assert linked
    assert all(link.startswith(("data:image/", "#")) for link in linked)
    assert not html.all("script")
    assert not html.all("link")
    assert "url(" not in html.text
    assert "@import" not in html.text
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in linked if link.startswith("#")} <= set(ids)
    images = html.all("img")
    assert len(images) == 2 + 2 * 2  # two plots, two frames twice
    assert all(image["alt"] for image in images)
    assert len(html.all("h1")) == 1


def test_names_are_text_never_markup(report):
    html = report()
    assert f"Report of {HOSTILE}" in html.text
    assert f"name: {HOSTILE}" in html.text
    assert html.row(HOSTILE)[0] == HOSTILE
    assert any(HOSTILE in (image["alt"] or "") for image in html.all("img"))


def test_numbers_are_the_tables(report, leaderboard):
    html = report()
    for row in leaderboard.to_pylist():
        shown = html.row(row["method"])
        challenge = {"video_category": "0.4834", "voting": "0.6824"}[row["method"]]
        assert shown[1:] == [
            "val",
            f"{row['score']:.4f}",
            challenge,
            f"{row['mean_psc']:.4f}",
            "0.5000",
            "0.9123",
            "–",
            "2",
        ]
    assert html.row("video_category")[0].endswith("best")
    assert not html.row("voting")[0].endswith("best")
    assert html.row("lunge") == ["lunge", "1", "1.0000", "0.5000"]
    assert html.row("person") == ["person", "0.8000", "0.3000", "0.8000", "0.3000", "8"]
    assert html.row("▸ right") == ["▸ right arm", "0.5124", "0.2000", "0.4124", "0.2000", "7"]
    assert html.row("◂ left") == ["◂ left arm", "–", "–", "–", "–", "0"]
    assert html.row("two_stage") == ["two_stage", "val", "0.1250", "40", "–", "50"]
    assert html.row("psc/voting")[:3] == ["psc/voting", "2", "8"]


def test_page_of_nothing_says_what_to_do(report):
    nothing = {"leaderboard": tables.empty(tables.LEADERBOARD), "psc": tables.empty(tables.PSC), "lineage": []}
    html = report(**nothing, average_precision={}, confusion={}, comparisons=[])
    assert "Nothing has been scored yet" in html.text
    assert "materialize leaderboard" in " ".join(html.text.split())
    assert "detections have not been scored" in html.text
    assert not html.all("img")


def test_plots_are_reproducible_and_show_every_action_with_its_videos(sample):
    for plot in (plots.psc_by_action, plots.score_curve):
        drawn = plot(sample["psc"], "val")
        assert drawn == plot(sample["psc"], "val")
        assert drawn != plot(sample["psc"], "val", theme=plots.DARK)
        assert all(f">{method}</text>".encode() in drawn for method in METHODS)
    drawn = plots.psc_by_action(sample["psc"], "val")
    assert b">lunge  (1)</text>" in drawn
    assert b"&lt;script&gt;" in drawn
    assert b"$x_1$" in drawn


def test_preview_is_small(sample):
    actions = [f"a_rather_long_action_{i}" for i in range(24)]
    rows = [{"video_id": f"{a}{m}", "method": f"method_{m}", "split": "val", "action": a, "psc": (m + i) / 34,
             "action_correct": True} for i, a in enumerate(actions) for m in range(9)]  # fmt: skip
    markdown = plots.preview(tables.conform(pd.DataFrame(rows), tables.PSC))
    assert len(markdown) < 50_000
    content = re.fullmatch(r"!\[PSC by action, val\]\(data:image/png;base64,(.+)\)", markdown)
    assert content
    assert Image.open(BytesIO(base64.b64decode(content[1]))).width < 800
    assert plots.preview(tables.empty(tables.PSC)) == ""


def test_frames_go_from_the_worst_video_to_the_best(sample):
    rows = {"video_id": list("abcde"), "psc": [0.5, 0.1, 0.9, 0.3, 0.7]}
    scored = pa.table(rows)
    candidates = [(video, frame) for video in "abcd" for frame in (11, 1, 6)]
    assert contact_sheet.choose_frames(scored, candidates, count=3) == [("b", 6), ("a", 6), ("c", 6)]
    assert [video for video, _ in contact_sheet.choose_frames(scored, candidates, count=9)] == list("bdac")
    assert contact_sheet.choose_frames(scored, [], count=3) == []


def test_comparison_shows_annotation_and_prediction_of_one_frame(sample):
    voting = sample["psc"].filter(pa.compute.field("method").cast(pa.string()) == "voting")
    names = ("people", "parts", "video_actions")
    shown = contact_sheet.compare(
        sample["frames"], voting, predictions=sample["voting"], **{name: sample[name] for name in names}
    )
    assert {(it.video_id, it.frame, it.method, it.psc) for it in shown} == {
        ("a_1", 6, "voting", 0.5),
        ("b_2", 6, "voting", 0.5),
    }
    wrong = shown[1]
    assert (wrong.method, wrong.action, wrong.predicted_action) == ("voting", HOSTILE, "lunge")
    assert wrong.annotated.shape == wrong.predicted.shape
    assert (wrong.annotated != wrong.predicted).any()


def test_contact_sheet_keeps_order_and_shapes():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    sizes = [(60, 80), (120, 40), (480, 640)]
    pictures = [np.full((*size, 3), colour, np.uint8) for size, colour in zip(sizes, colours, strict=True)]
    sheet = contact_sheet.contact_sheet(pictures, ["first", "a caption far too long " * 20, "third"], columns=2)
    height, width, _ = sheet.shape
    for (y, x), colour in zip([(0.25, 0.25), (0.25, 0.75), (0.75, 0.25)], colours, strict=True):
        np.testing.assert_array_equal(sheet[int(y * height), int(x * width)], colour)
    green = (sheet == colours[1]).all(axis=-1)
    assert green.any(axis=1).sum() == 3 * green.any(axis=0).sum()
    assert sheet[:, -6:].max() < 60
    with pytest.raises(ValueError, match="one caption"):
        contact_sheet.contact_sheet(pictures, ["one"], columns=2)


def test_terminal_shows_whole_numbers_in_eighty_columns(leaderboard):
    long = {**leaderboard.to_pylist()[0], "method": "part_state_detector", "videos": 12345}
    output = StringIO()
    Console(file=output, width=80).print(terminal.leaderboard(pa.Table.from_pylist([long], schema=tables.LEADERBOARD)))
    assert f"{long['score']:.4f}" in output.getvalue()
    assert "part_state_detector" in output.getvalue()
    assert "12345" in output.getvalue()
    assert "–" in output.getvalue()
