"""The page of a report: one file that any browser shows, for every report and every reader."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise, product
from typing import TYPE_CHECKING

import pytest

from calomlp.data.sources import FileRecord
from calomlp.plotting.figures import of_view
from calomlp.plotting.render import to_html
from calomlp.plotting.save import Picture, picture
from calomlp.plotting.sections import report_tables
from calomlp.plotting.view import View
from tests.plotting.conftest import chart, with_context
from tests.plotting.test_figures import CASES

if TYPE_CHECKING:
    from calomlp.evaluation.report import Report

VOID = {"meta", "link", "br", "img"}
NASTY = '<b>&"x'
STYLESHEET = resources.files("calomlp.plotting").joinpath("page.css").read_text(encoding="utf-8")


class Page(HTMLParser):
    """A page that was read: its elements in order, and an error if one is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert len(found) == len(attrs), f"an attribute of <{tag}> is there twice"
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    def text(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


def pictures(report: Report, kinds: tuple[str, ...] = ("linearity",)) -> list[Picture]:
    return [picture(chart(kind, report)) for kind in kinds]


@pytest.fixture(scope="module")
def pages(reports: dict[str, Report]) -> dict[str, str]:
    kinds = tuple(drawn.name for drawn in of_view(View.of(reports["everything"])).charts())
    all_of = {case: pictures(reports[case], kinds if case == "everything" else ("linearity",)) for case in CASES}
    return {case: to_html(reports[case], "report.json", all_of[case]) for case in CASES}


@pytest.fixture
def bare(report: Report) -> Report:
    """A report of one curve from an expression: no model, no baseline, no bin."""
    curve = replace(report.curves[0], bins=(), fit=None, linearity=None, line=None)
    bare = replace(report, curves=(curve,), comparisons=(), notes=())
    return with_context(bare, envelope=None, spread=None, training={}, provenance={"calomlp": "0.1.0"})


def cards(text: str) -> dict[str, tuple[str, str]]:
    """Return status and headline of each question."""
    found = re.findall(
        r'<h3>(.*?)</h3>\s*<p class="status">(.*?)</p>\s*<p class="headline">(.*?)</p>', text, flags=re.DOTALL
    )
    return {question: (status, headline) for question, status, headline in found}


@pytest.mark.parametrize("case", CASES)
def test_a_page_is_well_formed_and_stands_alone(pages: dict[str, str], case: str) -> None:
    text = pages[case]
    page = Page(text)
    assert len(text.encode()) < 3_000_000
    assert not page.of("script", "iframe", "object", "embed")
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "://" not in text


@pytest.mark.parametrize("case", CASES)
def test_ids_are_unique_and_what_is_referred_to_is_there(pages: dict[str, str], case: str) -> None:
    page = Page(pages[case])
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1
    links = {attributes["href"][1:] for attributes in page.of("a", "use")}
    links |= set(re.findall(r"url\(#([^)]*)\)", pages[case]))
    links |= {attributes["aria-labelledby"] for attributes in page.of("section")}
    assert links <= set(ids)


@pytest.mark.parametrize("case", CASES)
def test_every_figure_and_every_table_is_named(pages: dict[str, str], reports: dict[str, Report], case: str) -> None:
    page = Page(pages[case])
    names = [attributes["alt"] for attributes in page.of("img")]
    assert len(names) == (11 if case == "everything" else 1)
    assert all(re.fullmatch(r".+, .+: .+ Shown: .+\.", name) for name in names)
    assert len(page.of("figcaption")) == len(names)
    tables = page.of("table")
    assert len(tables) == len(page.of("caption")) > len(report_tables(reports[case]))
    assert {attributes["scope"] for attributes in page.of("th")} == {"col", "row"}


@pytest.mark.parametrize("case", CASES)
def test_headings_follow_each_other_and_the_verdict_is_first(pages: dict[str, str], case: str) -> None:
    text = pages[case]
    tags = [tag for tag, _ in Page(text).elements]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tags.index("article") < tags.index("figure") < tags.index("table")
    assert len(cards(text)) == 5


def test_the_same_report_has_the_same_bytes(report: Report) -> None:
    assert to_html(report, "r", pictures(report)) == to_html(report, "r", pictures(report))


def test_what_users_wrote_is_shown_as_they_wrote_it(report: Report) -> None:
    curves = tuple(replace(curve, label=NASTY) for curve in report.curves)
    named = replace(report, curves=curves, notes=(NASTY,))
    record = FileRecord(f"{NASTY}.root", NASTY, "uuid", 10)
    named = with_context(
        named, files=(record,), cut=NASTY, provenance={"calomlp": NASTY, "command": ["calomlp", "evaluate", NASTY]}
    )
    shown = [replace(one, chart=replace(one.chart, title=NASTY)) for one in pictures(named, ("linearity", "energy"))]
    text = to_html(named, NASTY, shown)
    page = Page(text)
    bold = page.text("b")
    assert all(word.startswith("Figure ") for word in bold)
    assert len(bold) == 2
    assert str(page.of("img")[0]["alt"]).startswith(NASTY)
    assert page.text("code") == [f"calomlp evaluate '{NASTY}'"]
    for tag in ("h1", "span", "li", "th", "td", "figcaption", "dd"):
        assert any(NASTY in word for word in page.text(tag)), tag


def test_numbers_of_the_page_are_those_of_the_tables(report: Report, pages: dict[str, str]) -> None:
    cells = {text.replace("\N{MINUS SIGN}", "-") for text in Page(pages["normal"]).text("td", "th")}
    for table in report_tables(report):
        assert {cell for row in table.rows for cell in row} <= cells


def test_the_verdict_of_a_good_report(reports: dict[str, Report]) -> None:
    verdict = "no sign of overtraining: wider by (+0.1 +- 1.0) %"
    trained = with_context(reports["pions"], training={"summary": {"overtraining": verdict}})
    found = cards(to_html(trained, "r", []))
    assert found["Is it overtrained?"] == ("good", "No sign of overtraining")
    status, headline = found["Is it better than the baselines?"]
    assert status == "good"
    assert re.fullmatch(r"\([\d.]+&nbsp;±&nbsp;[\d.]+\)&nbsp;% better than the linear anchor", headline)


@pytest.mark.parametrize("verdict", ["perhaps overtrained: by 3 %", "overtrained: by 9 %"])
def test_overtraining_is_to_be_looked_at(report: Report, verdict: str) -> None:
    trained = with_context(report, training={"summary": {"overtraining": verdict}})
    assert cards(to_html(trained, "r", []))["Is it overtrained?"][0] == "look"


def test_a_wrong_scale_is_no_unbiased_response(reports: dict[str, Report]) -> None:
    off = reports["wrong scale"]
    swapped = replace(off, curves=off.curves[::-1], comparisons=())
    status, headline = cards(to_html(swapped, "r", []))["Is it unbiased?"]
    assert status == "look"
    assert re.fullmatch(r"Within 70\.\d\d&nbsp;% of the true energy", headline)


def test_events_beyond_the_training_range_are_extrapolated(report: Report) -> None:
    assert report.context.envelope is not None
    narrow = with_context(report, envelope=replace(report.context.envelope, energy_max=20.0))
    text = to_html(narrow, "r", [])
    assert cards(text)["Where can it be trusted?"][0] == "look"
    assert "extrapolated beyond the training range in" in text


def test_what_a_report_does_not_hold_is_not_known(reports: dict[str, Report], bare: Report) -> None:
    text = to_html(bare, "r", [])
    Page(text)
    assert {status for status, _ in cards(text).values()} == {"not known"}
    assert 'id="figures"' not in text
    one = cards(to_html(reports["one energy"], "r", []))
    assert one["Is it unbiased?"][0] == "not known"
    assert one["How good is it?"][0] == "look"  # 400 events are too few to quote
    assert "events of 10 GeV in 1 bin;" in to_html(reports["one energy"], "r", [])
    assert "terms a, n and c not known" in to_html(reports["no fit"], "r", [])
    assert cards(to_html(reports["alone"], "r", []))["Is it better than the baselines?"][0] == "not known"


def test_commands_can_be_copied_into_a_shell(report: Report) -> None:
    model = {"command": ["calomlp", "train", "my file.root"]}
    made = {"calomlp": "0.1.0", "command": ["calomlp", "evaluate", "m", "--cut", "x > 1 && y < 2"], "model": model}
    text = to_html(with_context(report, provenance=made), "r", [])
    assert Page(text).text("code") == ["calomlp train 'my file.root'", "calomlp evaluate m --cut 'x > 1 && y < 2'"]


def test_a_figure_with_many_points_is_shown_as_pixels(reports: dict[str, Report], report: Report) -> None:
    assert picture(chart("resolution", reports["thousand bins"])).source.startswith("data:image/png;base64,")
    assert picture(chart("resolution", report)).source.startswith("data:image/svg+xml;base64,")


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as the guidelines for accessible pages define it (WCAG 2.2)."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_can_be_read_on_every_background() -> None:
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", STYLESHEET))
    inks = set(re.findall(r"(?<![\w-])color: var\(--([\w-]+)\)", STYLESHEET))
    papers = set(re.findall(r"background: var\(--([\w-]+)\)", STYLESHEET))
    assert len(inks) >= 4
    assert len(papers) >= 4
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", STYLESHEET)) == set(colours.values())  # none besides
    for ink, paper in product(inks, papers):
        dark, light = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_a_page_needs_neither_torch_nor_uproot() -> None:
    modules = "sys, calomlp.plotting.render, calomlp.plotting.save"
    code = f"import {modules}\nprint([n for n in ('torch', 'uproot') if n in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
