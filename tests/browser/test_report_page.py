"""The report page as a reader sees it, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.report import report_sample
from tps_pipeline import tables
from tps_pipeline.report import page

SECTIONS = ("leaderboard", "psc", "parts", "disagreement", "confusion", "detection", "training", "videos", "recipe",
            "lineage")  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("page")
    page.write(folder / "report.html", **report_sample.content(report_sample.parse_videos(folder), folder / "store"))
    return folder / "report.html"


@pytest.fixture(scope="module", params=[(1280, "light"), (1280, "dark"), (360, "light")], ids=str)
def shown(request: pytest.FixtureRequest, chromium: Any, report: Path):
    """The page, with what it asked the network for and what it complained of."""
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.requests, tab.complaints = [], []
    listeners: dict[str, Callable[[Any], None]] = {
        "request": lambda asked: tab.requests.append(asked.url),
        "console": lambda said: tab.complaints.append(said.text),
        "pageerror": lambda error: tab.complaints.append(str(error)),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.goto(report.as_uri())
    yield tab
    context.close()


def test_it_fits_its_width_and_every_section_shows(shown: Any):
    assert shown.evaluate("document.documentElement.scrollWidth") == shown.viewport_size["width"]
    for name in SECTIONS:
        section = shown.locator(f"#{name}")
        section.scroll_into_view_if_needed()
        assert section.is_visible()
        assert section.bounding_box()["height"] > 60
        assert shown.locator(f"#{name} h2").inner_text()
    targets = shown.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href').slice(1))")
    assert all(shown.locator(f"[id='{target}']").count() == 1 for target in targets)


def test_it_needs_no_network_and_complains_of_nothing(shown: Any):
    assert [url for url in shown.requests if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in shown.requests) == 1
    assert shown.complaints == []


def test_every_image_is_there_and_has_a_text(shown: Any):
    images = shown.locator("img").evaluate_all("all => all.map(i => [i.alt.length > 20, i.naturalWidth > 0])")
    assert images
    assert all(all(facts) for facts in images)


def test_a_video_plays_only_when_it_is_asked_to(shown: Any):
    video = shown.locator("video").first
    video.scroll_into_view_if_needed()
    assert video.evaluate("v => v.paused && v.controls && v.currentTime === 0")
    video.evaluate("v => v.play()")
    shown.wait_for_function("document.querySelector('video').currentTime > 0.1")
    size = video.evaluate("v => [v.videoWidth, v.videoHeight, v.clientWidth, v.clientHeight]")
    assert size[0] > 1000  # two pictures
    assert size[2] / size[3] == pytest.approx(size[0] / size[1], rel=0.02)
    video.evaluate("v => v.pause()")


def test_the_heat_map_marks_the_chosen_method(shown: Any):
    marked = shown.locator("#psc td.marked")
    assert marked.count() == 1
    assert marked.locator("xpath=..").locator("th").inner_text() == "lunge"
    column = marked.evaluate("cell => cell.closest('table').rows[0].cells[cell.cellIndex].innerText")
    assert column == "video_category"
    assert marked.evaluate("cell => getComputedStyle(cell).outlineStyle") == "solid"
    assert "chosen" in marked.inner_text()


def test_the_drawing_of_the_lineage_leads_to_its_rows(shown: Any):
    drawing = shown.locator("#lineage .graph")
    drawing.scroll_into_view_if_needed()
    boxes = drawing.locator("a")
    names = boxes.locator("text").all_text_contents()
    assert names == [
        "shards",
        "annotations",
        "checkpoints/part_detector",
        "predictions/voting",
        "psc/voting",
        "leaderboard",
    ]
    for i, name in enumerate(names):
        box, text = (boxes.nth(i).locator(part).bounding_box() for part in ("rect", "text"))
        assert box["x"] < text["x"]
        assert text["x"] + text["width"] < box["x"] + box["width"]
        boxes.nth(i).focus()
        shown.keyboard.press("Enter")
        rows = shown.locator("#lineage :target tr")
        assert all(found.startswith(name) for found in rows.locator("th").all_inner_texts())
        assert rows.first.is_visible()
        headings = shown.locator("#lineage .made tbody th")
        marked = headings.evaluate_all(
            "all => all.map(th => [th.closest(':target') !== null, getComputedStyle(th).backgroundColor])"
        )
        assert len({colour for _, colour in marked}) == len({of_box for of_box, _ in marked}) == 2
    shown.locator("#lineage .made a", has_text="parts").first.click()
    assert shown.locator(":target th").inner_text() == "annotations/parts"
    assert shown.evaluate("document.documentElement.scrollWidth") == shown.viewport_size["width"]


def test_a_box_that_is_pointed_at_shows_its_lines_alone(shown: Any):
    shown.locator("#lineage .graph a", has_text="psc/voting").hover()
    faint = shown.locator("#lineage .graph path").evaluate_all("all => all.map(p => getComputedStyle(p).opacity < 1)")
    assert (faint.count(False), len(faint)) == (3, 6)


def test_the_drawing_s_text_can_be_selected(shown: Any):
    selected = "text => { getSelection().selectAllChildren(text); return getSelection().toString() }"
    assert shown.locator("#lineage .graph a text", has_text="leaderboard").evaluate(selected) == "leaderboard"


def test_tables_scroll_within_themselves_and_by_keyboard(shown: Any):
    regions = shown.locator(".scroll").evaluate_all(
        "all => all.map(r => [r.tabIndex, r.getAttribute('aria-label').length > 0, getComputedStyle(r).overflowX])"
    )
    assert regions
    assert all(region == [0, True, "auto"] for region in regions)
    shown.locator("#recipe summary").focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#recipe pre").is_visible()


@pytest.fixture(scope="module", params=[9, 20, 30], ids="{} methods".format)
def crowded(request: pytest.FixtureRequest, chromium: Any, tmp_path_factory: pytest.TempPathFactory):
    """A page of many methods and long names."""
    folder = tmp_path_factory.mktemp("crowded")
    sample = report_sample.parse_videos(folder)
    one = sample["psc"].to_pandas().query("method == 'voting'").iloc[:1]
    methods = ["part_state_detector", "voting", *(f"instance_level_{i}" for i in range(request.param - 2))]
    actions = ["country_line_dancing", "riding_mechanical_bull", "somersaulting"]
    psc = pd.concat([one.assign(method=m, action=a, video_id=a) for m in methods for a in actions])
    content = report_sample.content(sample, folder / "store") | {
        "psc": tables.conform(psc, tables.PSC),
        "title": "Page",
    }
    page.write(folder / "report.html", **content)
    tab = chromium.new_page()
    tab.set_default_timeout(60_000)
    tab.goto((folder / "report.html").as_uri())
    yield tab
    tab.close()


@pytest.mark.parametrize("width", [360, 390, 540, 768, 1000, 1280, 1920])
def test_no_heat_map_is_cut_and_no_word_is_broken_at_any_width(crowded: Any, width: int):
    crowded.set_viewport_size({"width": width, "height": 900})
    assert crowded.evaluate("document.documentElement.scrollWidth") == width
    assert crowded.locator("#psc .heat:visible").count() > 0
    cut = """all => all.map(t => [t.getBoundingClientRect().right, t.closest('.scroll').getBoundingClientRect().right])
                       .filter(([right, edge]) => right > edge + 1)"""
    assert crowded.locator(":is(#psc, #confusion) .heat:visible").evaluate_all(cut) == []
    methods = {name for row in crowded.locator("#psc .heat:visible thead").all() for name in row.inner_text().split()}
    assert "part_state_detector" in "".join(methods)
    broken = r"""all => all.flatMap(label => {
        const texts = document.createTreeWalker(label, NodeFilter.SHOW_TEXT), found = [];
        while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/[A-Za-z0-9]+/g)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, word.index);
            range.setEnd(texts.currentNode, word.index + word[0].length);
            if (range.getClientRects().length > 1) found.push(word[0]);
        }
        return found;
    })"""
    labels = "#psc .heat:visible :is(thead, tbody) th, .bars li > span:first-child, h1, h2, h3, figcaption"
    assert crowded.locator(labels).evaluate_all(broken) == []


def test_the_first_screen_has_the_score_the_others_and_a_video(shown: Any):
    height = shown.viewport_size["height"]
    tops = [
        shown.locator(what).first.bounding_box()["y"] for what in (".what", ".score", ".bars .own", ".gaps", "video")
    ]
    assert tops[:4] == sorted(tops[:4])
    assert max(tops) < height
    assert shown.locator("p.score").inner_text().startswith("0.2500")
